//! Language models on burn: token ids in, logits out.
//!
//! [`LanguageModel`] is the interface, the same for encoder-decoder and decoder-only models. A model holds only its
//! weights. Its state, such as the KV cache, lives in a [`Context`] that the caller owns. One interface serves training
//! (a whole target is scored in one call), decoding (one token per call) and speculative decoding (several tokens per
//! call, some of which are rolled back). [`Pretrained`] loads model folders in Hugging Face's layout.
//! [`LoraConfig`] adds low-rank adapters to it, which are read and written as Hugging Face's PEFT does.
//!
//! This crate has no tokenizer and no sampling, and it does not choose a device.
//!
//! # A model of your own
//!
//! A model outside this crate implements five methods and keeps its state in the [`Context`]. This one predicts that
//! the next token id is the last one plus 1:
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use wheels_lm::{Context, Hidden, LanguageModel, ModelSpec, Positions, TokenBatch};
//!
//! struct CountUp {
//!     spec: ModelSpec,
//! }
//!
//! impl LanguageModel for CountUp {
//!     fn spec(&self) -> &ModelSpec {
//!         &self.spec
//!     }
//!     fn device(&self) -> Device {
//!         Device::default()
//!     }
//!     fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
//!         let starts = (0..prompts.rows()).map(|row| *prompts.row(row).last().expect("a prompt")).collect();
//!         Context::new(starts, capacity > 0)
//!     }
//!     fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
//!         let next = tokens.tensor(&self.device()).add_scalar(1).remainder_scalar(self.spec.vocab_size as i32);
//!         context.extend(rows, tokens);
//!         Hidden::new(positions.select(next.one_hot::<3>(self.spec.vocab_size).float(), tokens.lengths()))
//!     }
//!     fn head(&self, hidden: &Hidden) -> Tensor<2> {
//!         hidden.states() * 9.0
//!     }
//! }
//!
//! let model = CountUp { spec: ModelSpec { vocab_size: 5, d_model: 5, pad: 0, eos: vec![1], max_positions: None } };
//! let mut context = model.prefill(&TokenBatch::new(&[vec![2], vec![4, 3]], 0), 16);
//! let first = TokenBatch::column(&context.starts());
//! let next = model.forward(&first, &mut context).logits.argmax(2);
//! assert_eq!(next.into_data().iter::<i64>().collect::<Vec<_>>(), [3, 4]);
//! assert_eq!(context.lengths(), [1, 1]);
//! ```
//!
//! A model with a KV cache stores it in the context as a [`ModelState`], which can select rows and truncate a row. If it
//! can also take the rows of another context ([`ModelState::can_append`]), a decoder can keep its batch full.

mod batch;
mod cache;
mod config;
mod context;
mod encoder_decoder;
mod error;
mod family;
mod footprint;
mod hidden;
mod load_options;
mod lora;
mod model;
mod nn;
mod overflow;
mod pretrained;
mod tape;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod weights;

pub use batch::TokenBatch;
pub use config::{ModelSize, TokenIds};
pub use context::{Context, ModelState};
pub use error::LmError;
pub use family::bart::Bart;
pub use family::bart_config::BartConfig;
pub use family::llama::Llama;
pub use family::llama_config::LlamaConfig;
pub use family::t5::T5;
pub use family::t5_config::T5Config;
#[cfg(any(test, feature = "testing"))]
pub use family::tabular::{TabularLm, TabularLmConfig};
pub use footprint::Footprint;
pub use hidden::{Hidden, Positions};
pub use load_options::{FloatFormat, LoadOptions, WeightFormat};
pub use lora::LoraConfig;
pub use model::{LanguageModel, LmOutput, ModelSpec};
pub use nn::{Activation, FeedForward};
pub use overflow::first_overflow;
pub use pretrained::{Checkpoint, CheckpointInfo, Pretrained};
pub use tape::Tape;
pub use weights::write_atomically;
