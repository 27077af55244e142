//! What to do with a text, in the words that T5 was trained on.

use serde::{Deserialize, Serialize};

use crate::{HelpBudget, Prompt, PromptFormat, TextError, Tokenizer};

/// Translation from one language into another.
///
/// ```
/// use wheels_text::{Task, Translate};
///
/// let task = Task::from(Translate::new("English", "Italian"));
/// assert_eq!(task.prefix(), "translate English to Italian: ");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translate {
    /// The language of the text, by its English name.
    pub from: String,
    /// The language wanted, by its English name.
    pub to: String,
}

impl Translate {
    /// Translation between two languages, by their English names.
    #[must_use]
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }

    /// The prompt for one text, as [`Task::prompt`].
    ///
    /// # Errors
    /// As [`PromptFormat::prompt`].
    pub fn prompt(&self, tokenizer: &Tokenizer, source: &str, budget: HelpBudget) -> Result<Prompt, TextError> {
        Task::from(self.clone()).prompt(tokenizer, source, budget)
    }
}

/// A task with its words (Raffel et al. 2020, appendix D).
///
/// A model trained on one task alone may want other words or none: its own [`PromptFormat`] says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Say a text in another language.
    Translate(Translate),
    /// Say a text in fewer words.
    Summarize,
}

impl From<Translate> for Task {
    fn from(translate: Translate) -> Self {
        Self::Translate(translate)
    }
}

impl Task {
    /// The words before the text.
    #[must_use]
    pub fn prefix(&self) -> String {
        match self {
            Self::Translate(Translate { from, to }) => format!("translate {from} to {to}: "),
            Self::Summarize => "summarize: ".to_owned(),
        }
    }

    /// The default format with this task's words before the text.
    #[must_use]
    pub fn format(&self) -> PromptFormat {
        PromptFormat { prefix: self.prefix(), ..PromptFormat::default() }
    }

    /// The prompt for one text in the default format.
    ///
    /// # Errors
    /// As [`PromptFormat::prompt`].
    pub fn prompt(&self, tokenizer: &Tokenizer, source: &str, budget: HelpBudget) -> Result<Prompt, TextError> {
        self.format().prompt(tokenizer, source, budget)
    }
}
