//! Text for Training Wheels: tokenizers, prompts with a budget in words, tasks, datasets and corpora.
//!
//! This crate turns text into the token ids that models read, and token ids into text that people read. It knows how
//! much help a text may use ([`HelpBudget`]) and says so in words; it reads and makes data ([`Dataset`],
//! [`DebianLists`]); and it holds the project's one source of chance ([`Seed`]). It knows no tensors and no models.
//!
//! ```
//! use wheels_text::{HelpBudget, Tokenizer, TrainTokenizer, Translate};
//!
//! let lines = ["a text editor", "un editor di testo"].map(String::from);
//! let mut tokenizer = Tokenizer::train(TrainTokenizer { vocab_size: 300, min_frequency: 2 }, lines)?;
//! tokenizer.add_help_token("teacher")?;
//!
//! let task = Translate::new("English", "Italian");
//! let prompt = task.prompt(&tokenizer, "a text editor", "20%".parse()?)?;
//! assert_eq!(prompt.budget, HelpBudget::percent(20));
//! assert_eq!(tokenizer.decode(&prompt.expert)?, "translate English to Italian: a text editor");
//! # Ok::<(), wheels_text::TextError>(())
//! ```

mod budget;
mod corpus;
mod dataset;
mod error;
mod files;
mod prompt;
mod seed;
mod stream;
mod task;
mod tokenizer;
mod wording;

pub use budget::HelpBudget;
pub use corpus::{DebianArchive, DebianLists, Splits};
pub use dataset::{Dataset, Example};
pub use error::{LineProblem, TextError};
pub use files::write_atomically;
pub use prompt::{BudgetPlace, Prompt, PromptFormat};
pub use seed::Seed;
pub use stream::TextStream;
pub use task::{Task, Translate};
pub use tokenizer::{Tokenizer, TrainTokenizer};
