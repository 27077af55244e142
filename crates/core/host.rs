//! What a run may use of this machine.

use burn::tensor::Device;
use wheels_distill::MemoryPlan;

use crate::Error;
use crate::device::{self, Accelerator, DeviceSpec, PlatformName};

/// The number of workers of a new run: one per core on the CPU, and one on other devices.
pub(crate) fn default_workers(device: &Device) -> usize {
    match std::thread::available_parallelism() {
        Ok(cores) if cpu(device).is_some() => cores.get(),
        _ => 1,
    }
}

/// Checks that a run fits into the memory of this machine, if it is on the CPU. The memory of other devices is not known.
///
/// # Errors
/// [`Error::Memory`].
pub fn check_memory(plan: &MemoryPlan, device: &Device) -> Result<(), Error> {
    let memory = cpu(device).and_then(|cpu| cpu.capabilities.memory_bytes);
    match memory.and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(memory) if plan.peak() > memory => {
            let [needed, memory] = [plan.peak(), memory].map(|bytes| bytes / 1_000_000);
            Err(Error::Memory { needed, memory, remedy: plan.remedy() })
        }
        _ => Ok(()),
    }
}

/// The CPU, if the device is that.
fn cpu(device: &Device) -> Option<Accelerator> {
    // The platform is asked itself, because `device::open` would log that the CPU is used.
    let cpu = device::platforms().iter().find(|platform| platform.name() == PlatformName::Cpu)?;
    let cpu = cpu.open(&DeviceSpec::Auto).ok()?;
    let is_same = cpu.device.clone().autodiff() == device.clone().autodiff();
    is_same.then_some(cpu)
}
