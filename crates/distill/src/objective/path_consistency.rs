//! Path consistency over several steps.

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softplus};

use super::distributions::Distributions;
use super::loss_term::{LossTerm, huber};
use super::shift::{shift_left, shift_right};
use super::{Loss, LossScope, Objective, Requirements, with_gradient};
use crate::{Scored, TeacherTensors};

/// Path Consistency Learning (PCL; Nachum et al. 2017, arXiv 1702.08892, equation 15) on sub-paths of d = `length`
/// steps.
///
/// ```text
/// R_t    = -V(s_t) + V(s_{t+d}) + sum_{i=t}^{t+d-1} [ r_i - k - alpha log pi(a_i | s_i) ]
/// L_path = sum_t huber(R_t)
/// ```
///
/// - The reward `r` of a word is the teacher's log-prob of it, clipped below. The reward of help is minus its price.
/// - `pi` is the student's distribution over the words and help.
/// - `k = alpha log(1 + exp(-price / alpha))` is a charge for each step, 0 without a help token. With an alpha of 1 and
///   no clipping, it makes the weights `exp(r - k)` of all actions sum to 1. Without it they sum to more than 1, so
///   that long texts would be rewarded (our derivation).
/// - V is 0 after the end-of-text token. If a text was cut at the length limit, only sub-paths whose last state is
///   before the cut count.
///
/// At the optimum the residual is zero on every path, if the teacher answers with its most likely word. The writer of a
/// text therefore does not matter: it can be the student, the teacher or a reference.
///
/// The gradient flows through `log pi` and through both values. With a target network
/// ([`TrainerConfig::target_decay`](crate::TrainerConfig)), the value at the end of a sub-path comes from that network,
/// and the gradient flows through the value at the start only.
///
/// We differ from the paper in two ways:
/// 1. The loss of a residual is quadratic only up to `huber` nats, and linear beyond.
/// 2. With `centred`, the mean of the step terms is subtracted from them, as a constant. When training starts from a
///    trained model, every reward is negative, and the values would have to learn this mean first.
#[derive(Config, Debug, Copy)]
pub struct PathConsistency {
    /// The number of steps of a sub-path; d in the equation.
    #[config(default = 4)]
    pub length: usize,
    /// The temperature of the entropy term; alpha in the equation.
    #[config(default = 1.0)]
    pub alpha: f64,
    /// The residual above which the loss is linear, nats.
    #[config(default = 1.0)]
    pub huber: f64,
    /// The lowest reward, nats. Lower log-probs of the teacher count as this one.
    #[config(default = "-10.0")]
    pub reward_floor: f64,
    /// Whether the mean of the step terms of a batch is subtracted from them.
    #[config(default = true)]
    pub centred: bool,
    /// Where the value V comes from.
    #[config(default = "ValueSource::Head")]
    pub value: ValueSource,
}

/// Where the value V of a state comes from.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// A head on the student's hidden states ([`Values`](wheels_student::Values)).
    Head,
    /// The logits: `V = alpha log sum_a exp(logit(a) / alpha)` (unified PCL, section 4.2 of the paper). It is correct
    /// only with an alpha of 1.
    Unified,
}

/// The path loss with its gradients.
pub(super) struct PathTerm {
    /// The loss with its gradient in the logits.
    pub(super) term: LossTerm,
    /// The gradient in the values of the head, `[batch, time]`; `None` if the values come from the logits.
    pub(super) value_gradient: Option<Tensor<2>>,
}

impl Objective for PathConsistency {
    fn requirements(&self) -> Requirements {
        Requirements { teacher: true, help_token: false, value_heads: self.value == ValueSource::Head }
    }

    fn trains_help(&self) -> bool {
        true
    }

    fn scope(&self) -> LossScope {
        if self.centred { LossScope::TextAndSums } else { LossScope::Text }
    }

    /// The sum of the step terms and the number of target tokens, if the step terms are centred.
    fn batch_sums(&self, scored: &Scored) -> Option<Tensor<1>> {
        if !self.centred {
            return None;
        }
        let distributions = Distributions::new(scored);
        let mask = distributions.unflatten(distributions.mask.clone());
        let step = distributions.unflatten(self.step_terms(&distributions)) * mask.clone();
        Some(step_sums(&step, &mask))
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let distributions = Distributions::new(scored);
        let PathTerm { term, value_gradient } = self.path_term(&distributions, scored);
        let mut loss = distributions.into_loss(scored, term, vec![]);
        if let Some(gradient) = value_gradient {
            loss.total = loss.total + with_gradient(&head_values(scored), gradient);
        }
        loss
    }
}

