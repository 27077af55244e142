//! Tokenizers, prompts, datasets and random seeds for Training Wheels.
//!
//! A *student* is a small model that generates a text. When it asks for help, an *expert* chooses the next token. The
//! expert is a larger model, the teacher, or a tool.
//!
//! A [`Tokenizer`] converts text to token ids and back, with the special tokens of its model, and writes conversations
//! with the model's [`ChatTemplate`]. A [`PromptTemplate`] makes the prompts of the student and of the expert from one
//! source text. The student's prompt can state a [`HelpBudget`]: how many of the output tokens may come from the expert.
//! A [`GenerationConfig`] has the settings for generation. A [`Dataset`] holds pairs of a source text and a target text,
//! from JSON, CSV or TSV files with names of fields that are common or that [`DatasetOptions`] has. A [`Seed`] is the only source of random numbers.
//!
//! This crate has no tensors and no models. It only reads the settings for generation; the decoders in `wheels-decode`
//! apply them.
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
mod chat_template;
mod data;
mod encoding;
mod error;
mod files;
mod generation_config;
mod jinja;
mod marks;
mod prompt;
mod prompt_template;
mod seed;
mod special_tokens;
mod stream;
mod task_prefix;
mod tokenizer;
mod training;
mod wording;

pub use budget::HelpBudget;
pub use chat_template::{ChatTemplate, Message, Role};
pub use data::{Dataset, DatasetOptions, Example, ExampleStream, LineProblem, ReadProgress, SkippedLines};
pub use error::TextError;
pub use files::write_atomically;
pub use generation_config::GenerationConfig;
pub use prompt::Prompt;
pub use prompt_template::{BudgetPlacement, ChatPrompt, PromptTemplate};
pub use seed::Seed;
pub use stream::TextStream;
pub use tokenizer::Tokenizer;
pub use training::TokenizerConfig;
