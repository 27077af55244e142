//! Where models are opened, and in which format.

use training_wheels::device::{self, DeviceError, DeviceSpec};
use training_wheels::lm::WeightFormat;

/// The device of the models, and the format of their matrices.
#[derive(clap::Args)]
#[command(next_help_heading = "Hardware")]
pub(crate) struct ModelFlags {
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// The format of the models' matrices in memory: f32, with half the memory f16 or bf16, or on CPUs int8 with 8 bits per
    /// weight. Files of another format are rounded to it.
    #[arg(long, default_value_t)]
    dtype: WeightFormat,
}

impl ModelFlags {
    /// Opens the device. The models are opened on it, in the format.
    pub(crate) fn open(&self) -> Result<(burn::tensor::Device, WeightFormat), DeviceError> {
        Ok((device::open(&self.device)?.device, self.dtype))
    }
}
