//! The teacher's targets for a batch.

use burn::tensor::TensorData;
use wheels_lm::TokenBatch;

use crate::RolloutRow;

/// The teacher's log-probs at every position of a batch, and how its rows were written.
#[derive(Clone, Debug)]
pub struct TeacherTargets {
    /// The teacher's log-probs over its own vocabulary, in half precision, nats, `[batch, time, vocab]`.
    pub log_probs: TensorData,
    /// The student's help token. None for a student that does not ask.
    pub help_token: Option<u32>,
    /// The texts and how they were written, with their prices.
    pub rows: Vec<RolloutRow>,
    /// Extra prompts that train only the price head.
    pub price_prompts: Option<PricePrompts>,
}

/// Extra prompts that train only the price head. Without them, the head sees too few wordings and overfits.
#[derive(Clone, Debug, PartialEq)]
pub struct PricePrompts {
    /// The prompts, `[prompts, source]`.
    pub prompts: TokenBatch,
    /// For each prompt, the price of help under its budget, nats.
    pub prices: Vec<f32>,
}

impl TeacherTargets {
    /// The shape of the log-probs.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.log_probs.shape().dims()
    }
}
