//! The sizes of a student's heads.

use burn::config::Config;

/// The sizes and scales of a [`Student`](crate::Student)'s heads.
///
/// It is saved as student_config.json beside heads.safetensors, because the weights do not load without it. A folder
/// with heads and no such file has the defaults.
#[derive(Config, Debug, PartialEq)]
pub struct StudentConfig {
    /// The width of the hidden layer in each head.
    #[config(default = 64)]
    pub hidden_width: usize,
    /// The number of tokens at the start of a prompt that the price head reads. The longest wording of a budget has as
    /// many.
    #[config(default = 24)]
    pub budget_tokens: usize,
    /// The number of attention queries with which the price head reads a prompt.
    #[config(default = 4)]
    pub price_queries: usize,
    /// The width of the price head's own token embeddings.
    #[config(default = 16)]
    pub price_embedding: usize,
    /// Repeated suffixes longer than this count as this long, tokens.
    #[config(default = 8)]
    pub max_repetition: usize,
    /// Scale of the heads' gradient into the base model. It is small so that the language-model loss dominates.
    #[config(default = 0.1)]
    pub gradient_scale: f64,
}
