//! A CPU or GPU as its platform lists it, before it is opened.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DeviceSpec, PlatformName};

/// The kind of hardware of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the memory of the CPU.
    Integrated,
    /// A GPU that a host shares with this virtual machine.
    Virtual,
    /// Hardware that the driver does not classify.
    Other,
    /// The CPU, or a software adapter that runs on it.
    Cpu,
}

impl AdapterKind {
    /// All kinds, the best first.
    pub const ALL: [Self; 5] = [Self::Discrete, Self::Integrated, Self::Virtual, Self::Other, Self::Cpu];

    /// The name that a user types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Cpu => "cpu",
        }
    }

    /// Whether this is a GPU, and neither the CPU nor a software adapter.
    pub fn is_gpu(self) -> bool {
        self != Self::Cpu
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A CPU or GPU as its platform lists it, before it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// The platform that lists it.
    pub platform: PlatformName,
    /// The name of the hardware.
    pub name: String,
    /// The kind of hardware.
    pub kind: AdapterKind,
    /// The interface through which it is used: "cuda", "vulkan", "metal", "dx12", "gl" or "flex".
    pub api: String,
    /// The driver and its version; empty if unknown.
    pub driver: String,
    /// The spec that opens exactly this adapter.
    pub spec: DeviceSpec,
}

impl Adapter {
    /// Whether two platforms list the same hardware with the same API, as `vulkan` and `wgpu` do on Linux.
    pub(crate) fn is_same_adapter(&self, other: &Self) -> bool {
        let selector = |adapter: &Self| match adapter.spec {
            DeviceSpec::Named { selector, .. } => Some(selector),
            DeviceSpec::Auto => None,
        };
        self.api == other.api && self.name == other.name && selector(self) == selector(other)
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.spec, self.name)
    }
}
