//! NVIDIA GPUs for Training Wheels, through burn-cuda.
//!
//! The driver is loaded when it is first asked, so a build needs no CUDA toolkit, and a machine without a driver has no
//! adapters rather than a broken program. A build does need the LLVM that cubecl compiles kernels with: the first one
//! downloads it, and compiles a little C++ against it.
//!
//! Kernels are neither fused nor tuned at run time: the same input gives the same numbers in every run, and a first
//! step takes as long as a second.
//!
//! ```no_run
//! use wheels_cuda::Cuda;
//! use wheels_device::{Platform, Precision};
//!
//! for adapter in Cuda.adapters() {
//!     println!("{adapter}");
//! }
//! let gpu = Cuda.open(&"cuda:0".parse()?, Precision::F32)?;
//! assert!(gpu.capabilities.fits(1 << 30));
//! # Ok::<(), wheels_device::DeviceError>(())
//! ```

use std::panic::catch_unwind;

use burn::cubecl::Device as CubeDevice;
use burn::tensor::{Device, DeviceType};
use burn_cuda::CudaDevice;
use cudarc::driver::result as driver;
use wheels_device::{
    Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, Platform, PlatformName, Precision,
    Selector, guard,
};

/// The NVIDIA GPUs of this machine, in the driver's order (`CUDA_VISIBLE_DEVICES` hides some).
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuda;

impl Platform for Cuda {
    fn name(&self) -> PlatformName {
        PlatformName::Cuda
    }

    fn adapters(&self) -> Vec<Adapter> {
        // burn asks whether the driver's library is there before it calls it; a library that is there but lacks a
        // function makes its bindings panic, which for a caller is again no adapter.
        let names = catch_unwind(|| (0..Device::enumerate(DeviceType::Cuda).len()).map(name).collect::<Vec<_>>());
        let adapters = names.unwrap_or_default().into_iter().enumerate().map(|(index, name)| Adapter {
            platform: PlatformName::Cuda,
            name,
            kind: AdapterKind::Discrete,
            api: "cuda".to_owned(),
            driver: String::new(),
            spec: DeviceSpec::index(PlatformName::Cuda, index),
        });
        adapters.collect()
    }

    fn open(&self, spec: &DeviceSpec, precision: Precision) -> Result<Accelerator, DeviceError> {
        let adapter = self.find(spec)?;
        let DeviceSpec::Named { selector: Selector::Index(index), .. } = adapter.spec else {
            unreachable!("CUDA's adapters are listed by index");
        };
        guard(adapter.spec, || {
            let client = CubeDevice::Cuda(CudaDevice::new(index)).client();
            let memory = &client.properties().memory;
            let device = Device::cuda(index);
            let capabilities = Capabilities {
                largest_buffer_bytes: Some(memory.max_page_size),
                memory_bytes: memory.max_memory(),
                ..Capabilities::of(&device)
            };
            Accelerator::new(device, adapter, capabilities, precision)
        })
    }
}

/// The name of a GPU, asked without opening it.
fn name(index: usize) -> String {
    let ordinal = i32::try_from(index).expect("a machine has few GPUs");
    driver::device::get(ordinal).and_then(driver::device::get_name).unwrap_or_else(|_| format!("NVIDIA GPU {index}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stdout)]

    use super::*;

    #[test]
    fn a_machine_without_a_driver_has_no_adapters_and_says_so() {
        let adapters = Cuda.adapters();
        if !adapters.is_empty() {
            println!("skipped: this machine has {} CUDA adapters", adapters.len());
            return;
        }
        let error = Cuda.open(&"cuda:0".parse().expect("a spec"), Precision::F32).expect_err("no driver");
        assert!(matches!(error, DeviceError::NoAdapter { platform: PlatformName::Cuda }), "{error}");
    }

    #[test]
    fn every_listed_gpu_opens() {
        let adapters = Cuda.adapters();
        if adapters.is_empty() {
            println!("skipped: this machine has no CUDA adapter");
        }
        for adapter in adapters {
            let gpu = Cuda.open(&adapter.spec, Precision::F32).expect("a listed GPU");
            assert!(gpu.capabilities.memory_bytes.is_some_and(|bytes| bytes > 0));
        }
    }
}
