//! Llama with gradient checkpointing.

use burn::tensor::Tensor;

use super::Llama;
use super::block::Attended;
use crate::hidden::select;
use crate::nn::Packing;
use crate::tape::Tape;
use crate::{LanguageModel, TokenBatch};

impl Llama {
    /// Reads texts on a tape, and returns the last hidden states at some indices of the grid of `texts`, padding included.
    ///
    /// # Shapes
    /// `[indices, hidden_size]`.
    pub(super) fn record(&self, texts: &TokenBatch, indices: Vec<usize>, tape: &mut Tape) -> Tensor<2> {
        // Masks, angles and ids take part in passes with autodiff and in passes without it.
        let device = LanguageModel::device(self).without_autodiff();
        let (ids, list, time) = (texts.tensor(&device), Packing::padded(texts), texts.width());
        let positions: Vec<usize> = (0..texts.rows()).flat_map(|_| 0..time).collect();
        let angles = self.rotary.angles(&positions, &device);
        let masks = self.masks(&vec![0; texts.rows()], time, &device);
        let mut dropout = self.dropout();
        let packing = list.clone();
        let mut x = tape.step(&self.model.embed_tokens, [], &mut dropout, move |table, [], _| {
            packing.without_padding(table.forward(ids.clone()))
        });
        for (block, mask) in self.model.layers.iter().zip(masks) {
            let (packing, angles) = (list.clone(), angles.clone());
            x = tape.step(block, [&x], &mut dropout, move |block, [x], dropout| {
                block.forward(
                    x,
                    Attended { packing: &packing, angles: &angles, mask: mask.clone(), slots: None },
                    dropout,
                )
            });
        }
        let states =
            tape.step(&self.model.norm, [&x], &mut dropout, move |norm, [x], _| select(norm.forward(x), &indices));
        tape.finish(states)
    }
}
