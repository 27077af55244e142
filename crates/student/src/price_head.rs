//! The head that predicts the price of help from the words of a prompt.

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use wheels_lm::TokenBatch;

use crate::heads::MASKED;
use crate::{Mlp, StudentConfig};

/// Predicts the price of help from the start of a prompt, which states the budget in words, and from its length.
///
/// Learned queries attend to the tokens, and an MLP maps the results to one number. Each token is read together with
/// its two neighbours, so that the head can tell the tens digit from the ones digit. The head has its own token
/// embeddings, because the hidden states of the base model change during training. The length of the prompt says how
/// large a part of the text a budget of some tokens is.
#[derive(Module, Debug)]
pub(crate) struct PriceHead {
    embedding: Embedding,
    /// Maps the embeddings of a token and its two neighbours to features.
    near: Linear,
    /// The attention scores of the features, for each query.
    queries: Linear,
    /// The attention scores of the position in the prompt, for each query.
    place: Linear,
    /// Adds the logarithm of the number of tokens in the prompt to the results of the queries. Files of earlier versions
    /// do not have it: it is 0 until it is trained.
    pub(crate) length: Linear,
    pub(crate) read: Mlp,
    #[module(skip)]
    config: StudentConfig,
}

impl PriceHead {
    /// The name of the weights of `length` in heads.safetensors.
    pub(crate) const LENGTH: &str = "price.length.weight";

    pub(crate) fn init(config: &StudentConfig, vocab_size: usize, device: &Device) -> Self {
        let StudentConfig { hidden_width, price_queries, price_embedding, .. } = *config;
        Self {
            // Small initial values: tokens that are rare in training then have little effect on the price.
            embedding: EmbeddingConfig::new(vocab_size, price_embedding)
                .with_initializer(Initializer::Normal { mean: 0.0, std: 0.1 })
                .init(device),
            near: LinearConfig::new(3 * price_embedding, hidden_width).init(device),
            queries: LinearConfig::new(hidden_width, price_queries).init(device),
            place: LinearConfig::new(1, price_queries).with_bias(false).init(device),
            length: LinearConfig::new(1, price_queries * hidden_width)
                .with_bias(false)
                .with_initializer(Initializer::Zeros)
                .init(device),
            read: Mlp::new(price_queries * hidden_width, hidden_width, 1, device),
            config: config.clone(),
        }
    }

    /// The predicted price of help for each prompt, nats, `[batch, 1]`.
    pub(crate) fn forward(&self, prompts: &TokenBatch, device: &Device) -> Tensor<2> {
        let StudentConfig { hidden_width, budget_tokens, price_queries, price_embedding, .. } = self.config;
        let starts: Vec<&[u32]> =
            (0..prompts.rows()).map(|row| &prompts.row(row)[..prompts.row(row).len().min(budget_tokens)]).collect();
        let starts = TokenBatch::new(&starts, 0);
        let [batch, time] = [starts.rows(), starts.width()];
        let padding = starts.is_ragged().then(|| starts.padding(device).float());
        let mut embedded = self.embedding.forward(starts.tensor(device));
        if let Some(padding) = &padding {
            // Padding is embedded as zeros, like the neighbours outside the batch. So the price of a prompt does not
            // depend on the other prompts.
            let kept = padding.clone().neg() + 1.0;
            embedded = embedded * kept.reshape([batch, time, 1]);
        }
        let gap = Tensor::zeros([batch, 1, price_embedding], device);
        let before = Tensor::cat(vec![gap.clone(), embedded.clone().narrow(1, 0, time - 1)], 1);
        let after = Tensor::cat(vec![embedded.clone().narrow(1, 1, time - 1), gap], 1);
        let near = relu(self.near.forward(Tensor::cat(vec![before, embedded, after], 2)));

        let place =
            Tensor::<1, Int>::arange(0..time as i64, device).float().reshape([1, time, 1]) / budget_tokens as f64;
        let mut scores = (self.queries.forward(near.clone()) + self.place.forward(place)).swap_dims(1, 2);
        if let Some(padding) = padding {
            scores = scores + padding.reshape([batch, 1, time]) * MASKED;
        }
        let found = softmax(scores, 2).matmul(near).reshape([batch, price_queries * hidden_width]);
        let lengths: Vec<f32> = prompts.lengths().iter().map(|&length| (length.max(1) as f32).ln()).collect();
        let lengths = Tensor::from_data(TensorData::new(lengths, [batch, 1]), device);
        self.read.forward(found + self.length.forward(lengths))
    }
}
