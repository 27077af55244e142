//! A language model as an expert.

use rand_chacha::ChaCha8Rng;
use wheels_lm::LanguageModel;

use crate::cursor::{Cursor, Span};
use crate::policy::check_prompt;
use crate::{
    Acceptance, DecodeError, Distribution, Expert, ExpertSession, HelpRequest, HelpResponse, ModelUse, Readout,
    RequestInfo, Sampler, Vocabulary,
};

/// The number of tokens per text for which a teacher's cache is allocated. It grows when a text becomes longer.
const CAPACITY: usize = 64;

/// An expert that is a language model: it answers with the next token.
///
/// It reads all prompts of a batch at the first request, so that a batch that never asks costs nothing. Texts that join the
/// batch later are read together too, at the first request of one of them. Each round of requests then takes one forward
/// pass, in which each row that asks catches up on the tokens since its last request.
/// An answer is one token and costs 1. Accepting the end of a text produces no token and also costs 1. Declining is
/// free.
///
/// The regret of a token is measured against the teacher's most likely token, even if the teacher answers by sampling.
/// A teacher declines only if it has a [tolerance](Self::with_tolerance).
#[derive(Clone, Copy)]
pub struct Teacher<'m> {
    model: &'m dyn LanguageModel,
    sampler: Sampler,
    tolerance_nats: Option<f64>,
    readout: Readout,
}

impl<'m> Teacher<'m> {
    /// A teacher that answers with its most likely token.
    pub fn new(model: &'m dyn LanguageModel) -> Self {
        Self { model, sampler: Sampler::Greedy, tolerance_nats: None, readout: Readout::Auto }
    }

    /// The same teacher with answers chosen by `sampler`.
    #[must_use]
    pub fn with_sampler(self, sampler: Sampler) -> Self {
        Self { sampler, ..self }
    }

    /// The same teacher with another place for its decisions.
    #[must_use]
    pub fn with_readout(self, readout: Readout) -> Self {
        Self { readout, ..self }
    }

    /// The same teacher, which declines if its regret of the student's most likely token is at most `nats`.
    ///
    /// If it is asked at every step, it shows how well a student could choose when to ask. With 0 nats it helps only
    /// where the most likely tokens of student and teacher differ. No real student can ask like this, because the
    /// teacher reads every token.
    #[must_use]
    pub fn with_tolerance(self, nats: f64) -> Self {
        Self { tolerance_nats: Some(nats), ..self }
    }
}

impl Expert for Teacher<'_> {
    fn open_session<'a>(
        &'a self,
        requests: Vec<RequestInfo<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        let spec = self.model.spec();
        self.sampler.check()?;
        if let Some(token) = vocabulary.last_token().filter(|&token| token as usize >= spec.vocab_size) {
            return Err(DecodeError::Vocabulary { token, vocab_size: spec.vocab_size });
        }
        if let Some(&token) = spec.eos.iter().find(|&&token| !vocabulary.ends(token)) {
            return Err(DecodeError::EndOfText { token });
        }
        let mut session =
            TeacherSession { teacher: self, vocabulary, rows: Vec::new(), cursor: None, used: ModelUse::default() };
        session.append(&requests)?;
        Ok(Box::new(session))
    }
}

/// The state of a teacher for one batch.
struct TeacherSession<'a> {
    teacher: &'a Teacher<'a>,
    vocabulary: &'a Vocabulary,
    rows: Vec<Row>,
    /// None if no prompt of these rows has been read.
    cursor: Option<Cursor<'a>>,
    /// The work of earlier cursors.
    used: ModelUse,
}

/// A text of a session.
#[derive(Clone)]
struct Row {
    prompt_index: usize,
    prompt: Vec<u32>,
    rng: ChaCha8Rng,
    /// The row of the cursor. None if the prompt has not been read.
    place: Option<usize>,
}

impl TeacherSession<'_> {
    /// Reads the prompts that have not been read, if one of their texts asks.
    fn read_prompts(&mut self, requests: &[HelpRequest<'_>]) {
        if requests.iter().all(|request| self.rows[request.row].place.is_some()) {
            return;
        }
        let mut prompts: Vec<&[u32]> = Vec::new();
        let first = self.cursor.as_ref().map_or(0, Cursor::rows);
        for row in self.rows.iter_mut().filter(|row| row.place.is_none()) {
            row.place = Some(first + prompts.len());
            prompts.push(&row.prompt);
        }
        match &mut self.cursor {
            Some(cursor) => cursor.append(&prompts, CAPACITY),
            None => self.cursor = Some(Cursor::open(self.teacher.model, &prompts, CAPACITY, self.teacher.readout)),
        }
    }
}

