//! One text while it is decoded.

use std::time::Instant;

use training_wheels::decode::{self, Action, Distribution, NewText, Source, Step, Trajectory};

use super::job::{Author, End, Event, Failure, Job, Piece, ScoredToken, Usage};
use super::log_probs::{self, LogProbs};
use super::transcript::Transcript;
use crate::Served;
use crate::metrics::{Ending, Metrics};

/// A text while it is decoded: steps in, events out.
pub(crate) struct Writer<'m> {
    job: Job,
    transcript: Transcript<'m>,
    usage: Usage,
    /// The log-probs of the next token, if they are wanted and known.
    next: Option<LogProbs>,
    /// The number of characters of the prompt before the text, if the answer begins with it.
    echoed: usize,
    /// Whether the teacher verifies the student's tokens, and can roll them back.
    verifies: bool,
    /// Steps that can still be rolled back, with the log-probs at their positions. A token that replaces one of them is
    /// scored by those at its own position, which the student does not read again.
    held: Vec<(Step, Option<LogProbs>)>,
    /// The number of steps before them.
    released: usize,
    /// Tokens whose text has not been sent.
    unsent: Vec<ScoredToken>,
    /// What the tokenizer could not decode.
    failure: Option<Failure>,
    metrics: &'m Metrics,
}

impl<'m> Writer<'m> {
    /// A text that is about to be decoded. Its prompt is sent, if the answer begins with it.
    ///
    /// # Errors
    /// How the text ended, if its prompt cannot be read.
    pub(crate) fn new(job: Job, served: &'m Served, metrics: &'m Metrics) -> Result<Self, Ending> {
        let transcript = Transcript::new(&served.pair.student.tokenizer, job.options.stops.clone());
        let usage = Usage { prompt_tokens: job.prompt.student.len(), ..Usage::default() };
        let mut writer = Self {
            verifies: served.verifies(&job.prompt),
            job,
            transcript,
            usage,
            next: None,
            echoed: 0,
            held: Vec::new(),
            released: 0,
            unsent: Vec::new(),
            failure: None,
            metrics,
        };
        if writer.job.options.echo {
            match writer.prompt(served) {
                Ok(piece) => {
                    writer.echoed = piece.text.chars().count();
                    writer.job.send(Event::Prompt(piece));
                }
                Err(reason) => return Err(writer.fail(Failure::Model(reason))),
            }
        }
        Ok(writer)
    }

    /// The prompt with its log-probs, if they are wanted.
    fn prompt(&self, served: &Served) -> Result<Piece, String> {
        let (student, ids) = (&served.pair.student, &self.job.prompt.student);
        let text = student.tokenizer.decode(ids).map_err(|error| error.to_string())?;
        let Some(count) = self.job.options.log_probs else { return Ok(Piece { text, tokens: vec![] }) };
        let mut tokens = log_probs::of_prompt(&student.model, ids, served.pair.help_token, count)?;
        let mut stream = student.tokenizer.stream();
        let mut offset = 0;
        for token in &mut tokens {
            token.offset = offset;
            let text = stream.push(token.id).map_err(|error| error.to_string())?;
            offset += text.map_or(0, |text| text.chars().count());
        }
        Ok(Piece { text, tokens })
    }

