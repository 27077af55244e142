//! The blocks of Llama.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::cache::{KeysValues, Slots};
use crate::nn::{Activation, Dropout, Linear, Packing, RmsNorm, attend, forward_all, rotate};

#[derive(Module, Debug)]
pub(super) struct Block {
    pub(super) input_layernorm: RmsNorm,
    pub(super) self_attn: SelfAttention,
    pub(super) post_attention_layernorm: RmsNorm,
    pub(super) mlp: Mlp,
}

/// What one block attends to.
pub(super) struct Attended<'a> {
    pub(super) packing: &'a Packing,
    /// The [angles](Rotary::angles) of the positions.
    pub(super) angles: &'a [Tensor<3>; 2],
    pub(super) mask: Option<Tensor<4>>,
    /// The slots of the block's cache. None without a cache.
    pub(super) slots: Option<Slots<'a>>,
}

#[derive(Module, Debug)]
pub(super) struct SelfAttention {
    pub(super) q_proj: Linear,
    pub(super) k_proj: Linear,
    pub(super) v_proj: Linear,
    pub(super) o_proj: Linear,
    pub(super) q_norm: Option<RmsNorm>,
    pub(super) k_norm: Option<RmsNorm>,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) d_head: usize,
    pub(super) dropout: f64,
}

#[derive(Module, Debug)]
pub(super) struct Mlp {
    pub(super) gate_proj: Linear,
    pub(super) up_proj: Linear,
    pub(super) down_proj: Linear,
    #[module(skip)]
    pub(super) activation: Activation,
}

impl Mlp {
    /// # Shapes
    /// `[positions, hidden_size]` to the same.
    fn forward(&self, x: Tensor<2>, dropout: &mut Dropout) -> Tensor<2> {
        let [gate, up] = forward_all([&self.gate_proj, &self.up_proj], x, dropout);
        self.down_proj.forward(self.activation.gated(gate, up), dropout)
    }
}

impl Block {
    /// Applies the block.
    ///
    /// # Shapes
    /// `[positions, hidden_size]` to the same.
    pub(super) fn forward(&self, mut x: Tensor<2>, mut attended: Attended<'_>, dropout: &mut Dropout) -> Tensor<2> {
        let (queries, keys_values) = self.read(x.clone(), &mut attended, dropout);
        let Attended { packing, mask, .. } = attended;
        x = x + self.self_attn.attend(queries, keys_values, mask, packing, dropout);
        x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x), dropout)
    }

    /// The queries, and the keys and values that they attend to: those of the cache, to which the new ones are appended, or
    /// only the new ones. Afterwards the slots of `attended` are used up.
    pub(super) fn read<'a>(
        &self,
        x: Tensor<2>,
        attended: &mut Attended<'a>,
        dropout: &mut Dropout,
    ) -> (Tensor<4>, KeysValues<'a>) {
        let normed = self.input_layernorm.forward(x);
        let [queries, keys, values] = self.self_attn.project(normed, attended.packing, attended.angles, dropout);
        match attended.slots.take() {
            Some(slots) => (queries, slots.extend((keys, values))),
            None => (queries, (keys, values).into()),
        }
    }
}

impl SelfAttention {
    /// The queries, keys and values at the positions of `x`, with the positions encoded.
    ///
    /// # Shapes
    /// `x`: `[positions, hidden_size]`; queries: `[rows, heads, time, d_head]`; keys and values: `[rows, kv_heads, time,
    /// d_head]`.
    fn project(
        &self,
        x: Tensor<2>,
        packing: &Packing,
        angles: &[Tensor<3>; 2],
        dropout: &mut Dropout,
    ) -> [Tensor<4>; 3] {
        let [queries, keys, values] = forward_all([&self.q_proj, &self.k_proj, &self.v_proj], x, dropout);
        let queries = self.heads(queries, self.q_norm.as_ref(), Some(angles), packing);
        let keys = self.heads(keys, self.k_norm.as_ref(), Some(angles), packing);
        let values = self.heads(values, None, None, packing);
        [queries * (self.d_head as f64).powf(-0.5), keys, values]
    }

    /// Splits projected states into heads, normalises and rotates them.
    ///
    /// # Shapes
    /// `[positions, heads * d_head]` to `[rows, heads, time, d_head]`.
    fn heads(
        &self,
        x: Tensor<2>,
        norm: Option<&RmsNorm>,
        angles: Option<&[Tensor<3>; 2]>,
        packing: &Packing,
    ) -> Tensor<4> {
        let [positions, inner] = x.dims();
        let heads = inner / self.d_head;
        let mut split = x.reshape([positions, heads, self.d_head]);
        if let Some(norm) = norm {
            split = norm.forward(split);
        }
        if let Some(angles) = angles {
            split = rotate(split, angles);
        }
        let grid = packing.grid(split.reshape([positions, inner]));
        let [rows, time, _] = grid.dims();
        grid.reshape([rows, time, heads, self.d_head]).swap_dims(1, 2)
    }

    /// Attends to keys and values.
    ///
    /// # Shapes
    /// `queries`: `[rows, heads, time, d_head]`; keys and values, as they are selected: `[rows, kv_heads, slots,
    /// d_head]`; `mask`: `[rows or 1, 1, time, slots]`; the result: `[positions, hidden_size]`.
    fn attend(
        &self,
        queries: Tensor<4>,
        keys_values: KeysValues<'_>,
        mask: Option<Tensor<4>>,
        packing: &Packing,
        dropout: &mut Dropout,
    ) -> Tensor<2> {
        let found = attend(queries, keys_values, mask, dropout, self.dropout);
        self.o_proj.forward(packing.list(found), dropout)
    }
}