impl PathConsistency {
    /// `L_path` with its gradients.
    pub(super) fn path_term(&self, distributions: &Distributions, scored: &Scored) -> PathTerm {
        let teacher = scored.teacher.as_ref().expect("the trainer checks requirements: the batches have a teacher");
        let mask = distributions.unflatten(distributions.mask.clone());
        let value = match self.value {
            ValueSource::Head => head_values(scored).without_autodiff(),
            ValueSource::Unified => unified_values(distributions),
        } * mask.clone();
        let end_value = match (&scored.target_network, self.value) {
            (None, _) => value.clone(),
            (Some(target), ValueSource::Head) => head_values(target).without_autodiff() * mask.clone(),
            (Some(target), ValueSource::Unified) => unified_values(&Distributions::new(target)) * mask.clone(),
        };
        let mut step = distributions.unflatten(self.step_terms(distributions)) * mask.clone();
        if self.centred {
            let sums = scored.batch_sums.clone().unwrap_or_else(|| step_sums(&step, &mask));
            let mean = sums.clone().narrow(0, 0, 1) / sums.narrow(0, 1, 1);
            step = (step - mean.unsqueeze::<2>()) * mask.clone();
        }

        // Forward pass: the residual of the sub-path that starts at each position.
        let mut path_sum = step.zeros_like();
        for offset in 0..self.length {
            path_sum = path_sum + shift_left(&step, offset);
        }
        let counted = self.counted_starts(&mask, teacher);
        let residual = (shift_left(&end_value, self.length) - value + path_sum) * counted;
        let (loss, residual_gradient) = huber(residual, self.huber);

        // Backward pass: a step is part of the sub-paths that start at it and at the `length - 1` positions before it.
        let mut step_gradient = residual_gradient.zeros_like();
        for offset in 0..self.length {
            step_gradient = step_gradient + shift_right(&residual_gradient, offset);
        }
        let step_gradient = step_gradient * mask.clone();
        let value_gradient = match &scored.target_network {
            Some(_) => residual_gradient.neg(),
            None => shift_right(&residual_gradient, self.length) - residual_gradient,
        } * mask;
        let mut term = LossTerm { value: loss, ..policy_term(distributions, step_gradient * -self.alpha) };
        let value_gradient = match self.value {
            ValueSource::Head => Some(value_gradient),
            ValueSource::Unified => {
                term = term.plus(unified_value_term(distributions, value_gradient));
                None
            }
        };
        PathTerm { term, value_gradient }
    }

    /// `r - k - alpha log pi(a)` of the actions taken, nats, `[n, 1]`.
    fn step_terms(&self, distributions: &Distributions) -> Tensor<2> {
        let no_help_nll = distributions.no_help_nll();
        let target_rewards = distributions.words.teacher_log_probs_of(distributions.targets.clone());
        let word = target_rewards.clamp_min(self.reward_floor)
            - (distributions.target_log_probs() - no_help_nll.clone()) * self.alpha;
        let Some(help) = &distributions.help else { return word };
        let helped = help.price.clone().neg() - (help.log_odds.clone() - no_help_nll) * self.alpha;
        let charge = softplus(help.price.clone() / -self.alpha, 1.0) * self.alpha;
        word.clone() + (helped - word) * help.helped.clone() - charge
    }

    /// 1 at the first position of every sub-path that counts, and 0 elsewhere, `[batch, time]`. A sub-path counts if
    /// its last state is inside the text, or if the text ended with the end-of-text token.
    fn counted_starts(&self, mask: &Tensor<2>, teacher: &TeacherTensors) -> Tensor<2> {
        let end_inside = shift_left(mask, self.length);
        mask.clone() * (end_inside.clone() + (end_inside.neg() + 1.0) * teacher.ended.clone())
    }
}

/// The gradient in the logits of `sum_t weight_t log pi(a_t | s_t)`, for the actions taken, with the value 0.
///
/// # Shapes
/// `weight` is `[batch, time]`.
fn policy_term(distributions: &Distributions, weight: Tensor<2>) -> LossTerm {
    // Minus pi, plus 1 at the action taken.
    let all = unified_value_term(distributions, weight.clone().neg());
    let weight = weight.reshape([-1, 1]);
    let taken = LossTerm::new(all.value.zeros_like());
    let taken = match &distributions.help {
        None => LossTerm { target: Some(weight), ..taken },
        Some(help) => {
            let helped = weight.clone() * help.helped.clone();
            LossTerm { target: Some(weight - helped.clone()), help: Some(helped), ..taken }
        }
    };
    all.plus(taken)
}

/// The gradient in the logits of `sum_t weight_t log sum_a exp(logit(a))`, with the value 0. The gradient of the
/// log-sum-exp is `pi`, the student's distribution over the words and help.
///
/// # Shapes
/// `weight` is `[batch, time]`.
fn unified_value_term(distributions: &Distributions, weight: Tensor<2>) -> LossTerm {
    let weight = weight.reshape([-1, 1]);
    let term = LossTerm::new(Tensor::zeros([1], &weight.device()));
    match &distributions.help {
        None => LossTerm { policy: Some(weight), ..term },
        Some(help) => {
            let ask = weight.clone() * sigmoid(help.log_odds.clone());
            LossTerm { policy: Some(weight - ask.clone()), help: Some(ask), ..term }
        }
    }
}

/// The sum of the step terms and the number of target tokens, `[2]`.
fn step_sums(step: &Tensor<2>, mask: &Tensor<2>) -> Tensor<1> {
    Tensor::cat(vec![step.clone().sum(), mask.clone().sum()], 0)
}

/// V from the logits, nats, `[batch, time]`.
fn unified_values(distributions: &Distributions) -> Tensor<2> {
    distributions.unflatten(distributions.words.normaliser.clone() + distributions.no_help_nll())
}

/// V from the student's head, nats, `[batch, time]`; it tracks gradients.
fn head_values(scored: &Scored) -> Tensor<2> {
    let values = scored.values.as_ref().expect("the trainer checks requirements: the student has value heads");
    values.value.clone()
}
