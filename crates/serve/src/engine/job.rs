//! A text that a request wants, and what its client is sent.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use training_wheels::decode::Sampler;
use training_wheels::text::{Prompt, Seed};

/// A text that a request wants.
pub(crate) struct Job {
    /// The index of the text in its request.
    pub(crate) index: usize,
    pub(crate) prompt: Prompt,
    pub(crate) options: JobOptions,
    pub(crate) seed: Seed,
    /// The time at which nobody wants the text any more.
    pub(crate) deadline: Instant,
    pub(crate) reply: UnboundedSender<(usize, Event)>,
}

/// How a text is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobOptions {
    /// None for the limit of the model's generation config.
    pub(crate) max_new_tokens: Option<usize>,
    /// None for the sampler of the model's generation config.
    pub(crate) sampler: Option<Sampler>,
    /// Texts at which the answer ends, without them.
    pub(crate) stops: Vec<String>,
    /// The number of alternatives to each token whose log-probs are wanted. None if no log-probs are.
    pub(crate) log_probs: Option<usize>,
    /// Whether the answer begins with the prompt.
    pub(crate) echo: bool,
}

impl Job {
    /// Sends an event, unless the client has left.
    pub(crate) fn send(&self, event: Event) {
        // A client that has left is found when its row is next looked at.
        let _ = self.reply.send((self.index, event));
    }

    /// Whether the client has left.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// What a client is sent while its text is written.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The prompt, which the answer begins with.
    Prompt(Piece),
    /// New text by one author.
    Piece(Author, Piece),
    /// The end. Nothing follows.
    Done(End, Usage),
    /// There will be no more, because something went wrong.
    Failed(Failure),
}

/// A part of a text, and the tokens that were written since the last part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Empty if no log-probs are wanted.
    pub(crate) tokens: Vec<ScoredToken>,
}

/// Who wrote a part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Author {
    Student,
    Teacher,
}

/// A token and its log-prob.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScoredToken {
    pub(crate) id: u32,
    /// Under the student's distribution, nats. None for the first token of a prompt, and for the later tokens of an
    /// answer that brought several.
    pub(crate) log_prob: Option<f64>,
    /// The most likely tokens with their log-probs, in falling order.
    pub(crate) top: Vec<(u32, f64)>,
    /// The number of characters of the text before it.
    pub(crate) offset: usize,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// At an end-of-text token, or at a text of `stop`.
    Stop,
    /// At the length limit.
    Length,
}

/// The work for a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The tokens that the student read before the text.
    pub(crate) prompt_tokens: usize,
    /// The tokens that the teacher read before the text: 0 if it was not asked.
    pub(crate) teacher_prompt_tokens: usize,
    pub(crate) student_tokens: usize,
    pub(crate) teacher_tokens: usize,
    pub(crate) teacher_calls: usize,
    /// Calls that failed. The student wrote the rest of each such text alone.
    pub(crate) teacher_failures: usize,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.teacher_prompt_tokens += other.teacher_prompt_tokens;
        self.student_tokens += other.student_tokens;
        self.teacher_tokens += other.teacher_tokens;
        self.teacher_calls += other.teacher_calls;
        self.teacher_failures += other.teacher_failures;
    }
}

/// Why a text failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It waited for a row until its time was over.
    Overloaded,
    /// Its time was over while it was written.
    TimedOut,
    /// The server stops.
    Stopping,
    /// The model failed, for this reason.
    Model(String),
}
