//! What a student does next.

use wheels_lm::LanguageModel;
use wheels_text::Prompt;

use crate::{Asking, DecodeError, Measure, Sampler, Vocabulary};

/// A model, the way it chooses words, and the rule by which it asks for help.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// How it chooses words.
    pub sampler: Sampler,
    /// When it asks for help.
    pub asking: Asking,
    /// What it reads of a prompt.
    pub side: Side,
}

/// A side of a [`Prompt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The student's text, with its budget in words.
    #[default]
    Student,
    /// The expert's text, without.
    Expert,
}

impl Side {
    /// This side of a prompt.
    pub fn of(self, prompt: &Prompt) -> &[u32] {
        match self {
            Self::Student => &prompt.student,
            Self::Expert => &prompt.expert,
        }
    }
}

impl<'a> Policy<'a> {
    /// A policy that reads the student's side of prompts, and asks as it has learned to.
    pub fn new(model: &'a dyn LanguageModel, sampler: Sampler) -> Self {
        Self { model, sampler, asking: Asking::Learned, side: Side::Student }
    }

    /// A policy that writes the likeliest words.
    pub fn greedy(model: &'a dyn LanguageModel) -> Self {
        Self::new(model, Sampler::Greedy)
    }

    /// The same policy with another rule for asking.
    #[must_use]
    pub fn asking(self, asking: Asking) -> Self {
        Self { asking, ..self }
    }

    /// The same policy on another side of prompts: a teacher that decodes by itself reads the expert's.
    #[must_use]
    pub fn reading(self, side: Side) -> Self {
        Self { side, ..self }
    }

    /// # Errors
    /// If the sampler or the rule is set to what it cannot do, or the rule needs help columns that the model lacks.
    pub(crate) fn check(&self, vocabulary: &Vocabulary) -> Result<(), DecodeError> {
        self.sampler.check()?;
        self.asking.check()?;
        let missing = vocabulary.staffed().iter().find(|&&token| token as usize >= vocabulary.size());
        let reads_column =
            matches!(self.asking, Asking::Learned | Asking::Confidence { measure: Measure::HelpLogOdds, .. });
        match missing {
            Some(&token) if reads_column => Err(DecodeError::HelpToken { token, vocab_size: vocabulary.size() }),
            _ => Ok(()),
        }
    }
}

/// Checks that a model knows the tokens of a prompt.
///
/// # Errors
/// [`DecodeError::EmptyPrompt`] or [`DecodeError::PromptToken`].
pub(crate) fn check_prompt(row: usize, prompt: &[u32], vocab_size: usize) -> Result<(), DecodeError> {
    if prompt.is_empty() {
        return Err(DecodeError::EmptyPrompt { row });
    }
    match prompt.iter().find(|&&token| token as usize >= vocab_size) {
        Some(&token) => Err(DecodeError::PromptToken { row, token, vocab_size }),
        None => Ok(()),
    }
}
