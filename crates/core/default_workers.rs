//! The number of threads that a run uses if its user gives none.

use burn::tensor::Device;

use crate::device::{self, DeviceSpec, PlatformName, Precision};

/// The number of workers of a new run: one per core on the CPU, and one on other devices.
pub(crate) fn default_workers(model_device: &Device) -> usize {
    // The platform is asked itself, because `device::open` would log that the CPU is used.
    let cpu = device::platforms().iter().find(|platform| platform.name() == PlatformName::Cpu);
    let cpu = cpu.and_then(|cpu| cpu.open(&DeviceSpec::Auto, Precision::default()).ok());
    let is_cpu = cpu.is_some_and(|cpu| cpu.device == *model_device);
    match std::thread::available_parallelism() {
        Ok(cores) if is_cpu => cores.get(),
        _ => 1,
    }
}
