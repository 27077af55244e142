//! Devices: the platforms of this build, their adapters, and how to open one.
//!
//! ```
//! use training_wheels::device::{self, DeviceSpec};
//!
//! let spec: DeviceSpec = "auto".parse()?;
//! let accelerator = device::open(&spec)?;
//! println!("{}: {}", accelerator.adapter, accelerator.capabilities.dtype_names());
//! # Ok::<(), device::DeviceError>(())
//! ```

pub use wheels_device::{
    Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, DriverPanic, Platform, PlatformName,
    Selector,
};

/// A new backend needs one crate, one feature and one line here, and a [`PlatformName`] if it has a new name.
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

/// The platforms that are compiled in, in the order of preference of `auto`.
pub fn platforms() -> &'static [&'static dyn Platform] {
    PLATFORMS
}

/// All adapters that this build can use. An adapter that several platforms reach through the same API is listed once.
pub fn list() -> Vec<Adapter> {
    wheels_device::list(PLATFORMS)
}

/// The adapter that a spec names, without opening it. For `auto` it is the one that is tried first.
///
/// # Errors
/// As [`open`], except for errors that appear only when the adapter is opened.
pub fn find(spec: &DeviceSpec) -> Result<Adapter, DeviceError> {
    wheels_device::find(PLATFORMS, spec)
}

/// Opens a device.
///
/// `auto` opens the best GPU, or else the CPU, and logs its choice. A software adapter such as lavapipe is used only if
/// it is named (`wgpu:cpu`), if the named platform has no other adapter (`wgpu`), or if the build has no CPU backend
/// and no GPU opens. Opening a device twice returns the same device.
///
/// # Errors
/// - [`DeviceError::FeatureOff`] or [`DeviceError::NoPlatform`] if the platform is not compiled in;
/// - [`DeviceError::NoAdapter`] and [`DeviceError::NoSuchAdapter`] if the machine does not have the device;
/// - [`DeviceError::Driver`] if the driver does not start.
pub fn open(spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
    wheels_device::open(PLATFORMS, spec)
}
