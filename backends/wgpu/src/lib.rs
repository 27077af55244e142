//! GPUs of every make for Training Wheels, through burn-wgpu.
//!
//! One [`Graphics`] platform for each way to a GPU: [`Graphics::ANY`] takes the graphics API that the machine offers,
//! the others one API and no other. An adapter is opened under the kind and place that it is listed by, on the API that
//! it is listed on, so that `wgpu:cpu` and `vulkan:cpu` are one device and never two.
//!
//! Kernels are neither fused nor tuned at run time: the same input gives the same numbers in every run, and a first
//! step takes as long as a second.
//!
//! In a browser an adapter has to be opened asynchronously, which this crate does not do.
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

/// A way to the GPUs of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graphics {
    name: PlatformName,
    /// The graphics APIs to try, best first.
    apis: &'static [wgpu::Backend],
}

impl Graphics {
    /// The first graphics API with a GPU, or else the first with anything at all.
    pub const ANY: Self = Self {
        name: PlatformName::Wgpu,
        apis: &[wgpu::Backend::Metal, wgpu::Backend::Vulkan, wgpu::Backend::Dx12, wgpu::Backend::Gl],
    };

    /// Vulkan and nothing else, in SPIR-V where the adapter takes it.
    #[cfg(feature = "vulkan")]
    pub const VULKAN: Self = Self { name: PlatformName::Vulkan, apis: &[wgpu::Backend::Vulkan] };

    /// Metal and nothing else, in native MSL.
    #[cfg(feature = "metal")]
    pub const METAL: Self = Self { name: PlatformName::Metal, apis: &[wgpu::Backend::Metal] };

    /// The browser's own WebGPU; outside a browser it has no adapters.
    #[cfg(feature = "webgpu")]
    pub const WEBGPU: Self = Self { name: PlatformName::WebGpu, apis: &[wgpu::Backend::BrowserWebGpu] };
}

impl Platform for Graphics {
    fn name(&self) -> PlatformName {
        self.name
    }

    fn adapters(&self) -> Vec<Adapter> {
        probe::settle(self.apis).into_iter().map(|found| found.adapter(self.name)).collect()
    }

    fn open(&self, spec: &DeviceSpec, precision: Precision) -> Result<Accelerator, DeviceError> {
        let adapter = self.find(spec)?;
        open::open(adapter, precision)
    }
}
