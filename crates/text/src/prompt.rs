//! What the models read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{HelpBudget, TextError, Tokenizer, files};

const FILE: &str = "prompt.json";

/// One text to work on, as each side reads it.
///
/// Both sides end in the end-of-text mark. The expert reads the same task and text as the student, without the words
/// of the budget, which are the student's affair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What the student reads.
    pub student: Vec<u32>,
    /// What an expert reads.
    pub expert: Vec<u32>,
    /// The help that this text may use.
    pub budget: HelpBudget,
}

/// Where the student reads its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPlace {
    /// Nowhere: the decoder alone keeps to it.
    #[default]
    None,
    /// In words before the task, its number digit by digit.
    Before,
}

/// How a model wants its texts, kept as `prompt.json` in its folder.
///
/// ```
/// use wheels_text::{HelpBudget, PromptFormat, Tokenizer, TrainTokenizer};
///
/// let tokenizer = Tokenizer::train(TrainTokenizer { vocab_size: 259, ..Default::default() }, ["a".to_owned()])?;
/// let prompt = PromptFormat::default().prompt(&tokenizer, "a text editor", HelpBudget::percent(20))?;
/// assert_eq!(prompt.student.last(), Some(&tokenizer.eos()));
/// assert_eq!(prompt.student, prompt.expert);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptFormat {
    /// What stands before every text, such as "translate English to Italian: ".
    pub prefix: String,
    /// Where the student reads its budget.
    pub budget: BudgetPlace,
    /// Which of the ways to say a budget ([`HelpBudget::words`]).
    pub wording: usize,
    /// The most tokens of a whole prompt: budget, prefix, text and end mark.
    pub max_tokens: usize,
    /// The most tokens of what is written, end mark and all.
    pub max_new_tokens: usize,
    /// Of so many tokens no sequence is written twice in a text; 0 lets all come again. Hugging Face's option of this name.
    pub no_repeat_ngram_size: usize,
}

impl Default for PromptFormat {
    /// The bare text, up to 256 tokens, for up to 256 more, of which all may come again.
    fn default() -> Self {
        Self {
            prefix: String::new(),
            budget: BudgetPlace::None,
            wording: 0,
            max_tokens: 256,
            max_new_tokens: 256,
            no_repeat_ngram_size: 0,
        }
    }
}

impl PromptFormat {
    /// Reads the `prompt.json` in a model's folder; a folder without one means the default.
    ///
    /// # Errors
    /// If the file is there and cannot be read or does not parse.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = folder.as_ref().join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&files::read(&path)?).map_err(|source| TextError::PromptFormat { path, source })
    }

    /// Reads the text of a `prompt.json`.
    ///
    /// # Errors
    /// If it does not parse.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        serde_json::from_str(json).map_err(|source| TextError::PromptFormat { path: FILE.into(), source })
    }

    /// Writes `prompt.json` into a folder, atomically; the folder is made if it is missing.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let json = serde_json::to_string_pretty(self).expect("text and numbers are JSON");
        files::write_atomically(folder.as_ref().join(FILE), format!("{json}\n"))
    }

    /// The prompt for one text, without the white space around it.
    ///
    /// # Errors
    /// If the text is empty, or the prompt is longer than `max_tokens`: nothing is ever cut off.
    pub fn prompt(&self, tokenizer: &Tokenizer, source: &str, budget: HelpBudget) -> Result<Prompt, TextError> {
        let source = source.trim();
        if source.is_empty() {
            return Err(TextError::EmptyText);
        }
        let expert = tokenizer.encode_with_end(&format!("{}{source}", self.prefix))?;
        let mut student = match self.budget {
            BudgetPlace::None => vec![],
            BudgetPlace::Before => by_digits(tokenizer, &format!("{} ", budget.words(self.wording)))?,
        };
        student.extend(&expert);
        if student.len() > self.max_tokens {
            return Err(TextError::TooLong { tokens: student.len(), limit: self.max_tokens });
        }
        Ok(Prompt { student, expert, budget })
    }
}

/// The tokens of a text in which each digit is encoded by itself: numbers that a model has never read are then made of
/// digits that it has.
fn by_digits(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
    let mut ids = Vec::new();
    for part in text.split_inclusive(|c: char| c.is_ascii_digit()) {
        let words = part.trim_end_matches(|c: char| c.is_ascii_digit());
        for piece in [words, &part[words.len()..]] {
            ids.extend(tokenizer.encode(piece)?);
        }
    }
    Ok(ids)
}
