//! How much help costs, as a prompt says it.

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor};

use super::{INNER, Perceptron};
use crate::TokenBatch;
use crate::nn::padding_mask;

/// The tokens at the start of a prompt in which a student looks for the price of help: the longest budget in words takes as
/// many.
pub const PRICED_TOKENS: usize = 24;

/// Places of a prompt that the price is read from at once.
const QUERIES: usize = 4;

/// The width of the embeddings by which a price is read.
const EMBEDDING: usize = 16;

/// Reads a number from a prompt: some places of it, which it finds by attention, and what stands there.
///
/// It has embeddings of its own and sees each token beside its neighbours, so that a digit knows its place. The model's
/// own states would do, but they bend to the words that it writes.
#[derive(Module, Debug)]
pub(super) struct Reader {
    embedding: Embedding,
    /// A token and its two neighbours.
    near: Linear,
    queries: Linear,
    /// How much the place in the prompt counts.
    place: Linear,
    pub(super) read: Perceptron,
}

impl Reader {
    pub(super) fn init(vocab_size: usize, device: &Device) -> Self {
        Self {
            // Small, so that words which no budget holds hardly count.
            embedding: EmbeddingConfig::new(vocab_size, EMBEDDING)
                .with_initializer(Initializer::Normal { mean: 0.0, std: 0.1 })
                .init(device),
            near: LinearConfig::new(3 * EMBEDDING, INNER).init(device),
            queries: LinearConfig::new(INNER, QUERIES).init(device),
            place: LinearConfig::new(1, QUERIES).with_bias(false).init(device),
            read: Perceptron::init(QUERIES * INNER, 1, device),
        }
    }

    /// The numbers of prompts, `[batch, 1]`.
    pub(super) fn forward(&self, prompts: &TokenBatch, device: &Device) -> Tensor<2> {
        let starts: Vec<_> =
            (0..prompts.rows()).map(|row| prompts.row(row)).map(|row| &row[..row.len().min(PRICED_TOKENS)]).collect();
        let starts = TokenBatch::new(&starts, 0);
        let [batch, time] = [starts.rows(), starts.width()];
        let padding = padding_mask(&starts, device).map(|mask| mask.reshape([batch, 1, time]));
        let mut embedded = self.embedding.forward(starts.tensor(device));
        if let Some(padding) = &padding {
            // Past the end of a row stands nothing, as past the end of the batch.
            embedded = embedded * padding.clone().equal_scalar(0.0).float().swap_dims(1, 2);
        }
        let gap = Tensor::zeros([batch, 1, EMBEDDING], device);
        let before = Tensor::cat(vec![gap.clone(), embedded.clone().narrow(1, 0, time - 1)], 1);
        let after = Tensor::cat(vec![embedded.clone().narrow(1, 1, time - 1), gap], 1);
        let near = relu(self.near.forward(Tensor::cat(vec![before, embedded, after], 2)));

        let place =
            Tensor::<1, Int>::arange(0..time as i64, device).float().reshape([1, time, 1]) / PRICED_TOKENS as f64;
        let mut scores = (self.queries.forward(near.clone()) + self.place.forward(place)).swap_dims(1, 2);
        if let Some(padding) = padding {
            scores = scores + padding;
        }
        self.read.forward(softmax(scores, 2).matmul(near).reshape([batch, QUERIES * INNER]))
    }
}
