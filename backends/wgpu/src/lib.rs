//! The wgpu backend of Training Wheels: GPUs of all vendors, through burn-wgpu.
//!
//! [`Graphics::ANY`] is the platform of the machine's best graphics API, and each feature adds a platform for one API.
//! An adapter is opened with the API, the kind and the index with which it is listed. So `wgpu:cpu` and `vulkan:cpu`
//! are one device, not two.
//!
//! Kernels are neither fused nor tuned at run time, unless the features `fusion` and `autotune` ask for it. So the same
//! input gives the same numbers in every run, and tuning does not slow down the first steps.
//!
//! In a browser, adapters must be opened asynchronously, which this crate does not support.
//!
//! ```no_run
//! use wheels_device::Platform;
//! use wheels_wgpu::Graphics;
//!
//! for adapter in Graphics::ANY.adapters() {
//!     println!("{adapter}, {}", adapter.driver);
//! }
//! let gpu = Graphics::ANY.open(&"wgpu:discrete:0".parse()?)?;
//! println!("{}", gpu.capabilities.dtype_names());
//! # Ok::<(), wheels_device::DeviceError>(())
//! ```

mod open;
mod probe;

use wheels_device::{Accelerator, Adapter, DeviceError, DeviceSpec, Platform, PlatformName};

/// The platform of this machine's GPUs on one or several graphics APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graphics {
    name: PlatformName,
    /// The graphics APIs to try, in this order.
    apis: &'static [wgpu::Backend],
}

impl Graphics {
    /// The first graphics API that has a GPU, or else the first that has an adapter.
    pub const ANY: Self = Self {
        name: PlatformName::Wgpu,
        apis: &[wgpu::Backend::Metal, wgpu::Backend::Vulkan, wgpu::Backend::Dx12, wgpu::Backend::Gl],
    };

    /// Vulkan only, with shaders in SPIR-V if the adapter supports them.
    #[cfg(feature = "vulkan")]
    pub const VULKAN: Self = Self { name: PlatformName::Vulkan, apis: &[wgpu::Backend::Vulkan] };

    /// Metal only, with shaders in native MSL.
    #[cfg(feature = "metal")]
    pub const METAL: Self = Self { name: PlatformName::Metal, apis: &[wgpu::Backend::Metal] };

    /// The WebGPU of a browser. Outside a browser it has no adapters, and inside one they cannot be opened yet.
    #[cfg(feature = "webgpu")]
    pub const WEBGPU: Self = Self { name: PlatformName::WebGpu, apis: &[wgpu::Backend::BrowserWebGpu] };
}

impl Platform for Graphics {
    fn name(&self) -> PlatformName {
        self.name
    }

    fn adapters(&self) -> Vec<Adapter> {
        probe::list(self.apis).into_iter().map(|found| found.adapter(self.name)).collect()
    }

    fn open(&self, spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
        let adapter = self.find(spec)?;
        open::open(adapter)
    }
}
