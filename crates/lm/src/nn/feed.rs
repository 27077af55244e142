//! The feed-forward layers of a transformer block.

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{gelu_approximate, relu};
use burn::tensor::{Device, Tensor};

use super::Dropout;

/// The feed-forward layers of a transformer block, without bias.
#[derive(Module, Debug)]
pub(crate) enum Feed {
    /// `wo(relu(wi x))`.
    Plain(Plain),
    /// `wo(gelu(wi_0 x) * (wi_1 x))` (Shazeer 2020, arXiv 2002.05202), with GELU in its tanh approximation.
    Gated(Gated),
}

/// The layers of [`Feed::Plain`].
#[derive(Module, Debug)]
pub(crate) struct Plain {
    wi: Linear,
    wo: Linear,
}

/// The layers of [`Feed::Gated`].
#[derive(Module, Debug)]
pub(crate) struct Gated {
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
}

impl Feed {
    /// Plain layers. The variance of their random weights is `factor^2` divided by the input width.
    pub(crate) fn plain(d_model: usize, d_ff: usize, factor: f64, device: &Device) -> Self {
        Self::Plain(Plain { wi: linear(d_model, d_ff, factor, device), wo: linear(d_ff, d_model, factor, device) })
    }

    /// Gated layers. The variance of their random weights is `factor^2` divided by the input width.
    pub(crate) fn gated(d_model: usize, d_ff: usize, factor: f64, device: &Device) -> Self {
        Self::Gated(Gated {
            wi_0: linear(d_model, d_ff, factor, device),
            wi_1: linear(d_model, d_ff, factor, device),
            wo: linear(d_ff, d_model, factor, device),
        })
    }

    /// Applies the layers to each position. In training, values between the layers are dropped with the probability
    /// `rate`.
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, d_model]`.
    pub(crate) fn forward(&self, x: Tensor<2>, dropout: &mut Dropout, rate: f64) -> Tensor<2> {
        match self {
            Self::Plain(Plain { wi, wo }) => wo.forward(dropout.apply(relu(wi.forward(x)), rate)),
            Self::Gated(Gated { wi_0, wi_1, wo }) => {
                let inner = gelu_approximate(wi_0.forward(x.clone())) * wi_1.forward(x);
                wo.forward(dropout.apply(inner, rate))
            }
        }
    }
}

fn linear(d_input: usize, d_output: usize, factor: f64, device: &Device) -> Linear {
    let initializer = Initializer::Normal { mean: 0.0, std: factor / (d_input as f64).sqrt() };
    LinearConfig::new(d_input, d_output).with_bias(false).with_initializer(initializer).init(device)
}
