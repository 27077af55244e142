//! The CUDA backend of Training Wheels: NVIDIA GPUs, through burn-cuda.
//!
//! A build needs no CUDA toolkit, because the driver is loaded when it is first used. On a machine without a driver the
//! program runs and lists no CUDA adapters. A build needs LLVM, with which cubecl compiles its kernels. The first build
//! downloads LLVM and compiles some C++ code against it. A run needs one file of the CUDA toolkit, the mathematical functions in
//! `nvvm/libdevice/libdevice.10.bc`. The environment variable `CUDA_PATH` names the toolkit's folder if it is not in a usual place,
//! such as `/usr/local/cuda`.
//!
//! Kernels are neither fused nor tuned at run time, unless the features `fusion` and `autotune` ask for it. So the same
//! input gives the same numbers in every run, and tuning does not slow down the first steps.
//!
//! ```no_run
//! use wheels_cuda::Cuda;
//! use wheels_device::Platform;
//!
//! for adapter in Cuda.adapters() {
//!     println!("{adapter}");
//! }
//! let gpu = Cuda.open(&"cuda:0".parse()?)?;
//! assert!(gpu.capabilities.fits(1 << 30));
//! # Ok::<(), wheels_device::DeviceError>(())
//! ```

use std::panic::catch_unwind;

use burn::cubecl::Device as CubeDevice;
use burn::tensor::{Device, DeviceType};
use burn_cuda::CudaDevice;
use cudarc::driver::result as driver;
use wheels_device::{
    Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, Platform, PlatformName, Selector,
    catch_driver_panic,
};

/// The platform of this machine's NVIDIA GPUs, in the order of the driver. `CUDA_VISIBLE_DEVICES` can hide some.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuda;

impl Platform for Cuda {
    fn name(&self) -> PlatformName {
        PlatformName::Cuda
    }

    fn adapters(&self) -> Vec<Adapter> {
        // If the driver's library is missing, burn lists no devices. If it lacks a function, the bindings panic, and
        // there is no adapter either.
        let names = catch_unwind(|| (0..Device::enumerate(DeviceType::Cuda).len()).map(gpu_name).collect::<Vec<_>>());
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

    fn open(&self, spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
        let adapter = self.find(spec)?;
        let DeviceSpec::Named { selector: Selector::Index(index), .. } = adapter.spec else {
            unreachable!("this platform lists its adapters by index");
        };
        catch_driver_panic(adapter.spec, || {
            let client = CubeDevice::Cuda(CudaDevice::new(index)).client();
            let memory = &client.properties().memory;
            let device = Device::cuda(index);
            let capabilities = Capabilities {
                largest_buffer_bytes: Some(memory.max_page_size),
                memory_bytes: memory.max_memory(),
                ..Capabilities::of(&device)
            };
            Ok(Accelerator { device, adapter, capabilities })
        })
    }
}

/// The name of a GPU, which is not opened for it.
fn gpu_name(index: usize) -> String {
    let ordinal = i32::try_from(index).expect("a machine has few GPUs");
    driver::device::get(ordinal).and_then(driver::device::get_name).unwrap_or_else(|_| format!("NVIDIA GPU {index}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stdout)]

    use super::*;

    #[test]
    fn without_a_driver_there_are_no_adapters_and_the_error_says_so() {
        let adapters = Cuda.adapters();
        if !adapters.is_empty() {
            println!("skipped: this machine has {} CUDA adapters", adapters.len());
            return;
        }
        let error = Cuda.open(&"cuda:0".parse().expect("a spec")).expect_err("there is no driver");
        assert!(matches!(error, DeviceError::NoAdapter { platform: PlatformName::Cuda }), "{error}");
    }

    #[test]
    fn every_listed_gpu_opens() {
        let adapters = Cuda.adapters();
        if adapters.is_empty() {
            println!("skipped: this machine has no CUDA adapter");
        }
        for adapter in adapters {
            let gpu = Cuda.open(&adapter.spec).expect("a listed GPU");
            assert!(gpu.capabilities.memory_bytes.is_some_and(|bytes| bytes > 0));
        }
    }
}
