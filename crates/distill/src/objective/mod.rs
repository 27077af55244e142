//! Training objectives, one per file.
//!
//! An [`Objective`] turns a scored batch into a [`Loss`]. Every objective of this module computes its gradient in
//! closed form, without autodiff, and multiplies the logits and values by it as a constant. Autodiff would pass over
//! the vocabulary, the largest dimension of training, several more times.
//!
//! # Terms
//!
//! The docs of this module use these terms:
//!
//! - a *word* is any token of the vocabulary except the help token;
//! - `p` is the student's distribution over words, and `p_T` is the teacher's;
//! - `z` is the log-odds of asking: the help logit minus the log-sum-exp of the words' logits;
//! - the *divergence* D is `KL(p || p_T)`, the reverse KL from the student to the teacher, with rewards clipped below;
//! - the *price* is the price of one helped token under the budget of a row, nats.
//!
//! # Metrics
//!
//! A training run reports these numbers at each step. An objective sums its loss and its parts over the target tokens
//! of a batch, and the run divides them by the number of target tokens in the step. A part of a loss has the name of
//! its weight in the objective's config, and is reported before it is multiplied by that weight.
//!
//! - `loss`, every run: the value of the objective. It is in nats per token for [`CrossEntropy`], [`ForwardKl`] and
//!   [`GeneralizedJsd`], and in squared nats per token for [`PathConsistency`]. For the others it is a weighted sum of
//!   parts.
//! - `nll`, every run, nats per token: minus the log-likelihood of the target tokens.
//! - `words`, [`AllActionConsistency`] and [`ConstrainedPath`], squared nats per token: `L_words`, one-step consistency
//!   over all words.
//! - `help`, [`AllActionConsistency`] with a help token and [`ConstrainedPath`], squared nats per token: `L_help`,
//!   Huber's loss of the log-odds of asking.
//! - `forward`, [`ConstrainedPath`], nats per token: the forward KL from the teacher to the student.
//! - `path`, [`ConstrainedPath`], squared nats per token: `L_path`, Huber's loss of the path residuals.
//! - `cost`, [`ConstrainedPath`], squared tokens per token: smooth L1 between V_C and the number of helped tokens still
//!   to come. Only rows that the student wrote greedily, as it will be deployed, contribute.
//! - `price`, [`ConstrainedPath`] with price prompts, squared nats: smooth L1 between the predicted and the true
//!   prices, averaged over the price prompts.
//! - `divergence`, [`AllActionConsistency`] and [`ConstrainedPath`], nats per token: D, averaged over the target
//!   tokens.
//! - `asked`, [`ConstrainedPath`], 0 to 1: the fraction of target tokens at which the student would ask (`z > 0`).
//! - `price N%`, rollouts with a help token, nats: the price of help at the budget level N%.
//! - `used N%`, rollouts with a help token, 0 to 1: the fraction of tokens that the teacher chose, at the budget level
//!   N%, in the student's greedy texts. A text counts for the nearest level. Its budget can differ from that level, so
//!   the number is N% plus the mean amount by which texts exceed their own budgets.
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
mod words;

use burn::tensor::Tensor;

use crate::Scored;

pub use all_action_consistency::{AllActionConsistency, HelpValue};
pub use constrained_path::ConstrainedPath;
pub use cross_entropy::CrossEntropy;
pub use forward_kl::ForwardKl;
pub use generalized_jsd::GeneralizedJsd;
pub use path_consistency::{PathConsistency, ValueSource};

/// A scalar whose gradient in `x` is `gradient`. Its value means nothing.
pub(crate) fn with_gradient<const D: usize>(x: &Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "cpu")]
    if let Some(scalar) = wheels_cpu::with_gradient(x, &gradient) {
        return scalar;
    }
    (x.clone() * Tensor::from_inner(gradient)).sum()
}

/// The loss of a batch, summed over its target tokens, and the other numbers that a run reports.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The scalar to differentiate, `[1]`; it tracks gradients. Its gradient is that of the loss, but its value means
    /// nothing.
    pub total: Tensor<1>,
    /// The value of the loss, `[1]`; it tracks no gradients.
    pub value: Tensor<1>,
    /// Minus the log-likelihood of the targets, nats, `[1]`; it tracks no gradients.
    pub nll: Tensor<1>,
    /// The parts of the loss and other metrics, by name, `[1]` each; they track no gradients. The
    /// [module](self#metrics) lists the names.
    pub parts: Vec<(&'static str, Tensor<1>)>,
}

/// What an objective needs from the batches and the student. The trainer checks it before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The batches have the teacher's log-probs ([`Scored::teacher`]).
    pub teacher: bool,
    /// The vocabulary of the student has a help token ([`TeacherTensors::help_token`](crate::TeacherTensors)).
    pub help_token: bool,
    /// The student has the heads V and V_C ([`Values`](wheels_student::Values)).
    pub value_heads: bool,
}

/// The part of a batch on which the loss at one position depends. A trainer that splits a batch into chunks splits no
/// such part ([`TrainerConfig::logits_bytes`](crate::TrainerConfig)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossScope {
    /// This position alone. A chunk can start and end anywhere in a text.
    Position,
    /// All positions of the text.
    Text,
    /// All positions of the text, and sums over the batch ([`Objective::batch_sums`]). If there are several chunks,
    /// these sums take one more pass over the logits.
    TextAndSums,
    /// The whole batch, which is never split.
    Batch,
}

/// A loss that training minimises: a pure function of a scored batch.
pub trait Objective: Send + Sync {
    /// What the objective needs from the batches and the student.
    fn requirements(&self) -> Requirements;

    /// Whether the objective trains the help token of a student that has one.
    fn trains_help(&self) -> bool {
        self.requirements().help_token
    }

    /// The part of a batch on which the loss at one position depends.
    fn scope(&self) -> LossScope {
        LossScope::Batch
    }

    /// The sums over the target tokens on which the loss depends, if the [`scope`](Self::scope) is
    /// [`TextAndSums`](LossScope::TextAndSums). They track no gradients. The trainer adds those of all chunks, and
    /// passes them to [`loss`](Self::loss) in [`Scored::batch_sums`].
    fn batch_sums(&self, scored: &Scored) -> Option<Tensor<1>> {
        let _ = scored;
        None
    }

    /// The loss of a batch or of a chunk of one.
    ///
    /// It is a sum over the target tokens, not a mean, so that the losses of chunks, and of batches of unequal size, can
    /// be added.
    ///
    /// # Panics
    /// If the batch or the student lacks something that [`requirements`](Self::requirements) names.
    fn loss(&self, scored: &Scored) -> Loss;
}
