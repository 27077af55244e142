//! Whoever can be asked for help.

use wheels_text::{Prompt, Seed};

use crate::{DecodeError, ModelUse, Vocabulary, WordLaw};

/// A source of help: a larger model, a tool, a person.
///
/// An expert is shared and does not change; what it remembers of a batch of texts lives in a [`Consultation`].
pub trait Expert {
    /// Begins to help with a batch of texts.
    ///
    /// Nothing has been asked yet, and perhaps nothing will be: what costs much should wait for the first question.
    ///
    /// # Errors
    /// If the expert and the student, or a prompt, do not fit together.
    fn consult<'a>(
        &'a self,
        cases: Vec<Case<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn Consultation + 'a>, DecodeError>;
}

/// An expert's running state for one batch of texts.
pub trait Consultation {
    /// Answers the rows that ask, one [`Advice`] for each question.
    ///
    /// # Errors
    /// If the expert cannot answer: [`DecodeError::Expert`] carries any cause.
    fn answer(&mut self, questions: &[Question<'_>]) -> Result<Vec<Advice>, DecodeError>;

    /// Keeps the given rows, in that order: the others are finished.
    fn select_rows(&mut self, rows: &[usize]);

    /// The work so far; all zero for an expert that runs no model.
    fn used(&self) -> ModelUse {
        ModelUse::default()
    }
}

/// A text that is about to be written, as an expert sees it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The prompt's place among those that the decoder was given, for errors to name.
    pub prompt_index: usize,
    /// The prompt.
    pub prompt: &'a Prompt,
    /// The expert's own source of chance for this text.
    pub seed: Seed,
}

/// A row that asks how its text goes on.
///
/// An expert without hindsight needs no more than the text.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The row's place in the batch as it is now.
    pub row: usize,
    /// The text so far.
    pub text: &'a [u32],
    /// The first position that may be taken back; the length of the text where nothing may.
    pub review_from: usize,
    /// By what the words from `review_from` on stand.
    pub standard: Standard<'a>,
    /// The student's likeliest next word, which it may write if the expert declines; none where the text is at its end.
    pub word: Option<u32>,
    /// Whether the text is at its end: the question is only whether it stands, and an answer that takes nothing back
    /// says that it does.
    pub closing: bool,
}

/// By what a word of the student's stands; see [`Judgement`](crate::Judgement).
#[derive(Clone, Copy, Debug)]
pub enum Standard<'a> {
    /// A regret of no more nats than this.
    Regret(f64),
    /// A surprise of no more nats than this.
    Surprise(f64),
    /// Chance, with the laws from which the words were drawn.
    Chance(&'a [WordLaw]),
}

/// How a text goes on, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advice {
    /// How many of the text's last tokens are taken back first, as far as the question left them open.
    pub back: usize,
    /// The next tokens: usually one. None at all declines to help, and leaves the student its own words.
    ///
    /// Every token must be a word of the student's. Tokens after an end-of-text mark, past the limit of length, or for
    /// which the budget has no room are dropped.
    pub tokens: Vec<u32>,
    /// What the answer costs, in the expert's unit.
    pub cost: f32,
}
