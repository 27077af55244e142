//! Tokenizers, prompts, datasets and random seeds for Training Wheels.
//!
//! This crate turns text into the token ids that models read, and token ids back into text that people read. A
//! [`PromptTemplate`] makes the prompts of a student and of its expert from one text. The student's prompt can state a
//! [`HelpBudget`]: how many of the output tokens may come from the expert. A [`GenerationConfig`] limits what a model
//! generates, a [`Dataset`] holds pairs of texts, and a [`Seed`] is the one source of random numbers.
//!
//! There are no tensors and no models here: this crate reads the settings for generation, and the decoders in
//! `wheels-decode` apply them.
//!
//! ```
//! use wheels_text::{BudgetPlacement, HelpBudget, PromptTemplate, Tokenizer, TokenizerConfig};
//!
//! let lines = ["a text editor", "un editor di testo"].map(String::from);
//! let mut tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(300), lines)?;
//! tokenizer.add_help_token("teacher")?;
//!
//! let template = PromptTemplate::default()
//!     .with_prefix("translate English to Italian: ")
//!     .with_budget(BudgetPlacement::Before);
//! let prompt = template.prompt(&tokenizer, "a text editor", "20%".parse()?)?;
//! assert_eq!(prompt.budget, HelpBudget::percent(20));
//! assert_eq!(tokenizer.decode(&prompt.expert)?, "translate English to Italian: a text editor");
//! assert_eq!(
//!     tokenizer.decode(&prompt.student)?,
//!     "use the teacher for at most 20 percent of the words: translate English to Italian: a text editor"
//! );
//! # Ok::<(), wheels_text::TextError>(())
//! ```

mod budget;
mod dataset;
mod error;
mod files;
mod generation_config;
mod prompt;
mod prompt_template;
mod seed;
mod stream;
mod tokenizer;
mod wording;

pub use budget::HelpBudget;
pub use dataset::{Dataset, Example};
pub use error::{LineProblem, TextError};
pub use files::write_atomically;
pub use generation_config::GenerationConfig;
pub use prompt::Prompt;
pub use prompt_template::{BudgetPlacement, PromptTemplate};
pub use seed::Seed;
pub use stream::TextStream;
pub use tokenizer::{Tokenizer, TokenizerConfig};
