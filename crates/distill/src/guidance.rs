//! What a teacher says of a batch.

use burn::tensor::TensorData;
use wheels_lm::TokenBatch;

/// A teacher's law at every position of a batch, and how its rows came about.
#[derive(Clone, Debug)]
pub struct Guidance {
    /// The teacher's log-probabilities in half precision, `[batch, time, vocab]`, nats.
    pub teacher: TensorData,
    /// The student's help token; none for a student that does not ask.
    pub help: Option<u32>,
    /// One for each row.
    pub rows: Vec<GuidedRow>,
    /// More prompts, only for what their budgets cost.
    pub rehearsal: Option<Rehearsal>,
}

/// Prompts whose budgets are to be read, beside the texts of a batch: a student that has read few ways to say a price is
/// sure of none.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// The prompts, `[prompts, source]`.
    pub prompts: TokenBatch,
    /// What help costs under each, nats.
    pub prices: Vec<f32>,
}

/// How a row came about, and what help costs it.
#[derive(Clone, Debug, PartialEq)]
pub struct GuidedRow {
    /// Whether the teacher chose the token, for each of the row's tokens.
    pub helped: Vec<bool>,
    /// What help costs, nats.
    pub price: f32,
    /// Whether the student wrote the row under the rule by which it will be deployed.
    pub deployed: bool,
    /// Whether the row ends with the end mark.
    pub ended: bool,
}

impl Guidance {
    /// The shape of the teacher's law.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.teacher.shape().dims()
    }
}
