//! A source of help, its requests and its responses.

use wheels_text::{Prompt, Seed};

use crate::{Candidates, DecodeError, FailureReason, ModelUse, Verification, Vocabulary};

/// A source of help, such as a larger model, a tool or a person.
///
/// An expert is shared between batches and does not change. Its state for one batch of texts is an [`ExpertSession`].
pub trait Expert {
    /// Opens a session for a batch of texts.
    ///
    /// No help has been requested yet, and perhaps none will be, so expensive work should wait for the first request.
    ///
    /// # Errors
    /// If the expert does not fit the student or a prompt.
    fn open_session<'a>(
        &'a self,
        requests: Vec<RequestInfo<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError>;

    /// Checks that the expert can verify tokens in this way. A decoder with a [`Verification`] that can roll tokens back
    /// calls it before it writes. By default every verification is allowed: an expert that never rolls back accepts all
    /// tokens.
    ///
    /// # Errors
    /// [`DecodeError::CannotVerify`] if the expert cannot judge tokens.
    fn check_verification(&self, verification: &Verification) -> Result<(), DecodeError> {
        let _ = verification;
        Ok(())
    }
}

/// A shared expert is an expert, so that several decoders can use one.
impl<E: Expert + ?Sized> Expert for &E {
    fn open_session<'a>(
        &'a self,
        requests: Vec<RequestInfo<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        (**self).open_session(requests, vocabulary)
    }

    fn check_verification(&self, verification: &Verification) -> Result<(), DecodeError> {
        (**self).check_verification(verification)
    }
}

/// The state of an expert for one batch of texts.
pub trait ExpertSession {
    /// Answers the rows that ask: one [`HelpResponse`] for each request, in the order of the requests.
    ///
    /// An expert that can fail at any time, such as one behind a network, reports it for each text
    /// ([`HelpResponse::failed`]), and the student finishes these texts alone.
    ///
    /// # Errors
    /// [`DecodeError::Expert`], which carries any cause, if the expert cannot answer. All texts of the decoder are lost.
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError>;

    /// Keeps the given rows, in that order, and drops the others, whose texts are finished. There may be none to keep.
    fn select_rows(&mut self, rows: &[usize]);

    /// Whether [`append`](Self::append) works now. It does not by default: the decoder then finishes all texts of a batch
    /// before it begins new ones.
    fn can_append(&self) -> bool {
        false
    }

    /// Adds texts that are about to be written. Their rows come after those of the session, which copies what it needs.
    ///
    /// As in [`Expert::open_session`], expensive work should wait for the first request.
    ///
    /// # Errors
    /// If the expert does not fit a prompt.
    ///
    /// # Panics
    /// If the session [cannot append](Self::can_append) rows.
    fn append(&mut self, requests: &[RequestInfo<'_>]) -> Result<(), DecodeError> {
        let _ = requests;
        unimplemented!("a session without `append` says so in `can_append`")
    }

    /// The work of the expert's model so far; all zeros if the expert runs no model.
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
    /// The seed for this text. Each expert gets one of its own.
    pub seed: Seed,
}

/// A request of one text: either for its next tokens, or to verify its end.
///
/// An expert that never rolls back needs only the text.
#[derive(Clone, Copy, Debug)]
pub struct HelpRequest<'a> {
    /// The index of the row in the current batch. [`ExpertSession::select_rows`] renumbers rows, and
    /// [`ExpertSession::append`] adds some.
    pub row: usize,
    /// The text so far.
    pub text: &'a [u32],
    /// The first position that may be rolled back. It is the length of the text if none may be.
    pub review_from: usize,
    /// How the student's tokens from `review_from` on are judged.
    pub acceptance: Acceptance<'a>,
    /// The student's most likely next token. If the expert declines, a greedy student writes it, and a sampling student
    /// draws its own token. None at the end of a text.
    pub proposal: Option<u32>,
    /// Whether the student has ended the text. The expert then only verifies: it accepts the end by rolling nothing
    /// back.
    pub at_end: bool,
    /// The largest number of tokens of an answer after the text for which the length limit and the budget have room. An
    /// answer after a rollback may have room for fewer. 0 at the end of a text.
    pub room: usize,
}

/// An [`AcceptanceRule`](crate::AcceptanceRule) with the values that it needs.
#[derive(Clone, Copy, Debug)]
pub enum Acceptance<'a> {
    /// Accept a regret up to this many nats.
    Regret(f64),
    /// Accept a surprise up to this many nats.
    Surprise(f64),
    /// Accept by speculative sampling, given the distributions from which the student drew its tokens.
    Sampling(&'a [Candidates]),
}

/// The answer to a [`HelpRequest`]: the next tokens, and how much of the text is rolled back before them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HelpResponse {
    /// The number of tokens that are rolled back first. It is at most `text.len() - review_from` of the request.
    pub rollback: usize,
    /// The next tokens, usually one. An empty response declines: its `rollback` is ignored, and the student writes its
    /// own token.
    ///
    /// The student must be able to write every token. Tokens are dropped after the end of the text, after the length
    /// limit, and when the budget has no room.
    pub tokens: Vec<u32>,
    /// The cost of the response, in the expert's own unit.
    pub cost: f32,
    /// Why the expert cannot help with this text any more. Everything else in the response is then ignored: nothing is
    /// charged, the student writes its own token, and the text does not ask this expert again.
    pub failure: Option<FailureReason>,
}

impl HelpResponse {
    /// The response of an expert that cannot help with a text any more.
    pub fn failed(reason: FailureReason) -> Self {
        Self { failure: Some(reason), ..Self::default() }
    }
}
