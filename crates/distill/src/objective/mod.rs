//! Training objectives, one per file.
//!
//! An [`Objective`] turns a scored batch into a [`Loss`]. Every objective of this module computes its gradient in
//! closed form. The gradient is computed once, without autodiff, and enters the graph as a constant factor of the
//! logits and of the values. The vocabulary is the largest dimension of training, and autodiff would pass over it
//! several more times.
//!
//! # Terms
//!
//! The docs of this module use these terms:
//!
//! - a *word* is any token of the vocabulary but the help token;
//! - `p` is the student's distribution over words, and `p_T` is the teacher's;
//! - `z` is the log-odds of asking: the help logit minus the log-sum-exp of the words' logits;
//! - the *divergence* D is the reverse KL from the student to the teacher, `KL(p || p_T)`, with rewards clipped below;
//! - the *price* is the price of one helped token under a row's budget, in nats.
//!
//! # Metrics
//!
//! A training run reports these numbers at each step. The loss of an objective is a sum over the target tokens of a
//! batch, and so are its parts; the run divides all of them by the number of target tokens in the step. A part of a
//! loss has the name of its weight in the objective's config, and is reported before that weight is applied.
//!
//! | name | what it is | unit | reported by |
//! |------|------------|------|-------------|
//! | `loss` | the value of the objective | nats per token for a cross-entropy or a KL; else a weighted sum of the parts below | every run |
//! | `nll` | minus the log-likelihood of the target tokens | nats per token | every run |
//! | `words` | `L_words`: one-step consistency over all words | squared nats per token | [`AllActionConsistency`], [`ConstrainedPath`] |
//! | `help` | `L_help`: Huber's loss of the log-odds of asking | squared nats per token | [`AllActionConsistency`] with a help token, [`ConstrainedPath`] |
//! | `forward` | the forward KL from the teacher to the student | nats per token | [`ConstrainedPath`] |
//! | `path` | `L_path`: Huber's loss of the path residuals | squared nats per token | [`ConstrainedPath`] |
//! | `cost` | smooth L1 between V_C and the number of helped tokens still to come; 0 on rows that were not written under the deployed rule | squared tokens per token | [`ConstrainedPath`] |
//! | `price` | smooth L1 between the predicted and the true prices, averaged over the price prompts | squared nats | [`ConstrainedPath`] with price prompts |
//! | `divergence` | D, averaged over the target tokens | nats per token | [`AllActionConsistency`], [`ConstrainedPath`] |
//! | `asked` | the fraction of the target tokens at which the student would ask (`z > 0`) | fraction, 0 to 1 | [`ConstrainedPath`] |
//! | `price N%` | the price of help at the budget level N% | nats | runs with on-policy rollouts |
//! | `used N%` | the fraction of tokens that the teacher chose at the budget level N% under the deployed rule; rows with a budget near the level count by how much they miss their own budget | fraction, 0 to 1 | runs with on-policy rollouts |
//!
//! [`StepReport`](crate::StepReport) documents the other numbers of a step.

pub(crate) mod all_action_consistency;
mod constrained_path;
mod cross_entropy;
pub(crate) mod distributions;
mod forward_kl;
mod generalized_jsd;
mod loss_term;
mod path_consistency;
mod shift;

use burn::tensor::Tensor;

use crate::Scored;

pub use all_action_consistency::{AllActionConsistency, HelpValue};
pub use constrained_path::ConstrainedPath;
pub use cross_entropy::CrossEntropy;
pub use forward_kl::ForwardKl;
pub use generalized_jsd::GeneralizedJsd;
pub use path_consistency::{PathConsistency, ValueSource};

/// The loss of a batch, summed over its target tokens, and the numbers that a run reports beside it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The scalar to differentiate, `[1]`; it tracks gradients. Only its gradient is meaningful, not its value.
    pub total: Tensor<1>,
    /// The value of the loss, `[1]`; it tracks no gradients.
    pub value: Tensor<1>,
    /// Minus the log-likelihood of the targets, nats, `[1]`; it tracks no gradients.
    pub nll: Tensor<1>,
    /// The parts of the loss and other metrics, by name, `[1]` each; they track no gradients. The
    /// [module](self#metrics) lists the names.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

/// What a batch and a student must have for an objective. The trainer checks it before work starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The batches carry the teacher's log-probs ([`Scored::teacher`]).
    pub teacher: bool,
    /// The vocabulary of the student has a help token ([`TeacherTensors::help_token`](crate::TeacherTensors)).
    pub help_token: bool,
    /// The student has the heads V and V_C ([`Values`](wheels_student::Values)).
    pub value_heads: bool,
}

/// What training minimises: a pure function of a scored batch.
pub trait Objective: Send + Sync {
    /// What the batches and the student must have.
    fn requirements(&self) -> Requirements;

    /// Whether the help token is trained if the student has one.
    fn trains_help(&self) -> bool {
        self.requirements().help_token
    }

    /// The loss of a batch.
    ///
    /// It is a sum over the target tokens, not a mean, so that the losses of batches of unequal size can be added.
    ///
    /// # Panics
    /// If the batch or the student lacks something that [`requirements`](Self::requirements) names.
    fn loss(&self, scored: &Scored) -> Loss;
}
