//! How weights are loaded and saved.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device, Tensor};

use crate::LmError;

/// The float format of the weights in a saved file.
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

impl From<FloatFormat> for DType {
    fn from(format: FloatFormat) -> Self {
        match format {
            FloatFormat::F32 => DType::F32,
            FloatFormat::F16 => DType::F16,
            FloatFormat::BF16 => DType::BF16,
        }
    }
}

/// The format of the matrices of a model in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightFormat {
    /// Floats of 32 bits.
    #[default]
    F32,
    /// As [`FloatFormat::F16`].
    F16,
    /// As [`FloatFormat::BF16`].
    BF16,
    /// Integers of 8 bits, from -127 to 127, and for each 64 of them along the inputs a factor in f32.
    Int8,
}

impl WeightFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::BF16, Self::Int8];

    /// The name that a user types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// The floats of matrices in this format. In int8, of those that stay floats.
    pub(crate) fn floats(self) -> FloatFormat {
        match self {
            Self::F32 => FloatFormat::F32,
            Self::F16 | Self::Int8 => FloatFormat::F16,
            Self::BF16 => FloatFormat::BF16,
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for WeightFormat {
    type Err = LmError;

    fn from_str(text: &str) -> Result<Self, LmError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "f32" | "float32" => Ok(Self::F32),
            "f16" | "float16" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::BF16),
            "int8" | "i8" => Ok(Self::Int8),
            _ => Err(LmError::ParseFormat { text: text.to_owned() }),
        }
    }
}

impl From<FloatFormat> for WeightFormat {
    fn from(format: FloatFormat) -> Self {
        match format {
            FloatFormat::F32 => Self::F32,
            FloatFormat::F16 => Self::F16,
            FloatFormat::BF16 => Self::BF16,
        }
    }
}

/// Where the weights of a model are loaded, and in which format: a device, or a device with a [`WeightFormat`].
///
/// In f16 or bf16, the matrices of linear layers and embedding tables take half the memory of f32. A CPU widens them as it
/// reads them, so that nothing is rounded but the weights themselves. A GPU rounds the inputs of a product to their format,
/// and its result, too. Everything else (activations, norms, softmax, attention, caches, logits, losses) is in the float
/// type of the device, f32. So are the matrices `wo` of T5, whose inputs can be too large for f16, as in transformers.
///
/// In int8, the matrices of linear layers take little more than a quarter of the memory of f32, on a CPU (with the feature
/// `cpu`). Embedding tables, output heads, and matrices whose inputs are not a multiple of 64 are in f16. Sums are in f32 here,
/// too.
///
/// A model in another format than f32 can write and score texts, but not be trained.
///
/// ```
/// use burn::tensor::Device;
/// use wheels_lm::{LoadOptions, WeightFormat};
///
/// let device = Device::default();
/// assert_eq!(LoadOptions::from(&device).format, WeightFormat::F32);
/// assert_eq!(LoadOptions::from((&device, WeightFormat::F16)).format, WeightFormat::F16);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// The device of the weights.
    pub device: &'a Device,
    /// The format of the matrices.
    pub format: WeightFormat,
}

impl LoadOptions<'_> {
    /// # Errors
    /// [`LmError::Format`] if the device does not compute in the format.
    pub(crate) fn check(&self) -> Result<(), LmError> {
        let Self { device, format } = *self;
        let computes = match format {
            WeightFormat::F32 => true,
            WeightFormat::F16 | WeightFormat::BF16 => device.supports_dtype(DType::from(format.floats())),
            WeightFormat::Int8 => int8(&Tensor::<2>::zeros([1, 64], device)).is_some(),
        };
        if computes { Ok(()) } else { Err(LmError::Format { format }) }
    }
}

/// A matrix in int8. None if the device or the number of inputs does not allow it.
pub(crate) fn int8<const D: usize>(weight: &Tensor<D>) -> Option<Tensor<D>> {
    #[cfg(feature = "cpu")]
    return wheels_cpu::int8(weight);
    #[cfg(not(feature = "cpu"))]
    {
        let _ = weight;
        None
    }
}

impl<'a> From<&'a Device> for LoadOptions<'a> {
    fn from(device: &'a Device) -> Self {
        Self { device, format: WeightFormat::default() }
    }
}

impl<'a, F: Into<WeightFormat>> From<(&'a Device, F)> for LoadOptions<'a> {
    fn from((device, format): (&'a Device, F)) -> Self {
        Self { device, format: format.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_parses_from_what_it_prints_and_from_the_names_of_pytorch() {
        for format in WeightFormat::ALL {
            assert_eq!(format.to_string().parse::<WeightFormat>().expect("a printed format"), format);
        }
        assert_eq!("BFloat16".parse::<WeightFormat>().expect("a name of PyTorch"), WeightFormat::BF16);
        let error = "int4".parse::<WeightFormat>().expect_err("not a format").to_string();
        assert!(error.contains("\"int4\"") && error.contains("bf16, int8"), "{error}");
    }
}
