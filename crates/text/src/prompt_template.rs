//! The format of a model's prompts, saved as prompt.json.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::{HelpBudget, Prompt, TextError, Tokenizer, files};

pub(crate) const FILE: &str = "prompt.json";
const MAX_TOKENS: usize = 256;

/// Where the student's prompt states the help budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPlacement {
    /// Nowhere: only the decoder knows the budget.
    #[default]
    None,
    /// In words before the prefix and the text. Each digit of the number is encoded by itself.
    Before,
}

/// The format of a model's prompts, saved as `prompt.json` in the model's folder.
///
/// A prompt is the budget in words (for the student, if [`BudgetPlacement::Before`]), the prefix, the source text and
/// the end-of-text token.
///
/// ```
/// use wheels_text::{HelpBudget, PromptTemplate, Tokenizer, TokenizerConfig};
///
/// let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()])?;
/// let prompt = PromptTemplate::default().prompt(&tokenizer, "a text editor", HelpBudget::percent(20))?;
/// assert_eq!(prompt.student.last(), Some(&tokenizer.eos()));
/// assert_eq!(prompt.student, prompt.expert);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PromptFile")]
pub struct PromptTemplate {
    /// Text before every source text, such as "translate English to Italian: ". Default: empty.
    pub prefix: String,
    /// Where the student's prompt states the budget. Default: nowhere.
    pub budget: BudgetPlacement,
    /// The index of the wording that states the budget; see [`HelpBudget::words`]. Default: 0.
    pub wording: usize,
    /// The maximum number of tokens in a whole prompt. Default: 256.
    pub max_tokens: usize,
}

impl Default for PromptTemplate {
    fn default() -> Self {
        Self { prefix: String::new(), budget: BudgetPlacement::None, wording: 0, max_tokens: MAX_TOKENS }
    }
}

impl PromptTemplate {
    /// Reads the `prompt.json` in a model's folder. A folder without this file gives the default.
    ///
    /// # Errors
    /// If the file exists and cannot be read or parsed.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = folder.as_ref().join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&files::read(&path)?).map_err(|source| TextError::PromptTemplate { path, source })
    }

    /// Reads the content of a `prompt.json`.
    ///
    /// Missing fields have their defaults. Unknown fields are an error, because a misspelled field would otherwise have
    /// no effect. `max_new_tokens` and `no_repeat_ngram_size` are ignored here: earlier versions wrote them into this
    /// file, and [`GenerationConfig`](crate::GenerationConfig) reads them.
    ///
    /// # Errors
    /// If the content cannot be parsed.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        serde_json::from_str(json).map_err(|source| TextError::PromptTemplate { path: FILE.into(), source })
    }

    /// Writes `prompt.json` into a folder atomically. Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let json = serde_json::to_string_pretty(self).expect("text and numbers are JSON");
        files::write_atomically(folder.as_ref().join(FILE), format!("{json}\n"))
    }

    /// Sets the text before every source text.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets where the student's prompt states the budget.
    #[must_use]
    pub fn with_budget(self, budget: BudgetPlacement) -> Self {
        Self { budget, ..self }
    }

    /// Sets the index of the wording that states the budget; see [`HelpBudget::words`].
    #[must_use]
    pub fn with_wording(self, wording: usize) -> Self {
        Self { wording, ..self }
    }

    /// Sets the maximum number of tokens in a whole prompt.
    #[must_use]
    pub fn with_max_tokens(self, max_tokens: usize) -> Self {
        Self { max_tokens, ..self }
    }

    /// Makes the prompts for one source text. White space around the text is removed.
    ///
    /// # Errors
    /// If the text is empty or cannot be encoded, or if the student's prompt is longer than `max_tokens`. A prompt is
    /// never truncated.
    pub fn prompt(&self, tokenizer: &Tokenizer, source: &str, budget: HelpBudget) -> Result<Prompt, TextError> {
        let source = source.trim();
        if source.is_empty() {
            return Err(TextError::EmptyText);
        }
        let expert = tokenizer.encode_with_end(&format!("{}{source}", self.prefix))?;
        let mut student = match self.budget {
            BudgetPlacement::None => vec![],
            BudgetPlacement::Before => encode_by_digits(tokenizer, &format!("{} ", budget.words(self.wording)))?,
        };
        student.extend(&expert);
        if student.len() > self.max_tokens {
            return Err(TextError::TooLong { tokens: student.len(), limit: self.max_tokens });
        }
        Ok(Prompt { student, expert, budget })
    }
}

/// The fields that a prompt.json may have: those of [`PromptTemplate`], and two that earlier versions wrote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptFile {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    budget: BudgetPlacement,
    #[serde(default)]
    wording: usize,
    #[serde(default = "max_tokens")]
    max_tokens: usize,
    #[serde(default, rename = "max_new_tokens")]
    _max_new_tokens: IgnoredAny,
    #[serde(default, rename = "no_repeat_ngram_size")]
    _no_repeat_ngram_size: IgnoredAny,
}

fn max_tokens() -> usize {
    MAX_TOKENS
}

impl From<PromptFile> for PromptTemplate {
    fn from(file: PromptFile) -> Self {
        let PromptFile { prefix, budget, wording, max_tokens, .. } = file;
        Self { prefix, budget, wording, max_tokens }
    }
}

/// Encodes a text, and each digit in it by itself.
///
/// A number such as 37 may be a single token that is rare in training. The tokens of the ten digits are frequent, so a
/// model can read numbers that it has never seen.
fn encode_by_digits(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
    let mut ids = Vec::new();
    for part in text.split_inclusive(|c: char| c.is_ascii_digit()) {
        let words = part.trim_end_matches(|c: char| c.is_ascii_digit());
        for piece in [words, &part[words.len()..]] {
            ids.extend(tokenizer.encode(piece)?);
        }
    }
    Ok(ids)
}
