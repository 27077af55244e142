//! Activation functions by the names of Hugging Face's config.json.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, relu, silu};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The function between the two feed-forward layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// GELU, with the error function (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU in its tanh approximation.
    #[serde(rename = "gelu_new")]
    GeluNew,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
    /// `x * sigmoid(x)`, also called swish.
    #[serde(rename = "silu", alias = "swish")]
    Silu,
}

impl Activation {
    /// The names that are read, for error messages.
    pub(crate) const SUPPORTED: &'static str = "gelu, gelu_new, relu, silu and swish";

    /// The names that are read, as values of config.json.
    pub(crate) fn names() -> [Value; 5] {
        ["gelu", "gelu_new", "relu", "silu", "swish"].map(|name| json!(name))
    }

    /// Applies the function to each value of `gate`, and multiplies the results with `up`.
    ///
    /// # Shapes
    /// All have the same shape.
    pub(crate) fn gated<const D: usize>(self, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
        #[cfg(feature = "cpu")]
        if self == Self::Silu
            && let Some(y) = wheels_cpu::silu_gate(&gate, &up)
        {
            return y;
        }
        self.forward(gate) * up
    }

    /// Applies the function to each value.
    pub(crate) fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluNew => gelu_approximate(x),
            Self::Relu => relu(x),
            Self::Silu => silu(x),
        }
    }
}
