//! Multi-head attention. Caches and position biases belong to the caller.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::{Dropout, Linear, MASKED, Packing, forward_all};
use crate::TokenBatch;
use crate::cache::KeysValues;

/// Multi-head attention of an encoder-decoder.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    heads: usize,
    d_head: usize,
    /// Multiplies the scores.
    scale: f64,
    /// The dropout rate of the attention weights.
    dropout: f64,
}

impl Attention {
    /// T5's attention: the projections have no bias, and the scores are not scaled. The variance of the random weights
    /// is `factor^2 / (d_model * d_head)` for queries, `factor^2 / d_model` for keys and values, and
    /// `factor^2 / (heads * d_head)` for the output.
    pub(crate) fn t5(d_model: usize, heads: usize, d_head: usize, factor: f64, device: &Device) -> Self {
        let inner = heads * d_head;
        let linear =
            |inputs, outputs, variance: usize| Linear::init(inputs, outputs, factor / (variance as f64).sqrt(), device);
        Self {
            q: linear(d_model, inner, d_model * d_head),
            k: linear(d_model, inner, d_model),
            v: linear(d_model, inner, d_model),
            o: linear(inner, d_model, inner),
            heads,
            d_head,
            scale: 1.0,
            dropout: 0.0,
        }
    }

    /// BART's attention: the projections have biases, and the scores are divided by the square root of the width of a head,
    /// which is `d_model / heads`. `std` is the standard deviation of the random weights.
    pub(crate) fn bart(d_model: usize, heads: usize, std: f64, device: &Device) -> Self {
        let linear = || Linear::init(d_model, d_model, std, device).with_bias(true, device);
        let d_head = d_model / heads;
        Self {
            q: linear(),
            k: linear(),
            v: linear(),
            o: linear(),
            heads,
            d_head,
            scale: (d_head as f64).powf(-0.5),
            dropout: 0.0,
        }
    }

    /// The same layer with dropout of the attention weights in training.
    pub(crate) fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The keys and values of `x`.
    ///
    /// # Shapes
    /// `x`: `[positions, d_model]`; keys and values: `[batch, heads, time, d_head]`.
    pub(crate) fn keys_values(&self, x: Tensor<2>, packing: &Packing, dropout: &mut Dropout) -> (Tensor<4>, Tensor<4>) {
        let [keys, values] = forward_all([&self.k, &self.v], x, dropout);
        (self.split(keys, packing), self.split(values, packing))
    }

    /// Attends from the positions of `x` to keys and values.
    ///
    /// # Shapes
    /// `x` and the result: `[positions, d_model]`, which `packing` maps to the grid `[batch, query, d_model]`; keys and
    /// values, as they are selected: `[batch, heads, key, d_head]`; `bias`: any shape that broadcasts to `[batch, heads,
    /// query, key]`.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        packing: &Packing,
        keys_values: KeysValues<'_>,
        bias: Option<Tensor<4>>,
        dropout: &mut Dropout,
    ) -> Tensor<2> {
        let mut queries = self.q.forward(x, dropout);
        if self.scale != 1.0 {
            queries = queries * self.scale;
        }
        let found = attend(self.split(queries, packing), keys_values, bias, dropout, self.dropout);
        self.o.forward(packing.list(found), dropout)
    }

    fn split(&self, x: Tensor<2>, packing: &Packing) -> Tensor<4> {
        let grid = packing.grid(x);
        let [batch, time, _] = grid.dims();
        grid.reshape([batch, time, self.heads, self.d_head]).swap_dims(1, 2)
    }
}

/// `softmax(queries keys^T + bias) values`. The heads of a group share their keys and values. In training, attention weights
/// are dropped with the probability `rate`.
///
/// # Shapes
/// `queries`: `[rows, heads, time, d_head]`; keys and values, as they are selected: `[rows, heads / group, slots,
/// d_head]`; `bias`: a shape that broadcasts to `[rows, heads, time, slots]`, of one head if the group is larger than 1;
/// the result: `[rows, time, heads * d_head]`.
pub(crate) fn attend(
    queries: Tensor<4>,
    keys_values: KeysValues<'_>,
    bias: Option<Tensor<4>>,
    dropout: &mut Dropout,
    rate: f64,
) -> Tensor<3> {
    #[cfg(feature = "cpu")]
    if !dropout.drops(rate)
        && let KeysValues { keys, values, rows, slots } = &keys_values
        && let cache = (wheels_cpu::CacheView { keys, values, rows: *rows, slots: *slots })
        && let Some(found) = wheels_cpu::attention_to(&queries, cache, bias.as_ref())
    {
        return found.flatten(2, 3);
    }
    let (keys, values) = keys_values.selected();
    let [rows, heads, time, d_head] = queries.dims();
    let kv_heads = keys.dims()[1];
    // The queries of a group are read as more queries of one head.
    let group = heads / kv_heads;
    let scores = queries.reshape([rows, kv_heads, group * time, d_head]).matmul(keys.transpose());
    let scores = match bias {
        Some(bias) if group > 1 => scores + bias.repeat_dim(2, group),
        Some(bias) => scores + bias,
        None => scores,
    };
    let weights = dropout.apply(attention_weights(scores), rate);
    weights.matmul(values).reshape([rows, heads, time, d_head]).swap_dims(1, 2).flatten(2, 3)
}

/// Softmax over the last dimension.
fn attention_weights(scores: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu")]
    if let Some(weights) = wheels_cpu::softmax(&scores) {
        return weights;
    }
    softmax(scores, 3)
}

/// The causal mask, to be added to the scores. Query `i` of row `r` is at slot `offsets[r] + i` and sees
/// the last `window` slots, its own included, or all up to its own. None if every query sees every slot.
///
/// # Shapes
/// `[rows or 1, 1, queries, slots]`.
pub(crate) fn causal_mask(
    offsets: &[usize],
    queries: usize,
    slots: usize,
    window: Option<usize>,
    device: &Device,
) -> Option<Tensor<4>> {
    let aligned = offsets.iter().all(|&offset| offset == offsets[0]);
    let offsets = if aligned { &offsets[..offsets.len().min(1)] } else { offsets };
    let window = window.filter(|&window| window < slots).unwrap_or(slots);
    if aligned && queries == 1 && window == slots {
        return None;
    }
    let mask: Vec<f32> = offsets
        .iter()
        .flat_map(|offset| (0..queries).map(move |query| offset + query))
        .flat_map(|last| (0..slots).map(move |slot| if slot <= last && slot + window > last { 0.0 } else { MASKED }))
        .collect();
    Some(Tensor::from_data(TensorData::new(mask, [offsets.len(), 1, queries, slots]), device))
}

/// The padding mask, to be added to the scores of every query. None if no row is padded.
///
/// # Shapes
/// `[batch, 1, 1, time]`.
pub(crate) fn padding_mask(tokens: &TokenBatch, device: &Device) -> Option<Tensor<4>> {
    length_mask(tokens.lengths(), tokens.width(), device)
}

/// As [`padding_mask`], for rows of these lengths that are padded to `time`.
pub(crate) fn length_mask(lengths: &[usize], time: usize, device: &Device) -> Option<Tensor<4>> {
    lengths.iter().any(|&length| length != time).then(|| {
        let row = |&length: &usize| (0..time).map(move |t| if t < length { 0.0 } else { MASKED });
        let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
        Tensor::from_data(TensorData::new(mask, [lengths.len(), 1, 1, time]), device)
    })
}
