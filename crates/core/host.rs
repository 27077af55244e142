//! What a run may use of this machine.

use burn::tensor::Device;

use crate::Error;
use crate::device::{self, DeviceSpec, PlatformName, Precision};
use crate::distill::MemoryPlan;

/// The number of workers of a new run: one per core on the CPU, and one on other devices.
pub(crate) fn default_workers(device: &Device) -> usize {
    match std::thread::available_parallelism() {
        Ok(cores) if is_cpu(device) => cores.get(),
        _ => 1,
    }
}

/// Checks that a run fits into the memory of this machine, if it is on the CPU. The memory of other devices is not known.
///
/// # Errors
/// [`Error::Memory`].
pub fn check_memory(plan: &MemoryPlan, device: &Device) -> Result<(), Error> {
    match memory().filter(|_| is_cpu(device)) {
        Some(memory) if plan.peak() > memory => {
            let [needed, memory] = [plan.peak(), memory].map(|bytes| bytes / 1_000_000);
            Err(Error::Memory { needed, memory, remedy: plan.remedy() })
        }
        _ => Ok(()),
    }
}

/// Whether a device is the CPU.
fn is_cpu(device: &Device) -> bool {
    // The platform is asked itself, because `device::open` would log that the CPU is used.
    let cpu = device::platforms().iter().find(|platform| platform.name() == PlatformName::Cpu);
    let cpu = cpu.and_then(|cpu| cpu.open(&DeviceSpec::Auto, Precision::default()).ok());
    cpu.is_some_and(|cpu| cpu.device.autodiff() == device.clone().autodiff())
}

/// The memory of this machine, or of the container in which the program runs, bytes. None if it cannot be known.
#[cfg(not(target_family = "wasm"))]
fn memory() -> Option<usize> {
    use sysinfo::{MemoryRefreshKind, RefreshKind, System};

    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    Some(system.total_memory().min(limit) as usize).filter(|&bytes| bytes > 0)
}

#[cfg(target_family = "wasm")]
fn memory() -> Option<usize> {
    None
}
