//! Path consistency over several steps.

use burn::config::Config;
use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{IndexingUpdateOp, Tensor};

use super::laws::{Laws, Term, earlier, huber};
use super::{Loss, Objective};
use crate::{Guided, Scored};

/// Path Consistency Learning (Nachum et al. 2017, arXiv 1702.08892, equation 15) on sub-paths of `length` steps, whoever
/// chose their words:
///
/// ```text
/// R_t = -V(s_t) + V(s_{t+d}) + sum_{i=t}^{t+d-1} [ r_i - k - alpha log pi(a_i | s_i) ]
/// L   = sum_t huber(R_t)
/// ```
///
/// A word's reward `r` is the teacher's log-probability, clipped below, and that of help is minus its price; `pi` is the
/// law over words and help. `k = alpha log(1 + exp(-price / alpha))` makes the reference measure of a step sum to 1,
/// without which long texts would be rewarded (our derivation). V is 0 after the end mark; what a limit of length cut
/// off counts only in sub-paths before the cut. The gradient flows through `log pi` and both values; with a target
/// network ([`TrainerConfig::target_decay`](crate::TrainerConfig)) V at the end of a sub-path is that network's, and
/// the gradient flows through the other.
///
/// Unlike the paper's, the residual is not squared beyond `huber` nats, and with `centred` the mean of the step terms
/// is taken off them: from a warm start every reward is negative, and the values would have to learn that first.
#[derive(Config, Debug, Copy)]
pub struct PathConsistency {
    /// Steps of a sub-path, d.
    #[config(default = 4)]
    pub length: usize,
    /// The temperature of the entropy term, alpha.
    #[config(default = 1.0)]
    pub alpha: f64,
    /// The residual from which the loss grows linearly, nats.
    #[config(default = 1.0)]
    pub huber: f64,
    /// The least reward, nats.
    #[config(default = "-10.0")]
    pub reward_floor: f64,
    /// Whether the mean of the step terms in a batch is taken off them.
    #[config(default = true)]
    pub centred: bool,
    /// Where V is read.
    #[config(default = "ValueSource::Head")]
    pub value: ValueSource,
}

/// Where the value V of a state is read.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// From a head of its own.
    Head,
    /// From the logits: `alpha log sum_a exp(logit(a) / alpha)` (unified PCL, section 4.2 of the paper); alpha is 1.
    Unified,
}

/// A path loss, with its slope in the values where a head gives them, `[batch, time]`.
pub(super) struct PathTerm {
    pub(super) term: Term,
    pub(super) values: Option<Tensor<2>>,
}

impl Objective for PathConsistency {
    fn loss(&self, scored: &Scored) -> Loss {
        let laws = Laws::new(scored);
        let PathTerm { term, values } = self.term(&laws, scored);
        let mut loss = laws.loss(scored, term, vec![]);
        if let Some(slope) = values {
            loss.total = loss.total + (head(scored) * Tensor::from_inner(slope)).sum();
        }
        loss
    }
}

impl PathConsistency {
    pub(super) fn term(&self, laws: &Laws, scored: &Scored) -> PathTerm {
        let (mask, alpha) = (laws.grid(laws.mask.clone()), self.alpha);
        let guided = scored.guided.as_ref().expect("laws need them");
        let value = self.value(laws, scored) * mask.clone();
        let end = match &scored.target {
            Some(target) => self.value(&Laws::new(target), target) * mask.clone(),
            None => value.clone(),
        };
        let mut step = laws.grid(self.steps(laws)) * mask.clone();
        if self.centred {
            let mean = step.clone().sum() / mask.clone().sum();
            step = (step - mean.unsqueeze::<2>()) * mask.clone();
        }
        let d = self.length;
        let window = (0..d).fold(step.zeros_like(), |sum, k| sum + earlier(&step, k));
        let known = self.known(&mask, guided);
        let residual = (earlier(&end, d) - value + window) * known;
        let (loss, pull) = huber(residual, self.huber);

        let by_step = (0..d).fold(pull.zeros_like(), |sum, k| sum + later(&pull, k)) * mask.clone();
        let by_value = match &scored.target {
            Some(_) => pull.neg(),
            None => later(&pull, d) - pull,
        } * mask;
        let mut slope = self.policy_slope(laws, by_step * -alpha);
        let values = match self.value {
            ValueSource::Head => Some(by_value),
            ValueSource::Unified => {
                slope = slope + joint(laws) * by_value.reshape([-1, 1]);
                None
            }
        };
        PathTerm { term: Term { value: loss, slope }, values }
    }

    /// V, `[batch, time]`.
    fn value(&self, laws: &Laws, scored: &Scored) -> Tensor<2> {
        match self.value {
            ValueSource::Head => head(scored).without_autodiff(),
            ValueSource::Unified => laws.grid(laws.normaliser.clone() + laws.log_open()),
        }
    }

    /// `r - k - alpha log pi(a)` of the actions taken, `[n, 1]`.
    fn steps(&self, laws: &Laws) -> Tensor<2> {
        let open = laws.log_open();
        let word = laws.teacher.clone().gather(1, laws.targets.clone()).clamp_min(self.reward_floor)
            - (laws.target_log_probs() - open.clone()) * self.alpha;
        let Some(help) = &laws.help else { return word };
        let asked = help.price.clone().neg() - (help.log_odds.clone() - open) * self.alpha;
        let charge = softplus(help.price.clone() / -self.alpha, 1.0) * self.alpha;
        word.clone() + (asked - word) * help.helped.clone() - charge
    }

    /// 1 at the first position of every sub-path whose last value is known, `[batch, time]`.
    fn known(&self, mask: &Tensor<2>, guided: &Guided) -> Tensor<2> {
        let inside = earlier(mask, self.length);
        mask.clone() * (inside.clone() + (inside.neg() + 1.0) * guided.ended.clone())
    }

    /// The slope in the logits where `log pi` of the action at each position weighs `weight`, `[batch, time]`.
    fn policy_slope(&self, laws: &Laws, weight: Tensor<2>) -> Tensor<2> {
        let weight = weight.reshape([-1, 1]);
        let slope = joint(laws).neg() * weight.clone();
        match &laws.help {
            None => slope.scatter(1, laws.targets.clone(), weight, IndexingUpdateOp::Add),
            Some(help) => {
                let word = weight.clone() * (help.helped.clone().neg() + 1.0);
                let slope = slope.scatter(1, laws.targets.clone(), word, IndexingUpdateOp::Add);
                slope + weight * help.helped.clone() * help.column.clone()
            }
        }
    }
}

/// The law over words and help, `[n, vocab]`.
fn joint(laws: &Laws) -> Tensor<2> {
    match &laws.help {
        None => laws.probs.clone(),
        Some(help) => {
            let asked = sigmoid(help.log_odds.clone());
            laws.probs.clone() * (asked.clone().neg() + 1.0) + asked * help.column.clone()
        }
    }
}

/// V as its head gives it, `[batch, time]`, tracked where the model is.
fn head(scored: &Scored) -> Tensor<2> {
    scored.values.as_ref().expect("this objective needs a student with value heads").value.clone()
}

/// What stands `steps` positions earlier in each row, pushed to here; 0 before the start.
fn later(values: &Tensor<2>, steps: usize) -> Tensor<2> {
    let [batch, time] = values.dims();
    let steps = steps.min(time);
    let gap = Tensor::zeros([batch, steps], &values.device());
    if steps == time { gap } else { Tensor::cat(vec![gap, values.clone().narrow(1, 0, time - steps)], 1) }
}
