//! A language model that can ask a teacher for help.
//!
//! A [`Student`] wraps any [`LanguageModel`](wheels_lm::LanguageModel) and is one itself. One token of its vocabulary
//! is the *help token*: when the student would generate it, the teacher chooses the next token instead.
//!
//! The *price* of help is what training charges for each token from the teacher, nats. A smaller budget has a higher
//! price. The student learns to ask when its divergence from the teacher exceeds the price. Small heads beside the
//! model estimate both: one the divergence at each position, another the price from the budget in the prompt. Their
//! difference is the log-odds of the help token. [`Prices`] holds the price that training found for each budget.
//!
//! This crate does not decode and does not train. `wheels-decode` asks the teacher, and `wheels-distill` trains the
//! heads.
//!
//! ```
//! use burn::tensor::Device;
//! use wheels_lm::{LanguageModel, Pretrained, T5Config, TokenBatch};
//! use wheels_student::{Student, StudentConfig};
//!
//! let config = T5Config { vocab_size: 12, d_model: 8, d_kv: 4, d_ff: 16, num_layers: 1, num_heads: 2, ..T5Config::default() };
//! let model = Pretrained::T5(config.init(&Device::default()));
//! let student = Student::new(model).with_heads(&StudentConfig::new(), 11);
//! let prompts = TokenBatch::new(&[vec![3, 4, 1]], 0);
//! // Untrained heads predict the divergence 0 at every position and the price 0 for every prompt.
//! let prices = student.prices(&prompts).expect("it has heads").into_data();
//! assert_eq!(prices.iter::<f32>().collect::<Vec<_>>(), [0.0]);
//! ```

mod config;
mod error;
mod files;
mod heads;
mod mlp;
mod price_head;
mod prices;
mod repetition;
mod student;
mod weights;

pub use config::StudentConfig;
pub use error::StudentError;
pub use heads::{HELP_FACTS, Values};
pub use mlp::Mlp;
pub use prices::{LagrangeMultiplier, Prices};
pub use student::Student;
