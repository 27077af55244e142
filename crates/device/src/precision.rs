//! The floating-point type of weights and activations.

use std::fmt;
use std::str::FromStr;

use burn::tensor::FloatDType;
use serde::{Deserialize, Serialize};

use crate::DeviceError;

/// The default floating-point type of the tensors on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: 5 bits of exponent and 10 of fraction.
    F16,
    /// Brain floating point: the range of `F32`, with 7 bits of fraction.
    BF16,
    /// Single precision; the device may compute in half precision.
    Flex32,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::BF16, Self::Flex32];

    /// The name that a user types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Flex32 => "flex32",
        }
    }

    /// The same type in burn.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::BF16 => FloatDType::BF16,
            Self::Flex32 => FloatDType::Flex32,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|precision| precision.as_str() == name)
            .ok_or_else(|| DeviceError::ParsePrecision { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_parses_from_what_it_prints() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().expect("a printed precision"), precision);
        }
        assert_eq!("BF16".parse::<Precision>().expect("upper case is accepted"), Precision::BF16);
        let error = "double".parse::<Precision>().expect_err("not a precision").to_string();
        assert!(error.contains("double") && error.contains("flex32"), "{error}");
    }
}
