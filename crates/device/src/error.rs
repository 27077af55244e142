//! What can go wrong between a spec and an open device.

use std::error::Error;

use crate::{DeviceSpec, PlatformName, Precision};

/// Why there is no device, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text does not name a device.
    #[error(
        "{text:?} is not a device; accepted are auto, cpu, cuda, vulkan, metal, webgpu and wgpu, each but auto also \
         with an index (cuda:1) or a kind (wgpu:cpu, vulkan:discrete:0, :integrated:0, :virtual:0, :other:0)"
    )]
    ParseSpec {
        /// The text as it was given.
        text: String,
    },

    /// The text does not name a precision.
    #[error("{text:?} is not a precision; accepted are f32, f16, bf16 and flex32")]
    ParsePrecision {
        /// The text as it was given.
        text: String,
    },

    /// The platform has no adapter on this machine.
    #[error("no {} adapter found; {}", title(.platform), advice(.platform))]
    NoAdapter {
        /// The platform that was asked.
        platform: PlatformName,
    },

    /// The build holds no platform at all.
    #[error("this build reaches no device; build with --features cpu, wgpu or cuda")]
    NoPlatform,

    /// The platform is not compiled in.
    #[error("this build has no {platform}; build with --features {platform}, or pass one of: {available}")]
    FeatureOff {
        /// The platform that was asked for.
        platform: PlatformName,
        /// The platforms that are compiled in, separated by commas.
        available: String,
    },

    /// The platform has adapters, but not the one asked for.
    #[error("there is no adapter {spec}; this machine has {available}")]
    NoSuchAdapter {
        /// What was asked for.
        spec: DeviceSpec,
        /// The adapters of the platform, each with the text that opens it.
        available: String,
    },

    /// The adapter is there, but its driver did not bring it up.
    #[error("the driver did not open {spec}; update or reinstall it, or pass --device cpu")]
    Driver {
        /// The adapter.
        spec: DeviceSpec,
        /// What the driver said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The device does not compute in the precision asked for.
    #[error("{spec} does not compute in {precision}; it computes in {supported}")]
    Precision {
        /// The adapter.
        spec: DeviceSpec,
        /// What was asked for.
        precision: Precision,
        /// What it can do, separated by commas.
        supported: String,
    },

    /// The device already runs in another precision, which is fixed from its first tensor on.
    #[error(
        "{spec} already computes in {active}, so it cannot be opened in {precision}; open it once, before its first \
         tensor, or ask for {active}"
    )]
    AlreadyConfigured {
        /// The adapter.
        spec: DeviceSpec,
        /// What was asked for.
        precision: Precision,
        /// The precision it runs in.
        active: String,
    },
}

fn title(platform: &PlatformName) -> &'static str {
    match platform {
        PlatformName::Cuda => "CUDA",
        PlatformName::Vulkan => "Vulkan",
        PlatformName::Metal => "Metal",
        PlatformName::WebGpu => "WebGPU",
        PlatformName::Wgpu => "wgpu",
        PlatformName::Cpu => "CPU",
    }
}

fn advice(platform: &PlatformName) -> &'static str {
    match platform {
        PlatformName::Cuda => {
            "check the NVIDIA driver with nvidia-smi, build with --features wgpu or pass --device cpu"
        }
        PlatformName::Vulkan | PlatformName::Wgpu => {
            "install a graphics driver (on Debian mesa-vulkan-drivers, which also holds a software one) or pass --device cpu"
        }
        PlatformName::Metal => "Metal is there on Apple hardware only: pass --device vulkan, wgpu or cpu",
        PlatformName::WebGpu => "WebGPU is there in browsers only: pass --device wgpu or cpu",
        PlatformName::Cpu => "build with --features cpu",
    }
}
