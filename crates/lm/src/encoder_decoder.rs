//! The state of encoder-decoders.

use std::any::Any;

use burn::tensor::Tensor;

use crate::ModelState;
use crate::cache::{KeysValues, KvCache, Slots};
use crate::context::row_index;
use crate::nn::{Packing, length_mask};
use crate::tape::Taped;

/// What an encoder-decoder keeps in a [`Context`](crate::Context).
#[derive(Debug)]
pub(crate) struct EncoderDecoderState {
    pub(crate) memory: EncoderMemory,
    /// One cache for each decoder block. There are none in a context that does not remember.
    pub(crate) caches: Vec<KvCache>,
}

/// What the decoder needs for cross-attention, computed once from the prompts.
#[derive(Clone, Debug)]
pub(crate) struct EncoderMemory {
    /// The keys and values for each decoder block, `[batch, heads, source, d_head]`.
    pub(crate) layers: Vec<(Tensor<4>, Tensor<4>)>,
    /// The padding mask, `[batch, 1, 1, source]`, which is added to the attention scores. None if no row is padded.
    pub(crate) bias: Option<Tensor<4>>,
    /// The number of tokens in each prompt.
    pub(crate) lengths: Vec<usize>,
}

/// What one block attends to.
#[derive(Debug)]
pub(crate) struct Attended<'a> {
    /// That of the block's input.
    pub(crate) packing: &'a Packing,
    /// Added to the scores of self-attention.
    pub(crate) bias: Option<Tensor<4>>,
    /// The slots of the block's cache. None without a cache.
    pub(crate) slots: Option<Slots<'a>>,
    /// The prompts, for cross-attention. None in an encoder.
    pub(crate) prompts: Option<BlockMemory<'a>>,
}

/// The part of an [`EncoderMemory`] for one decoder block.
#[derive(Debug)]
pub(crate) struct BlockMemory<'a> {
    pub(crate) keys_values: KeysValues<'a>,
    pub(crate) bias: Option<Tensor<4>>,
}

/// What an encoder-decoder with gradient checkpointing keeps in a context: each decoder block computes its own keys and
/// values.
#[derive(Clone, Debug)]
pub(crate) struct TapedEncoder {
    /// The encoder's output as the list of `packing`.
    pub(crate) output: Taped,
    pub(crate) packing: Packing,
    /// See [`EncoderMemory::bias`].
    pub(crate) bias: Option<Tensor<4>>,
}

impl ModelState for TapedEncoder {
    fn select_rows(&mut self, _rows: &[usize]) {
        unreachable!("a context with a tape refuses this");
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // A context without caches has no tokens that could be forgotten.
    }
}

impl EncoderDecoderState {
    /// The state after the prompts, with caches of `capacity` tokens for `heads` heads of the width `d_head`.
    pub(crate) fn new(memory: EncoderMemory, rows: usize, capacity: usize, [heads, d_head]: [usize; 2]) -> Self {
        let Some((keys, _)) = memory.layers.first().filter(|_| capacity > 0) else {
            return Self { memory, caches: vec![] };
        };
        let device = keys.device();
        let caches = memory.layers.iter().map(|_| KvCache::new(rows, heads, capacity, d_head, &device)).collect();
        // Selecting all rows makes the keys and values contiguous once. They are transposed views of the heads, and without
        // this every later selection of rows would first copy them as a whole.
        Self { memory: memory.select_rows(&(0..rows).collect::<Vec<_>>()), caches }
    }
}

impl ModelState for EncoderDecoderState {
    fn select_rows(&mut self, rows: &[usize]) {
        for cache in &mut self.caches {
            cache.select_rows(rows);
        }
        self.memory = self.memory.select_rows(rows);
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // The context knows the lengths: slots past them are masked, and the next append overwrites them.
    }

    fn can_append(&self) -> bool {
        true
    }

    fn append(&mut self, other: Box<dyn Any>, lengths: &[usize]) {
        let other = other.downcast::<Self>().expect("a state of the same type");
        let used = lengths.iter().copied().max().unwrap_or(0);
        for (cache, added) in self.caches.iter_mut().zip(other.caches) {
            cache.append_rows(added, used);
        }
        self.memory.append(other.memory);
    }
}

impl EncoderMemory {
    /// The part for a decoder block, for all rows or for `rows` if they are given. `bias` is that of these rows.
    pub(crate) fn block<'a>(
        &self,
        index: usize,
        rows: Option<&'a [usize]>,
        bias: Option<Tensor<4>>,
    ) -> BlockMemory<'a> {
        BlockMemory { keys_values: KeysValues { rows, ..self.layers[index].clone().into() }, bias }
    }

    /// The padding mask of all rows, or of `rows` if they are given.
    pub(crate) fn bias_of(&self, rows: Option<&[usize]>) -> Option<Tensor<4>> {
        let bias = self.bias.clone()?;
        Some(match rows {
            Some(rows) => {
                let index = row_index(rows, &bias.device());
                bias.select(0, index)
            }
            None => bias,
        })
    }

    fn select_rows(&self, rows: &[usize]) -> Self {
        let Some((keys, _)) = self.layers.first() else { return self.clone() };
        let index = row_index(rows, &keys.device());
        let mut layers = Vec::with_capacity(self.layers.len());
        for (keys, values) in &self.layers {
            layers.push((keys.clone().select(0, index.clone()), values.clone().select(0, index.clone())));
        }
        let lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        Self { layers, bias: self.bias_of(Some(rows)), lengths }
    }

    /// Adds the rows of another memory. The width becomes that of the longest prompt that is left.
    fn append(&mut self, other: Self) {
        self.lengths.extend(other.lengths);
        let width = self.lengths.iter().copied().max().unwrap_or(0);
        for ((keys, values), (more_keys, more_values)) in self.layers.iter_mut().zip(other.layers) {
            keys.inplace(|own| Tensor::cat(vec![with_width(own, width), with_width(more_keys, width)], 0));
            values.inplace(|own| Tensor::cat(vec![with_width(own, width), with_width(more_values, width)], 0));
        }
        let device = self.layers.first().map(|(keys, _)| keys.device());
        self.bias = device.and_then(|device| length_mask(&self.lengths, width, &device));
    }
}

/// `[batch, heads, source, d_head]` with another `source`: cut, or filled up with zeros.
fn with_width(states: Tensor<4>, width: usize) -> Tensor<4> {
    let [batch, heads, source, d_head] = states.dims();
    if source >= width {
        return states.narrow(2, 0, width);
    }
    let padding = Tensor::zeros([batch, heads, width - source, d_head], &states.device());
    Tensor::cat(vec![states, padding], 2)
}
