//! Objectives: one file each.
//!
//! Every objective here has its gradient in closed form. It is computed once, without tracking, and handed to the
//! graph as a constant factor of the logits and values: the vocabulary is the widest dimension of training, and each
//! pass over it counts.

pub(crate) mod all_action;
mod constrained;
mod forward;
mod generalized;
pub(crate) mod laws;
mod path;
mod supervised;

use burn::tensor::Tensor;

use crate::Scored;

pub use all_action::{AllActionConsistency, HelpWorth};
pub use constrained::ConstrainedPath;
pub use forward::ForwardKl;
pub use generalized::GeneralizedJsd;
pub use path::{PathConsistency, ValueSource};
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
    /// What the value is made of, and what else is worth reporting, by name; `[1]` each, not tracked.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

/// What training minimises: a pure function of a scored batch.
pub trait Objective: Send + Sync {
    /// The loss of a batch, summed over its tokens so that batches of unequal size add up rightly.
    ///
    /// # Panics
    /// Where the objective needs a teacher's [`Guided`](crate::Guided) law or [`Values`](wheels_lm::Values), and the batch
    /// or the model has none.
    fn loss(&self, scored: &Scored) -> Loss;
}
