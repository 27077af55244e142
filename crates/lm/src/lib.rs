//! Language models on burn: token ids in, logits out.
//!
//! A model is weights and nothing else. What it has read so far lives in a [`Context`] that the caller owns: one
//! context serves training (a whole target scored in one call), decoding (one token at a time) and speculation (a
//! draft of a few tokens, some of which are taken back). [`LanguageModel`] is the whole interface, and
//! encoder-decoder and decoder-only models look the same through it.
//!
//! This crate knows no text, no tokenizer, no sampling and no hardware: those live in the crates around it.
//!
//! ```
//! use burn::tensor::Device;
//! use wheels_lm::{LanguageModel, TabularLm, TabularLmConfig, TokenBatch};
//!
//! let device = Device::default();
//! let model: TabularLm = TabularLmConfig::new(5, 1).init(&device);
//! let prompts = TokenBatch::new(&[vec![3, 1], vec![4, 2, 1]], 0);
//! let mut context = model.prefill(&prompts, 16);
//! let first = TokenBatch::column(&context.starts());
//! let output = model.forward(&first, &mut context);
//! assert_eq!(output.logits.dims(), [2, 1, 5]);
//! assert_eq!(context.lengths(), vec![1, 1]);
//! ```

mod batch;
mod cache;
mod context;
mod error;
pub mod family;
mod model;
pub mod nn;
mod pretrained;
mod repetition;
mod student;
mod weights;

pub use batch::TokenBatch;
pub use cache::KvCache;
pub use context::{Context, Memory};
pub use error::LmError;
pub use family::t5::{FeedForward, T5, T5Config};
pub use family::tabular::{TabularLm, TabularLmConfig};
pub use model::{LanguageModel, LmOutput, ModelSpec};
pub use pretrained::{Checkpoint, FloatFormat, Pretrained};
pub use student::{PRICED_TOKENS, Student, Values};
pub use weights::LoadReport;
