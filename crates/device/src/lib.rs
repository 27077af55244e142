//! The words in which Training Wheels speaks of hardware: which device, what it can do, what went wrong.
//!
//! A [`DeviceSpec`] is what a user types (`auto`, `cpu`, `cuda:1`, `vulkan:discrete:0`). A [`Platform`] is one way to
//! reach hardware: it lists its [`Adapter`]s and opens one of them as an [`Accelerator`], that is a burn `Device` with
//! its [`Capabilities`], set to a [`Precision`]. [`open`] and [`list`] do the same over several platforms.
//!
//! Nothing here computes and nothing here names a driver: the crates under `backends/` implement [`Platform`], and the
//! facade decides which of them a build holds.
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
mod error;
mod guard;
mod platform;
mod precision;
mod spec;

pub use accelerator::{Accelerator, Capabilities};
pub use adapter::{Adapter, AdapterKind};
pub use error::DeviceError;
pub use guard::{Panicked, guard};
pub use platform::{Platform, find, list, open};
pub use precision::Precision;
pub use spec::{DeviceSpec, PlatformName, Selector};
