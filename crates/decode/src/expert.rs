//! A source of help, and what it is asked.

use wheels_text::{Prompt, Seed};

use crate::{Candidates, DecodeError, ModelUse, Vocabulary};

/// A source of help: a larger model, a tool, a person.
///
/// An expert is shared and does not change. What it remembers of a batch of texts lives in an [`ExpertSession`].
pub trait Expert {
    /// Begins to help with a batch of texts.
    ///
    /// No help has been requested yet, and perhaps none will be. Expensive work should wait for the first request.
    ///
    /// # Errors
    /// If the expert does not fit the student or a prompt.
    fn open_session<'a>(
        &'a self,
        requests: Vec<RequestInfo<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError>;
}

/// The running state of an expert for one batch of texts.
pub trait ExpertSession {
    /// Answers the rows that ask, one [`HelpResponse`] for each request.
    ///
    /// # Errors
    /// If the expert cannot answer: [`DecodeError::Expert`] carries any cause.
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError>;

    /// Keeps the given rows, in that order. The others are finished.
    fn select_rows(&mut self, rows: &[usize]);

    /// The work of the expert's model so far. All numbers are 0 for an expert that runs no model.
    fn used(&self) -> ModelUse {
        ModelUse::default()
    }
}

/// A text that is about to be written, as an expert sees it.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo<'a> {
    /// The index of the prompt among those that the decoder was given. Errors name it.
    pub prompt_index: usize,
    /// The prompt.
    pub prompt: &'a Prompt,
    /// The expert's own seed for this text.
    pub seed: Seed,
}

/// The question of one row: how does its text go on?
///
/// An expert that never rolls back needs no more than the text.
#[derive(Clone, Copy, Debug)]
pub struct HelpRequest<'a> {
    /// The index of the row in the batch as it is now.
    pub row: usize,
    /// The text so far.
    pub text: &'a [u32],
    /// The first position that may be rolled back. It is the length of the text if nothing may be.
    pub review_from: usize,
    /// Whether the student's tokens from `review_from` on are accepted.
    pub acceptance: Acceptance<'a>,
    /// The student's most likely next token, which it writes if the expert declines. None at the end of a text.
    pub proposal: Option<u32>,
    /// Whether the student has ended the text. The question is then only whether the expert accepts it: a response that
    /// rolls nothing back does.
    pub at_end: bool,
}

/// The [`AcceptanceRule`](crate::AcceptanceRule) of a request, with its numbers.
#[derive(Clone, Copy, Debug)]
pub enum Acceptance<'a> {
    /// Accept a regret up to this many nats.
    Regret(f64),
    /// Accept a surprise up to this many nats.
    Surprise(f64),
    /// Accept by speculative sampling, given the distributions from which the student drew its tokens.
    Sampling(&'a [Candidates]),
}

/// How a text goes on, and from which position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HelpResponse {
    /// How many of the text's last tokens are rolled back first. The request limits this number.
    pub rollback: usize,
    /// The next tokens, usually one. An empty response declines, and the student writes its own token.
    ///
    /// Every token must be one that the student can write. Tokens after the end of the text, past the length limit, or
    /// without room in the budget are dropped.
    pub tokens: Vec<u32>,
    /// The cost of the response, in the expert's own unit.
    pub cost: f32,
}
