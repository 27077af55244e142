//! The experts that a student can ask.

use wheels_lm::ModelSpec;

use crate::{
    DecodeError, Expert, ExpertSession, HelpRequest, HelpResponse, ModelUse, RequestInfo, Verification, Vocabulary,
};

/// The experts that a student can ask. Each has a help token of its own.
///
/// Help tokens without an expert are listed too, because a student must never write them. Without experts, decoding is
/// plain decoding.
#[derive(Default)]
pub struct Experts<'a> {
    experts: Vec<(u32, Box<dyn Expert + 'a>)>,
    closed_tokens: Vec<u32>,
}

impl<'a> Experts<'a> {
    /// No experts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an expert that answers to `help_token`.
    ///
    /// # Panics
    /// If the token was added before.
    #[must_use]
    pub fn with(mut self, help_token: u32, expert: impl Expert + 'a) -> Self {
        self.check_is_new(help_token);
        self.experts.push((help_token, Box::new(expert)));
        self
    }

    /// Closes a token, which the student then never writes: a help token without an expert, so that a student that learned
    /// to ask can decode alone, or a special token such as padding.
    ///
    /// # Panics
    /// If the token was added before.
    #[must_use]
    pub fn with_closed_token(mut self, help_token: u32) -> Self {
        self.check_is_new(help_token);
        self.closed_tokens.push(help_token);
        self
    }

    /// Whether there are no experts.
    pub fn is_empty(&self) -> bool {
        self.experts.is_empty()
    }

    /// The vocabulary of a student that has these help tokens.
    pub fn vocabulary(&self, student: &ModelSpec) -> Vocabulary {
        let tokens = self.experts.iter().map(|(token, _)| *token).collect();
        Vocabulary::new(student, tokens, self.closed_tokens.clone())
    }

    /// # Errors
    /// If tokens can be rolled back, and an expert cannot verify them in this way.
    pub(crate) fn check_verification(&self, verification: &Verification) -> Result<(), DecodeError> {
        if !verification.can_roll_back() {
            return Ok(());
        }
        self.experts.iter().try_for_each(|(_, expert)| expert.check_verification(verification))
    }

    /// Opens a session with every expert.
    pub(crate) fn open_sessions<'b>(
        &'b self,
        requests: &[RequestInfo<'b>],
        vocabulary: &'b Vocabulary,
    ) -> Result<ExpertSessions<'b>, DecodeError> {
        let mut sessions = Vec::with_capacity(self.experts.len());
        for (index, (_, expert)) in self.experts.iter().enumerate() {
            sessions.push(expert.open_session(with_own_seeds(requests, index), vocabulary)?);
        }
        Ok(ExpertSessions { sessions })
    }

    fn check_is_new(&self, help_token: u32) {
        let mut taken = self.experts.iter().map(|(token, _)| token).chain(&self.closed_tokens);
        assert!(!taken.any(|&token| token == help_token), "help token {help_token} was added twice");
    }
}

/// The same requests with the seeds of an expert.
fn with_own_seeds<'a>(requests: &[RequestInfo<'a>], expert: usize) -> Vec<RequestInfo<'a>> {
    let mut own = requests.to_vec();
    for request in &mut own {
        request.seed = request.seed.stream("expert").nth(expert as u64);
    }
    own
}

/// The sessions of all experts for one batch of texts.
pub(crate) struct ExpertSessions<'a> {
    sessions: Vec<Box<dyn ExpertSession + 'a>>,
}

/// A request and the expert that it goes to.
#[derive(Clone, Copy)]
pub(crate) struct Call<'t> {
    pub(crate) expert: usize,
    pub(crate) request: HelpRequest<'t>,
}

impl ExpertSessions<'_> {
    /// One response for each of `rows` rows. Each expert is called once, for all rows that ask it. Rows that do not ask
    /// get an empty response.
    pub(crate) fn answer(&mut self, calls: &[Call<'_>], rows: usize) -> Result<Vec<HelpResponse>, DecodeError> {
        let mut responses = vec![HelpResponse::default(); rows];
        for (expert, session) in self.sessions.iter_mut().enumerate() {
            let requests: Vec<HelpRequest<'_>> =
                calls.iter().filter(|call| call.expert == expert).map(|call| call.request).collect();
            if requests.is_empty() {
                continue;
            }
            let answered = session.answer(&requests)?;
            assert_eq!(answered.len(), requests.len(), "expert {expert} must give one response per request");
            for (request, response) in requests.iter().zip(answered) {
                responses[request.row] = response;
            }
        }
        Ok(responses)
    }

    /// Keeps the given rows, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        for session in &mut self.sessions {
            session.select_rows(rows);
        }
    }

    /// Whether all sessions can take more rows.
    pub(crate) fn can_append(&self) -> bool {
        self.sessions.iter().all(|session| session.can_append())
    }

    /// Adds rows to all sessions.
    pub(crate) fn append(&mut self, requests: &[RequestInfo<'_>]) -> Result<(), DecodeError> {
        for (index, session) in self.sessions.iter_mut().enumerate() {
            session.append(&with_own_seeds(requests, index))?;
        }
        Ok(())
    }

    /// The work of all experts so far.
    pub(crate) fn used(&self) -> ModelUse {
        self.sessions.iter().map(|session| session.used()).sum()
    }
}
