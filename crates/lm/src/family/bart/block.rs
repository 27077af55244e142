//! The blocks of BART.

use burn::module::Module;
use burn::tensor::{DType, Tensor};

use crate::encoder_decoder::Attended;
use crate::family::bart_config::BartConfig;
use crate::nn::{Activation, Attention, Dropout, LayerNorm, Linear};

/// The largest hidden state of an encoder in f16. transformers has the same limit, so that no state becomes infinite.
const LARGEST_F16: f64 = 65_504.0 - 1000.0;

#[derive(Module, Debug)]
pub(super) struct Block {
    pub(super) self_attn: Attention,
    pub(super) self_attn_layer_norm: LayerNorm,
    pub(super) encoder_attn: Option<Attention>,
    pub(super) encoder_attn_layer_norm: Option<LayerNorm>,
    pub(super) fc1: Linear,
    pub(super) fc2: Linear,
    pub(super) final_layer_norm: LayerNorm,
}

/// What the blocks of a model have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether norms are before the layers.
    norms_before: bool,
    activation: Activation,
    /// The dropout rates of the outputs of layers, and of activations.
    dropout: f64,
    activation_dropout: f64,
}

impl BartConfig {
    pub(super) fn style(&self) -> Style {
        Style {
            norms_before: self.normalizes_before(),
            activation: self.activation_function,
            dropout: self.dropout,
            activation_dropout: self.activation_dropout,
        }
    }
}

impl Style {
    /// The input of a layer: `x`, or `norm(x)`.
    fn before(&self, norm: &LayerNorm, x: Tensor<2>) -> Tensor<2> {
        if self.norms_before { norm.forward(x) } else { x }
    }

    /// Adds the output of a layer: `x + found`, or `norm(x + found)`.
    fn add(&self, norm: &LayerNorm, x: Tensor<2>, found: Tensor<2>, dropout: &mut Dropout) -> Tensor<2> {
        let sum = x + dropout.apply(found, self.dropout);
        if self.norms_before { sum } else { norm.forward(sum) }
    }
}

impl Block {
    /// Applies the block.
    ///
    /// # Shapes
    /// `[positions, d_model]` to the same.
    pub(super) fn forward(
        &self,
        mut x: Tensor<2>,
        attended: Attended<'_>,
        dropout: &mut Dropout,
        style: Style,
    ) -> Tensor<2> {
        let Attended { packing, bias, slots, prompts } = attended;
        let input = style.before(&self.self_attn_layer_norm, x.clone());
        let new = self.self_attn.keys_values(input.clone(), packing, dropout);
        let keys_values = match slots {
            Some(slots) => slots.extend(new),
            None => new.into(),
        };
        let found = self.self_attn.forward(input, packing, keys_values, bias, dropout);
        x = style.add(&self.self_attn_layer_norm, x, found, dropout);
        let is_encoder = self.encoder_attn.is_none();
        if let (Some(cross), Some(norm), Some(prompts)) = (&self.encoder_attn, &self.encoder_attn_layer_norm, prompts) {
            let input = style.before(norm, x.clone());
            let found = cross.forward(input, packing, prompts.keys_values, prompts.bias, dropout);
            x = style.add(norm, x, found, dropout);
        }
        let norm = &self.final_layer_norm;
        let inner = self.fc1.forward(style.before(norm, x.clone()), dropout);
        let inner = dropout.apply(style.activation.forward(inner), style.activation_dropout);
        let found = self.fc2.forward(inner, dropout);
        x = style.add(norm, x, found, dropout);
        if is_encoder && x.dtype() == DType::F16 { x.clamp(-LARGEST_F16, LARGEST_F16) } else { x }
    }
}
