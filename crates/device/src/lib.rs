//! Finds and opens CPUs and GPUs by name, whatever burn backend they need.
//!
//! - A [`DeviceSpec`] is the text by which a user names a device (`auto`, `cpu`, `cuda:1`, `vulkan:discrete:0`).
//! - A [`Platform`] is one way to use hardware, such as CUDA or Vulkan. It lists its [`Adapter`]s and opens one of them
//!   as an [`Accelerator`]: a burn `Device` with its [`Capabilities`].
//! - [`open`], [`find`] and [`list`] work on several platforms together.
//!
//! This crate contains no backend. The crates in `backends/` implement [`Platform`], and the features of the crate
//! `training-wheels` decide which of them a build contains.
//!
//! ```
//! use wheels_device::{AdapterKind, DeviceSpec, PlatformName, Selector};
//!
//! let spec: DeviceSpec = "vulkan:discrete:0".parse()?;
//! let first_discrete = Selector::Kind { kind: AdapterKind::Discrete, index: 0 };
//! assert_eq!(spec, DeviceSpec::Named { platform: PlatformName::Vulkan, selector: first_discrete });
//! assert_eq!(spec.to_string(), "vulkan:discrete:0");
//!
//! let error = "gpu".parse::<DeviceSpec>().unwrap_err();
//! assert!(error.to_string().contains("auto, cpu, cuda"));
//! # Ok::<(), wheels_device::DeviceError>(())
//! ```

mod accelerator;
mod adapter;
mod driver_panic;
mod error;
mod platform;
mod spec;

pub use accelerator::{Accelerator, Capabilities};
pub use adapter::{Adapter, AdapterKind};
pub use driver_panic::{DriverPanic, catch_driver_panic};
pub use error::DeviceError;
pub use platform::{Platform, find, list, open};
pub use spec::{DeviceSpec, PlatformName, Selector};
