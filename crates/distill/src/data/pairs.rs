//! Training pairs as token ids.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wheels_text::{HelpBudget, Prompt};

use crate::DistillError;

/// The prompt for a source text and its target, as token ids. The target ends with the end-of-text token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPair {
    /// The text that the model reads.
    pub source: Vec<u32>,
    /// The text that the model learns to write.
    pub target: Vec<u32>,
}

/// Training pairs, in memory or elsewhere. Their order never changes.
pub trait TokenPairs: Sync {
    /// The number of pairs.
    fn count(&self) -> usize;

    /// The numbers of tokens in the source and in the target of a pair.
    ///
    /// # Panics
    /// If there is no pair with this index.
    fn lengths(&self, index: usize) -> (usize, usize);

    /// One pair.
    ///
    /// # Errors
    /// If it cannot be read.
    ///
    /// # Panics
    /// If there is no pair with this index.
    fn pair(&self, index: usize) -> Result<Cow<'_, TokenPair>, DistillError>;
}

impl TokenPairs for Vec<TokenPair> {
    fn count(&self) -> usize {
        self.len()
    }

    fn lengths(&self, index: usize) -> (usize, usize) {
        (self[index].source.len(), self[index].target.len())
    }

    fn pair(&self, index: usize) -> Result<Cow<'_, TokenPair>, DistillError> {
        Ok(Cow::Borrowed(&self[index]))
    }
}

/// Training pairs, and a prompt of each pair for any budget.
pub trait PromptSource: TokenPairs {
    /// The prompt of a pair that states a budget in one of the wordings ([`HelpBudget::words`]).
    ///
    /// # Errors
    /// If the pair cannot be read, or the prompt does not fit the limits of its template.
    ///
    /// # Panics
    /// If there is no pair with this index.
    fn prompt(&self, index: usize, budget: HelpBudget, wording: usize) -> Result<Prompt, DistillError>;
}
