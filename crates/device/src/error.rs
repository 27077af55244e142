//! The errors of naming and opening a device.

use std::error::Error;

use crate::{DeviceSpec, PlatformName};

/// Why a device was not opened. Each message says what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text is not a valid device spec.
    #[error(
        "{text:?} is not a device; accepted are auto, cpu, cuda, vulkan, metal, webgpu and wgpu, all but auto also with \
         an index (cuda:1) or a kind (wgpu:cpu, or :discrete, :integrated, :virtual, :other)"
    )]
    ParseSpec {
        /// The text.
        text: String,
    },

    /// The platform finds no adapter on this machine, for example because a driver is missing.
    #[error("no {} adapter found; {}", title(.platform), advice(.platform))]
    NoAdapter {
        /// The platform.
        platform: PlatformName,
    },

    /// The build contains no platform.
    #[error("this build contains no backend; build with --features cpu, wgpu or cuda")]
    NoPlatform,

    /// The requested platform is not compiled in.
    #[error("this build has no {platform}; build with --features {platform}, or pass one of: {available}")]
    FeatureOff {
        /// The requested platform.
        platform: PlatformName,
        /// The platforms that are compiled in, as text.
        available: String,
    },

    /// The platform has adapters, but not the requested one.
    #[error("there is no adapter {spec}; this machine has {available}")]
    NoSuchAdapter {
        /// The requested adapter.
        spec: DeviceSpec,
        /// The adapters of the platform with the specs that open them, as text.
        available: String,
    },

    /// The adapter is listed, but its driver did not open it.
    #[error("the driver did not open {spec}; update or reinstall the driver, or pass --device cpu")]
    Driver {
        /// The adapter.
        spec: DeviceSpec,
        /// The error of the driver.
        #[source]
        source: Box<dyn Error + Send + Sync>,
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
            "install a graphics driver (on Debian mesa-vulkan-drivers, with a software adapter) or pass --device cpu"
        }
        PlatformName::Metal => "Metal exists only on Apple hardware: pass --device vulkan, wgpu or cpu",
        PlatformName::WebGpu => "WebGPU exists only in browsers: pass --device wgpu or cpu",
        PlatformName::Cpu => "build with --features cpu",
    }
}
