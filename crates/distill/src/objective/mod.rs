//! Objectives: one file each.

mod supervised;

use burn::tensor::Tensor;

use crate::Scored;

pub use supervised::CrossEntropy;

/// A loss, summed over the tokens of a batch, with what a report shows of it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is minimised, `[1]`; tracks gradients.
    pub total: Tensor<1>,
    /// The value of `total` in the units of the reports, `[1]`; not tracked.
    pub value: Tensor<1>,
    /// Minus the log-likelihood of the targets in nats, `[1]`; not tracked.
    pub nll: Tensor<1>,
}

/// What training minimises: a pure function of a scored batch.
pub trait Objective: Send + Sync {
    /// The loss of a batch, summed over its tokens so that batches of unequal size add up rightly.
    fn loss(&self, scored: &Scored) -> Loss;
}
