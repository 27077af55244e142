//! Which device: the platforms that this build holds, what they reach, and how to open one.
//!
//! ```
//! use training_wheels::device::{self, DeviceSpec, Precision};
//!
//! let spec: DeviceSpec = "auto".parse()?;
//! let accelerator = device::open_with(&spec, Precision::F32)?;
//! println!("{}: {}", accelerator.adapter, accelerator.capabilities.dtype_names());
//! # Ok::<(), device::DeviceError>(())
//! ```

pub use wheels_device::{
    Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, Panicked, Platform, PlatformName,
    Precision, Selector,
};

/// A new backend is one crate, one feature and one line here.
static PLATFORMS: &[&dyn Platform] = &[
    #[cfg(feature = "cuda")]
    &wheels_cuda::Cuda,
    #[cfg(feature = "vulkan")]
    &wheels_wgpu::Graphics::VULKAN,
    #[cfg(feature = "metal")]
    &wheels_wgpu::Graphics::METAL,
    #[cfg(feature = "webgpu")]
    &wheels_wgpu::Graphics::WEBGPU,
    #[cfg(feature = "wgpu")]
    &wheels_wgpu::Graphics::ANY,
    #[cfg(feature = "cpu")]
    &wheels_cpu::Cpu,
];

/// The platforms that are compiled in, in the order in which `auto` prefers them.
pub fn platforms() -> &'static [&'static dyn Platform] {
    PLATFORMS
}

/// Every adapter that this build reaches, each way to it once.
pub fn list() -> Vec<Adapter> {
    wheels_device::list(PLATFORMS)
}

/// The adapter that a spec names, without opening it; for `auto` the one that is tried first.
///
/// # Errors
///
/// As [`open_with`], as far as they show before the adapter is opened.
pub fn find(spec: &DeviceSpec) -> Result<Adapter, DeviceError> {
    wheels_device::find(PLATFORMS, spec)
}

/// Opens a device in single precision.
///
/// `auto` takes the best GPU that opens, or else the CPU, and says in the log which. A software adapter such as lavapipe
/// is taken only where it is named (`wgpu:cpu`), where a named platform has nothing else (`wgpu`), or where the build
/// has nothing else at all. Opening a device twice hands out the same device.
///
/// # Errors
///
/// As [`open_with`].
pub fn open(spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
    open_with(spec, Precision::default())
}

/// Opens a device in a precision, which it keeps for as long as the process lives.
///
/// # Errors
///
/// [`DeviceError::FeatureOff`] where the platform is not compiled in, [`DeviceError::NoAdapter`] and
/// [`DeviceError::NoSuchAdapter`] where the machine does not have the device, [`DeviceError::Driver`] where it does not
/// come up, [`DeviceError::Precision`] where it does not compute in `precision`, and
/// [`DeviceError::AlreadyConfigured`] where it was opened or used in another precision before.
pub fn open_with(spec: &DeviceSpec, precision: Precision) -> Result<Accelerator, DeviceError> {
    wheels_device::open(PLATFORMS, spec, precision)
}
