//! The state of encoder-decoders.

use burn::tensor::Tensor;

use crate::ModelState;
use crate::cache::KvCache;
use crate::context::row_index;

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
}

impl EncoderMemory {
    pub(crate) fn select_rows(&self, rows: &[usize]) -> Self {
        let Some((keys, _)) = self.layers.first() else { return self.clone() };
        let index = row_index(rows, &keys.device());
        let mut layers = Vec::with_capacity(self.layers.len());
        for (keys, values) in &self.layers {
            layers.push((keys.clone().select(0, index.clone()), values.clone().select(0, index.clone())));
        }
        Self { layers, bias: self.bias.clone().map(|bias| bias.select(0, index)) }
    }
}
