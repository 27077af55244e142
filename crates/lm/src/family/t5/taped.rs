//! T5 with gradient checkpointing.

use super::{T5, embed, masked};
use crate::encoder_decoder::{Attended, BlockMemory, TapedEncoder};
use crate::hidden::select;
use crate::nn::{Packing, causal_mask, padding_mask};
use crate::tape::Tape;
use crate::{Context, Hidden, LanguageModel, Positions, TokenBatch};

impl T5 {
    /// As [`encode`](Self::encode), on a new tape of the context.
    pub(super) fn record_encoder(&self, prompts: &TokenBatch, context: &mut Context) {
        // Masks and ids take part in passes with autodiff and in passes without it.
        let device = self.device().without_autodiff();
        let (ids, padding, width) = (prompts.tensor(&device), padding_mask(prompts, &device), prompts.width());
        let (list, mask) = (Packing::padded(prompts), padding.clone());
        let (mut tape, mut dropout, rate) = (Tape::default(), self.dropout(0), self.config.dropout_rate);
        let packing = list.clone();
        let mut x = tape.step(&self.shared, [], &mut dropout, move |table, [], dropout| {
            embed(table, ids.clone(), &packing, dropout, rate)
        });
        let mut bias = None;
        for block in &self.encoder.block {
            // The bias is computed again with each block, because it is small and its gradients are added anyway.
            bias = block.bias.clone().or(bias);
            let (packing, mask) = (list.clone(), mask.clone());
            x = tape.step(&(block.clone(), bias.clone()), [&x], &mut dropout, move |(block, bias), [x], dropout| {
                let bias = bias.as_ref().map(|bias| masked(bias.forward(&[0], width, width), mask.clone()));
                block.forward(x, Attended { packing: &packing, bias, slots: None, prompts: None }, dropout, rate)
            });
        }
        let output = tape.step(&self.encoder.final_norm, [&x], &mut dropout, move |norm, [x], dropout| {
            dropout.apply(norm.forward(x), rate)
        });
        context.insert(TapedEncoder { output, packing: list, bias: padding });
        context.tape = Some(tape);
    }

    /// As [`hidden`](LanguageModel::hidden), on the tape of the context.
    pub(super) fn record_decoder(
        &self,
        tokens: &TokenBatch,
        positions: Positions<'_>,
        context: &mut Context,
    ) -> Hidden {
        let encoder = context.state::<TapedEncoder>().expect("this context was made by the prefill of a T5").clone();
        let tape = context.tape.as_mut().expect("the prefill has begun a tape");
        let device = self.device().without_autodiff();
        let (ids, width) = (tokens.tensor(&device), tokens.width());
        let (list, mask) = (Packing::padded(tokens), causal_mask(&[0], width, width, None, &device));
        // As in a pass without a tape, the keys and values of cross-attention have dropout of their own.
        let (mut dropout, rate) = ([self.dropout(1), self.dropout(2)], self.config.dropout_rate);
        let packing = list.clone();
        let mut x = tape.step(&self.shared, [], &mut dropout, move |table, [], [dropout, _]| {
            embed(table, ids.clone(), &packing, dropout, rate)
        });
        let mut bias = None;
        for block in &self.decoder.block {
            bias = block.bias.clone().or(bias);
            let (packing, mask, prompts) = (list.clone(), mask.clone(), encoder.packing.clone());
            let padding = encoder.bias.clone();
            x = tape.step(
                &(block.clone(), bias.clone()),
                [&x, &encoder.output],
                &mut dropout,
                move |(block, bias), [x, encoded], [dropout, of_prompts]| {
                    let bias = bias.as_ref().map(|bias| masked(bias.forward(&[0], width, width), mask.clone()));
                    let prompts = block.cross.as_ref().map(|cross| BlockMemory {
                        keys_values: cross.keys_values(encoded, &prompts, of_prompts).into(),
                        bias: padding.clone(),
                    });
                    block.forward(x, Attended { packing: &packing, bias, slots: None, prompts }, dropout, rate)
                },
            );
        }
        let indices = positions.indices(tokens.lengths(), width);
        let states = tape.step(&self.decoder.final_norm, [&x], &mut dropout, move |norm, [x], [dropout, _]| {
            select(dropout.apply(norm.forward(x), rate), &indices)
        });
        Hidden::new(tape.finish(states))
    }
}