impl ExpertSession for TeacherSession<'_> {
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        self.read_prompts(requests);
        let Some(cursor) = &mut self.cursor else { return Ok(vec![]) };
        let mut spans = Vec::with_capacity(requests.len());
        for request in requests {
            let row = &self.rows[request.row];
            spans.push(span_to_read(request, row.place.expect("its prompt was read"), row.prompt_index));
        }
        let logits = cursor.read(&spans, self.vocabulary)?;
        let distributions = logits.distributions();
        let mut rest = distributions.as_slice();
        let mut responses = Vec::with_capacity(requests.len());
        for (request, span) in requests.iter().zip(&spans) {
            let (of_request, others) = rest.split_at(span.text.len() + 1 - span.from);
            rest = others;
            responses.push(self.teacher.respond(request, span.from, of_request, &mut self.rows[request.row].rng));
        }
        Ok(responses)
    }

    fn select_rows(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        let mut kept = Vec::with_capacity(rows.len());
        for place in self.rows.iter_mut().filter_map(|row| row.place.as_mut()) {
            kept.push(std::mem::replace(place, kept.len()));
        }
        match &mut self.cursor {
            Some(cursor) if !kept.is_empty() => cursor.select_rows(&kept),
            _ => {
                self.used = self.used();
                self.cursor = None;
            }
        }
    }

    fn can_append(&self) -> bool {
        self.cursor.as_ref().is_none_or(Cursor::can_append)
    }

    fn append(&mut self, requests: &[RequestInfo<'_>]) -> Result<(), DecodeError> {
        for request in requests {
            let prompt = &request.prompt.expert;
            check_prompt(request.prompt_index, prompt, self.teacher.model.spec().vocab_size)?;
            let (prompt_index, rng) = (request.prompt_index, request.seed.rng());
            self.rows.push(Row { prompt_index, prompt: prompt.clone(), rng, place: None });
        }
        Ok(())
    }

    fn used(&self) -> ModelUse {
        [self.used].into_iter().chain(self.cursor.as_ref().map(Cursor::used)).sum()
    }
}

impl Teacher<'_> {
    /// The answer at the first position from `from` that the teacher does not accept, or else after the text.
    fn respond(
        &self,
        request: &HelpRequest<'_>,
        from: usize,
        distributions: &[Distribution<'_>],
        rng: &mut ChaCha8Rng,
    ) -> HelpResponse {
        for (position, distribution) in (from..).zip(distributions) {
            let answer = match request.text.get(position) {
                Some(&token) => match request.acceptance {
                    Acceptance::Regret(tolerance) if distribution.regret(token) <= tolerance => None,
                    Acceptance::Surprise(tolerance) if -distribution.log_prob(token) <= tolerance => None,
                    Acceptance::Regret(_) | Acceptance::Surprise(_) => {
                        Some(self.sampler.choose(distribution, rng).token)
                    }
                    Acceptance::Sampling(drafts) => {
                        let draft = &drafts[position - request.review_from];
                        self.sampler.candidates(distribution).replacement(token, draft, rng)
                    }
                },
                None => {
                    let answer = self.sampler.choose(distribution, rng).token;
                    let tolerated = |nats| request.proposal.is_some_and(|token| distribution.regret(token) <= nats);
                    if self.tolerance_nats.is_some_and(tolerated) {
                        return HelpResponse::default();
                    }
                    Some(answer)
                }
            };
            if let Some(token) = answer {
                return HelpResponse {
                    rollback: request.text.len() - position,
                    tokens: vec![token],
                    cost: 1.0,
                    failure: None,
                };
            }
        }
        HelpResponse { cost: 1.0, ..HelpResponse::default() }
    }
}

/// What a teacher reads to answer: the text. At the end of a text it leaves out the last token, because nothing follows
/// that token.
fn span_to_read<'t>(request: &HelpRequest<'t>, row: usize, prompt_index: usize) -> Span<'t> {
    let end = request.text.len() - usize::from(request.at_end);
    let (text, next) = (&request.text[..end], request.text.get(end).copied().or(request.proposal));
    Span { row, prompt_index, text, from: request.review_from.min(end), next }
}
