//! The wgpu backend of Training Wheels: GPUs of all vendors, through burn-wgpu.
//!
//! There is one [`Graphics`] platform for the best graphics API of the machine ([`Graphics::ANY`]), and one for each
//! API that a feature compiles in. An adapter is opened on the API, and by the kind and index, under which it is
//! listed. So `wgpu:cpu` and `vulkan:cpu` are one device, not two.
//!
//! Kernels are neither fused nor tuned at run time. The same input gives the same numbers in every run, and the first
//! step is not slowed down by tuning.
//!
//! In a browser, adapters must be opened asynchronously. This crate does not support that.
//!
//! ```no_run
//! use wheels_device::{Platform, Precision};
//! use wheels_wgpu::Graphics;
//!
//! for adapter in Graphics::ANY.adapters() {
//!     println!("{adapter}, {}", adapter.driver);
//! }
//! let gpu = Graphics::ANY.open(&"wgpu:discrete:0".parse()?, Precision::F32)?;
//! println!("{}", gpu.capabilities.dtype_names());
//! # Ok::<(), wheels_device::DeviceError>(())
//! ```

mod open;
mod probe;

use wheels_device::{Accelerator, Adapter, DeviceError, DeviceSpec, Platform, PlatformName, Precision};

/// The platform of this machine's GPUs on one or several graphics APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graphics {
    name: PlatformName,
    /// The graphics APIs to try, in this order.
    apis: &'static [wgpu::Backend],
}

impl Graphics {
    /// The first graphics API that has a GPU, otherwise the first that has an adapter.
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

    /// The WebGPU of a browser. Outside a browser it has no adapters.
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

    fn open(&self, spec: &DeviceSpec, precision: Precision) -> Result<Accelerator, DeviceError> {
        let adapter = self.find(spec)?;
        open::open(adapter, precision)
    }
}
