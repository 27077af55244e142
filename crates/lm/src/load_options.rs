//! How weights are loaded and saved.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};

use crate::LmError;

/// The float format of the weights in a file or in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatFormat {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, IEEE half precision: 11 significant bits, numbers up to 65,504.
    F16,
    /// 16 bits, bfloat16: 8 significant bits, the range of f32.
    BF16,
}

impl FloatFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// The name that a user types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }
}

impl fmt::Display for FloatFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FloatFormat {
    type Err = LmError;

    fn from_str(text: &str) -> Result<Self, LmError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "f32" | "float32" => Ok(Self::F32),
            "f16" | "float16" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::BF16),
            _ => Err(LmError::ParseFormat { text: text.to_owned() }),
        }
    }
}

impl From<FloatFormat> for DType {
    fn from(format: FloatFormat) -> Self {
        match format {
            FloatFormat::F32 => DType::F32,
            FloatFormat::F16 => DType::F16,
            FloatFormat::BF16 => DType::BF16,
        }
    }
}

/// Where the weights of a model are loaded, and in which format: a device, or a device with a [`FloatFormat`].
///
/// In f16 or bf16, the matrices of linear layers and embedding tables take half the memory of f32. A CPU widens them as it
/// reads them, so that nothing is rounded but the weights themselves. A GPU rounds the inputs of a product to their format,
/// and its result, too. Everything else (activations, norms, softmax, attention, caches, logits, losses) is in the float
/// type of the device, f32. So are the matrices `wo` of T5, whose inputs can be too large for f16, as in transformers.
///
/// A model in f16 or bf16 can write and score texts, but not be trained.
///
/// ```
/// use burn::tensor::Device;
/// use wheels_lm::{FloatFormat, LoadOptions};
///
/// let device = Device::default();
/// assert_eq!(LoadOptions::from(&device).format, FloatFormat::F32);
/// assert_eq!(LoadOptions::from((&device, FloatFormat::F16)).format, FloatFormat::F16);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// The device of the weights.
    pub device: &'a Device,
    /// The format of the matrices.
    pub format: FloatFormat,
}

impl LoadOptions<'_> {
    /// # Errors
    /// [`LmError::Format`] if the device does not compute in the format.
    pub(crate) fn check(&self) -> Result<(), LmError> {
        let Self { device, format } = *self;
        let computes = format == FloatFormat::F32 || device.supports_dtype(DType::from(format));
        if computes { Ok(()) } else { Err(LmError::Format { format }) }
    }
}

impl<'a> From<&'a Device> for LoadOptions<'a> {
    fn from(device: &'a Device) -> Self {
        Self { device, format: FloatFormat::default() }
    }
}

impl<'a> From<(&'a Device, FloatFormat)> for LoadOptions<'a> {
    fn from((device, format): (&'a Device, FloatFormat)) -> Self {
        Self { device, format }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_parses_from_what_it_prints_and_from_the_names_of_pytorch() {
        for format in FloatFormat::ALL {
            assert_eq!(format.to_string().parse::<FloatFormat>().expect("a printed format"), format);
        }
        assert_eq!("BFloat16".parse::<FloatFormat>().expect("a name of PyTorch"), FloatFormat::BF16);
        let error = "int8".parse::<FloatFormat>().expect_err("not a float format").to_string();
        assert!(error.contains("\"int8\"") && error.contains("bf16"), "{error}");
    }
}
