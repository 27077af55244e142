//! The sizes of a student's heads.

use burn::config::Config;

/// The sizes and scales of a [`Student`](crate::Student)'s heads.
///
/// It is saved as student_config.json beside heads.safetensors, because the shapes of the weights depend on it. If a
/// folder with heads does not have this file, the defaults apply.
#[derive(Config, Debug, PartialEq)]
pub struct StudentConfig {
    /// The width of the hidden layers of each head.
    #[config(default = 64)]
    pub hidden_width: usize,
    /// The number of tokens at the start of a prompt that the price head reads. With the embedded tokenizers, the
    /// longest wording of a budget of up to three digits has 24 tokens.
    #[config(default = 24)]
    pub budget_tokens: usize,
    /// The number of learned attention queries of the price head.
    #[config(default = 4)]
    pub price_queries: usize,
    /// The width of the price head's own token embeddings.
    #[config(default = 16)]
    pub price_embedding: usize,
    /// The maximum length of a repeated suffix, tokens. A longer one counts as this long.
    #[config(default = 8)]
    pub max_repetition: usize,
    /// The factor on the gradient from the divergence head into the base model. It is small, so that the loss of the
    /// help token hardly changes the other logits. The gradient from the value heads is not scaled.
    #[config(default = 0.1)]
    pub gradient_scale: f64,
}