    /// What the session decodes.
    pub(crate) fn text(&self) -> NewText<'_> {
        let Job { prompt, options, seed, .. } = &self.job;
        NewText { prompt, seed: *seed, sampler: options.sampler, max_new_tokens: options.max_new_tokens }
    }

    /// Keeps the log-probs of the next token, if they are wanted.
    pub(crate) fn see(&mut self, distribution: &Distribution<'_>) {
        if self.job.options.log_probs.is_some() {
            self.next = Some(LogProbs::new(distribution));
        }
    }

    /// Appends a step, and sends the text that is certain. If the teacher verifies tokens, those of the student are not
    /// certain before the teacher's next one.
    pub(crate) fn push(&mut self, step: &Step) {
        self.held.push((*step, self.next.take()));
        if !self.verifies || step.source != Source::Student {
            self.release();
        }
    }

    /// Removes all but the first `length` steps, which the teacher did not accept.
    pub(crate) fn roll_back(&mut self, length: usize) {
        let kept = length.saturating_sub(self.released).min(self.held.len());
        let first = self.held.drain(kept..).next();
        if let Some((_, log_probs)) = first {
            self.next = log_probs;
        }
    }

    /// Takes the steps that can no longer be rolled back into the text, and sends it.
    fn release(&mut self) {
        for (step, log_probs) in std::mem::take(&mut self.held) {
            self.released += 1;
            if self.transcript.is_stopped() {
                continue;
            }
            let author = match step.source {
                Source::Student => Author::Student,
                Source::Expert(_) => Author::Teacher,
            };
            match author {
                Author::Student => self.usage.student_tokens += 1,
                Author::Teacher => self.usage.teacher_tokens += 1,
            }
            self.metrics.wrote(author);
            if matches!(step.action, Action::Help(_)) {
                self.count_calls(1);
            }
            if let Some(count) = self.job.options.log_probs {
                let scored = match log_probs {
                    Some(log_probs) => log_probs.score(step.token, count),
                    None => ScoredToken { id: step.token, log_prob: None, top: vec![], offset: 0 },
                };
                let offset = self.echoed + self.transcript.chars();
                self.unsent.push(ScoredToken { offset, ..scored });
            }
            if let Err(error) = self.transcript.push(step.token, author) {
                self.failure = Some(Failure::Model(error.to_string()));
            }
        }
        self.send_text();
    }

    fn count_calls(&mut self, calls: usize) {
        self.usage.teacher_calls += calls;
        self.usage.teacher_prompt_tokens = self.job.prompt.expert.len();
        self.metrics.calls.inc_by(calls as u64);
    }

    fn count_failures(&mut self, failures: usize) {
        self.usage.teacher_failures = failures;
        self.metrics.failures.inc_by(failures as u64);
    }

    /// Whether the text is to be ended before the model ends it.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.transcript.is_stopped() || self.failure.is_some() || self.job.is_abandoned() || self.job.deadline <= now
    }

    /// Ends a text that [is over](Self::is_over), in which this number of calls of the teacher failed.
    pub(crate) fn leave(mut self, failures: usize) -> Ending {
        self.count_failures(failures);
        if let Some(failure) = self.failure.take() {
            return self.fail(failure);
        }
        if self.transcript.is_stopped() {
            self.done(End::Stop)
        } else if self.job.is_abandoned() {
            Ending::Cancelled
        } else {
            self.fail(Failure::TimedOut)
        }
    }

    /// Ends a text that the model has ended.
    pub(crate) fn end(mut self, trajectory: &Trajectory) -> Ending {
        self.release();
        // A call that accepted the end of the text brought no token: it is in the cost of the student's last one.
        let accepted = trajectory.steps.last().is_some_and(|last| last.source == Source::Student && last.cost > 0.0);
        if accepted && !self.transcript.is_stopped() {
            self.count_calls(1);
        }
        self.count_failures(trajectory.failures.len());
        let finished = self.transcript.finish().map_err(|error| Failure::Model(error.to_string()));
        if let Some(failure) = self.failure.take().or(finished.err()) {
            return self.fail(failure);
        }
        match trajectory.end {
            _ if self.transcript.is_stopped() => self.done(End::Stop),
            decode::End::Eos => self.done(End::Stop),
            decode::End::Length => self.done(End::Length),
        }
    }

    /// Ends a text that cannot be finished.
    pub(crate) fn fail(self, failure: Failure) -> Ending {
        let ending = match failure {
            Failure::Overloaded | Failure::TimedOut => Ending::TimedOut,
            Failure::Stopping => Ending::Cancelled,
            Failure::Model(_) => Ending::Failed,
        };
        self.job.send(Event::Failed(failure));
        ending
    }

    fn done(mut self, end: End) -> Ending {
        self.send_text();
        if !self.unsent.is_empty() {
            // The tokens had no text, such as the end-of-text token.
            let tokens = std::mem::take(&mut self.unsent);
            self.job.send(Event::Piece(Author::Student, Piece { text: String::new(), tokens }));
        }
        self.job.send(Event::Done(end, self.usage));
        match end {
            End::Stop => Ending::Stop,
            End::Length => Ending::Length,
        }
    }

    fn send_text(&mut self) {
        for (author, text) in self.transcript.take() {
            let tokens = std::mem::take(&mut self.unsent);
            self.job.send(Event::Piece(author, Piece { text, tokens }));
        }
    }
}
