//! BART with gradient checkpointing.

use super::{Bart, last_norm};
use crate::encoder_decoder::{Attended, BlockMemory, TapedEncoder};
use crate::hidden::select;
use crate::nn::{Packing, causal_mask, padding_mask};
use crate::tape::Tape;
use crate::{Context, Hidden, LanguageModel, Positions, TokenBatch};

impl Bart {
    /// As [`encode`](Self::encode), on a new tape of the context.
    pub(super) fn record_encoder(&self, prompts: &TokenBatch, context: &mut Context) {
        // Masks and ids take part in passes with autodiff and in passes without it.
        let device = self.device().without_autodiff();
        let (list, padding) = (Packing::padded(prompts), padding_mask(prompts, &device));
        let (mut tape, mut dropout, style) = (Tape::default(), self.dropout(0), self.config.style());
        let (packing, tokens) = (list.clone(), self.input_tokens(prompts, &vec![&[][..]; prompts.rows()], &device));
        let mut x = tape.step(&self.input_layers(&self.encoder), [], &mut dropout, move |layers, [], dropout| {
            layers.forward(&tokens, &packing, dropout)
        });
        for block in &self.encoder.layers {
            let (packing, padding) = (list.clone(), padding.clone());
            x = tape.step(block, [&x], &mut dropout, move |block, [x], dropout| {
                let attended = Attended { packing: &packing, bias: padding.clone(), slots: None, prompts: None };
                block.forward(x, attended, dropout, style)
            });
        }
        let output = tape.step(&self.encoder.layer_norm, [&x], &mut dropout, |norm, [x], _| last_norm(norm, x));
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
        let encoder = context.state::<TapedEncoder>().expect("this context was made by the prefill of a Bart").clone();
        let tape = context.tape.as_mut().expect("the prefill has begun a tape");
        let device = self.device().without_autodiff();
        let (list, width) = (Packing::padded(tokens), tokens.width());
        let mask = causal_mask(&[0], width, width, None, &device);
        // As in a pass without a tape, the keys and values of cross-attention have dropout of their own.
        let (mut dropout, style) = ([self.dropout(1), self.dropout(2)], self.config.style());
        let (packing, input) = (list.clone(), self.input_tokens(tokens, &vec![&[][..]; tokens.rows()], &device));
        let mut x = tape.step(&self.input_layers(&self.decoder), [], &mut dropout, move |layers, [], [dropout, _]| {
            layers.forward(&input, &packing, dropout)
        });
        for block in &self.decoder.layers {
            let (packing, mask, prompts) = (list.clone(), mask.clone(), encoder.packing.clone());
            let padding = encoder.bias.clone();
            x = tape.step(
                block,
                [&x, &encoder.output],
                &mut dropout,
                move |block, [x, encoded], [dropout, of_prompts]| {
                    let prompts = block.encoder_attn.as_ref().map(|cross| BlockMemory {
                        keys_values: cross.keys_values(encoded, &prompts, of_prompts).into(),
                        bias: padding.clone(),
                    });
                    block.forward(
                        x,
                        Attended { packing: &packing, bias: mask.clone(), slots: None, prompts },
                        dropout,
                        style,
                    )
                },
            );
        }
        let indices = positions.indices(tokens.lengths(), width);
        let states = tape.step(&self.decoder.layer_norm, [&x], &mut dropout, move |norm, [x], _| {
            select(last_norm(norm, x), &indices)
        });
        Hidden::new(tape.finish(states))
    }
}
