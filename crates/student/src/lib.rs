//! A language model that can ask a teacher for help.
//!
//! A [`Student`] wraps any [`LanguageModel`](wheels_lm::LanguageModel) and is one itself. Its help token is one more
//! column of the logits. Small heads beside the model compute the logit of that token: how far the student is from its
//! teacher at this position, minus the price of help, which the student reads from the budget in its prompt. [`Prices`]
//! are the prices that training found for each budget.
//!
//! This crate decodes nothing and trains nothing: `wheels-decode` asks the teacher, and `wheels-distill` trains the
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
//! // Fresh heads give every state the same distance and every prompt the price 0.
//! let prices = student.prices(&prompts).expect("it has heads").into_data();
//! assert_eq!(prices.iter::<f32>().collect::<Vec<_>>(), [0.0]);
//! ```

mod config;
mod error;
mod heads;
mod price_head;
mod prices;
mod repetition;
mod student;

pub use config::StudentConfig;
pub use error::StudentError;
pub use heads::Values;
pub use prices::{LagrangeMultiplier, Prices};
pub use student::Student;
