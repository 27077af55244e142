//! The feed-forward layers of a transformer block.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Activation, Dropout, Linear, forward_all};

/// The kinds of feed-forward layers that T5 checkpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedForward {
    /// Plain layers with ReLU, as in version 1.0.
    #[serde(rename = "relu")]
    Relu,
    /// Gated layers with GELU in its tanh approximation, as in version 1.1 (Shazeer 2020, arXiv 2002.05202).
    #[serde(rename = "gated-gelu")]
    GatedGelu,
    /// Gated layers with SiLU.
    #[serde(rename = "gated-silu")]
    GatedSilu,
}

/// The feed-forward layers of a T5 block, without bias: `wo(relu(wi x))`, or `wo(act(wi_0 x) * (wi_1 x))`.
#[derive(Module, Debug)]
pub(crate) struct Feed {
    /// The layer of a plain block.
    wi: Option<Linear>,
    /// The layers of a gated block.
    wi_0: Option<Linear>,
    wi_1: Option<Linear>,
    wo: Linear,
    #[module(skip)]
    kind: FeedForward,
}

impl Feed {
    /// Layers of a kind. The variance of their random weights is `factor^2` divided by the input width.
    pub(crate) fn init(kind: FeedForward, d_model: usize, d_ff: usize, factor: f64, device: &Device) -> Self {
        let linear = |inputs: usize, outputs| Linear::init(inputs, outputs, factor / (inputs as f64).sqrt(), device);
        let gated = kind != FeedForward::Relu;
        Self {
            wi: (!gated).then(|| linear(d_model, d_ff)),
            wi_0: gated.then(|| linear(d_model, d_ff)),
            wi_1: gated.then(|| linear(d_model, d_ff)),
            wo: linear(d_ff, d_model),
            kind,
        }
    }

    /// Applies the layers to each position. In training, values between the layers are dropped with the probability
    /// `rate`.
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, d_model]`.
    pub(crate) fn forward(&self, x: Tensor<2>, dropout: &mut Dropout, rate: f64) -> Tensor<2> {
        let inner = match (&self.wi, &self.wi_0, &self.wi_1) {
            (Some(wi), ..) => relu(wi.forward(x, dropout)),
            (None, Some(gate), Some(up)) => {
                let [gate, up] = forward_all([gate, up], x, dropout);
                let activation =
                    if self.kind == FeedForward::GatedSilu { Activation::Silu } else { Activation::GeluNew };
                activation.gated(gate, up)
            }
            _ => unreachable!("`init` makes plain or gated layers"),
        };
        let inner = dropout.apply(inner, rate);
        self.wo.forward(inner, dropout)
    }
}
