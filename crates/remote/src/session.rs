//! The state of a remote teacher for one batch of texts.

use wheels_decode::{DecodeError, ExpertSession, HelpRequest, HelpResponse, ModelUse, RequestInfo, Vocabulary};
use wheels_text::{Prompt, Seed};

use crate::RemoteTeacher;
use crate::ask::{Help, Question};
use crate::concurrently::concurrently;

/// A remote teacher and the texts that can ask it. The server keeps no state: each call sends a whole text.
pub(crate) struct RemoteSession<'a> {
    teacher: &'a RemoteTeacher,
    vocabulary: &'a Vocabulary,
    rows: Vec<Row>,
    used: ModelUse,
}

#[derive(Clone)]
struct Row {
    prompt: Prompt,
    seed: Seed,
}

impl<'a> RemoteSession<'a> {
    pub(crate) fn new(teacher: &'a RemoteTeacher, vocabulary: &'a Vocabulary, requests: &[RequestInfo<'_>]) -> Self {
        let mut session = Self { teacher, vocabulary, rows: Vec::new(), used: ModelUse::default() };
        session.add(requests);
        session
    }

    fn add(&mut self, requests: &[RequestInfo<'_>]) {
        self.rows.extend(requests.iter().map(|request| Row { prompt: request.prompt.clone(), seed: request.seed }));
    }
}

impl ExpertSession for RemoteSession<'_> {
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        let Self { teacher, vocabulary, rows, used } = self;
        let helps = concurrently(requests, teacher.config.concurrency, |request| {
            let Row { prompt, seed } = &rows[request.row];
            Question { teacher, vocabulary, prompt, seed: *seed, request }.ask()
        });
        let mut responses = Vec::with_capacity(requests.len());
        used.forwards += u64::from(helps.iter().flatten().any(|help| help.called));
        for help in helps {
            responses.push(match help {
                Ok(Help { response, usage, called }) => {
                    used.calls += u64::from(called);
                    used.tokens_processed += usage.prompt_tokens + usage.completion_tokens;
                    response
                }
                Err(error) => {
                    log::debug!("no help: {error}");
                    HelpResponse::failed(error.reason())
                }
            });
        }
        Ok(responses)
    }

    fn select_rows(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
    }

    fn can_append(&self) -> bool {
        true
    }

    fn append(&mut self, requests: &[RequestInfo<'_>]) -> Result<(), DecodeError> {
        self.add(requests);
        Ok(())
    }

    fn used(&self) -> ModelUse {
        self.used
    }
}
