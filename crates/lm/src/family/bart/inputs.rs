//! The layers of BART before its blocks.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Bart, FIRST_POSITION, Stack};
use crate::TokenBatch;
use crate::nn::{Dropout, Embedding, LayerNorm, Packing, Sinusoids};

/// The layers before the first block of a stack.
#[derive(Module, Debug)]
pub(super) struct InputLayers {
    table: Embedding,
    /// None if positions are computed.
    positions: Option<Embedding>,
    norm: Option<LayerNorm>,
}

/// What [`InputLayers`] read.
#[derive(Clone, Debug)]
pub(super) struct InputTokens {
    /// `[rows, time]`.
    ids: Tensor<2, Int>,
    /// The factor of the embeddings.
    scale: f64,
    positions: TokenPositions,
    /// The dropout rate of the result.
    dropout: f64,
}

/// The positions of tokens.
#[derive(Clone, Debug)]
enum TokenPositions {
    /// The rows of a table, `[rows, time]`.
    Learned(Tensor<2, Int>),
    /// The embeddings, `[rows * time, d_model]`.
    Computed(Tensor<2>),
}

impl InputLayers {
    /// The input of the first block as the list of `packing`.
    ///
    /// # Shapes
    /// `[positions, d_model]`.
    pub(super) fn forward(&self, tokens: &InputTokens, packing: &Packing, dropout: &mut Dropout) -> Tensor<2> {
        let mut x = self.table.forward(tokens.ids.clone());
        if tokens.scale != 1.0 {
            x = x * tokens.scale;
        }
        x = x + match (&tokens.positions, &self.positions) {
            (TokenPositions::Learned(rows), Some(table)) => table.forward(rows.clone()),
            (TokenPositions::Computed(embeddings), None) => embeddings.clone(),
            _ => unreachable!("positions are learned or computed"),
        };
        x = packing.without_padding(x);
        if let Some(norm) = &self.norm {
            x = norm.forward(x);
        }
        dropout.apply(x, tokens.dropout)
    }
}

impl Bart {
    /// The layers before the first block of a stack.
    pub(super) fn input_layers(&self, stack: &Stack) -> InputLayers {
        InputLayers {
            table: stack.embed_tokens.as_ref().unwrap_or(&self.shared).clone(),
            positions: stack.embed_positions.clone(),
            norm: stack.layernorm_embedding.clone(),
        }
    }

    /// What these layers read: `tokens`, whose row `i` continues the tokens `before[i]`.
    pub(super) fn input_tokens(&self, tokens: &TokenBatch, before: &[&[u32]], device: &Device) -> InputTokens {
        let mut positions = Vec::with_capacity(tokens.rows() * tokens.width());
        for (row, before) in before.iter().enumerate() {
            self.add_positions(before, tokens.row(row), &mut positions);
            // Padding has some valid position.
            positions.resize((row + 1) * tokens.width(), positions.last().copied().unwrap_or(FIRST_POSITION));
        }
        let positions = match &self.sinusoids {
            None => {
                let index: Vec<i32> = positions.iter().map(|&position| position as i32).collect();
                let index = TensorData::new(index, [tokens.rows(), tokens.width()]);
                TokenPositions::Learned(Tensor::from_data(index, device))
            }
            Some(sinusoids) => TokenPositions::Computed(sinusoids.forward(&positions, device)),
        };
        InputTokens {
            ids: tokens.tensor(device),
            scale: if self.config.scale_embedding { (self.config.d_model as f64).sqrt() } else { 1.0 },
            positions,
            dropout: self.config.dropout,
        }
    }

    /// The positions of `tokens`, which continue the tokens `before`, as rows of the table of positions.
    fn add_positions(&self, before: &[u32], tokens: &[u32], positions: &mut Vec<usize>) {
        let end = before.len() + tokens.len();
        match &self.sinusoids {
            // M2M100 counts the tokens that are not padding, from 1 and after the padding token's id.
            Some(Sinusoids::M2m100 { padding, .. }) => {
                let is_token = |token: &u32| *token as usize != *padding;
                let mut last = padding + before.iter().filter(|token| is_token(token)).count();
                for token in tokens {
                    last += usize::from(is_token(token));
                    positions.push(if is_token(token) { last } else { *padding });
                }
            }
            Some(Sinusoids::Marian { .. }) => positions.extend(before.len()..end),
            None => {
                let limit = self.config.max_position_embeddings;
                assert!(end <= limit, "a row has {end} tokens, and the model has {limit} positions");
                positions.extend(before.len() + FIRST_POSITION..end + FIRST_POSITION);
            }
        }
    }
}
