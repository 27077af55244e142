//! One-step path consistency over all words and the help action.

use burn::config::Config;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::distributions::{Distributions, HelpAction};
use super::loss_term::{LossTerm, huber};
use super::shift::shift_left;
use super::{Loss, LossScope, Objective, Requirements};
use crate::Scored;

/// One-step path consistency over all words and the help action (our derivation).
///
/// It uses the teacher's whole distribution at each position. [`PathConsistency`](super::PathConsistency) uses only the
/// token of the text there. With the rewards `r(a) = max(log p_T(a), reward_floor)`,
///
/// ```text
/// delta(a) = r(a) - log p(a)
/// u        = sum_a p(a) delta(a)
/// D        = -u
/// L_words  = 1/2 sum_a sg(p(a)) (delta(a) - sg(u))^2
/// L_help   = huber(z - sg[ min(W, help_value_cap) - price ])
/// L        = sum_t [ L_words + help L_help ]
/// ```
///
/// - `sg` stops gradients.
/// - `z` is the log-odds of asking: the help logit minus the log-sum-exp of the words' logits. No gradient flows
///   through that log-sum-exp.
/// - `D` is the divergence: the reverse KL from the student to the teacher, with clipped rewards.
/// - `W` is the value of help. It is `D` by default; [`HelpValue`] lists the alternatives.
///
/// The gradient of `L_words` equals that of the reverse KL. The target of `L_help` follows from the consistency
/// equation of help minus that of a word. At the optimum, `z = W - price`, if `W` is below its cap.
///
/// `L_help` is linear for errors above `help_huber`, because far from zero only the sign of `z` matters. With a squared
/// error, the smallest budgets would outweigh all others, because their prices are the largest.
#[derive(Config, Debug, Copy)]
pub struct AllActionConsistency {
    /// The weight of `L_help`. It has no effect on a student without a help token. If the student has heads, a small
    /// part of the gradient of `L_help` reaches the model below them ([`Student`](wheels_student::Student)). Otherwise
    /// all of it does.
    #[config(default = 0.5)]
    pub help: f64,
    /// The error above which `L_help` is linear, nats.
    #[config(default = 2.0)]
    pub help_huber: f64,
    /// The lowest reward, nats. Lower log-probs of the teacher count as this one.
    #[config(default = "-10.0")]
    pub reward_floor: f64,
    /// How the value of help, `W`, is measured.
    #[config(default = "HelpValue::Divergence")]
    pub help_value: HelpValue,
    /// The highest value of help, nats. Higher values count as this one.
    #[config(default = 10.0)]
    pub help_value_cap: f64,
}

/// How the value of help at a position is measured, before its price is subtracted. All values are in nats.
// This type derives serde itself, because burn's `Config` derive accepts no `serde` attributes. The aliases are earlier
// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelpValue {
    /// The divergence D, the reverse KL from the student to the teacher. It suits a student that samples.
    #[serde(alias = "Distance")]
    Divergence,
    /// What greedy decoding loses: the teacher's log-prob of its own most likely word, minus its log-prob of the
    /// student's most likely word. It is 0 if the two words are the same.
    Regret,
    /// 2 nats if the most likely words of the student and the teacher differ, and 0 if they are the same. The student
    /// then asks if the probability of a difference exceeds half the price.
    Disagreement,
    /// The weighted mean of D at this position and the next three. Each position has half the weight of the one before,
    /// and D is 0 after the end of the text. A wrong word often shows only in the words after it.
    #[serde(alias = "Ahead")]
    Lookahead,
}

/// The number of positions that [`HelpValue::Lookahead`] averages over.
const LOOKAHEAD: usize = 4;

impl Objective for AllActionConsistency {
    fn requirements(&self) -> Requirements {
        Requirements { teacher: true, ..Requirements::default() }
    }

    fn trains_help(&self) -> bool {
        true
    }

    fn scope(&self) -> LossScope {
        self.help_value.scope()
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let distributions = Distributions::new(scored);
        let (mut term, divergence) = words_loss(&distributions, self.reward_floor);
        let mut parts =
            vec![("words", term.value.clone()), ("divergence", distributions.masked_sum(divergence.clone()))];
        if let Some(help) = &distributions.help {
            let help_value = self.help_value.measure(&distributions, &divergence).clamp_max(self.help_value_cap);
            let help_term = help_loss(&distributions, help, help_value, self.help_huber);
            parts.push(("help", help_term.value.clone()));
            term = term.plus(help_term.times(self.help));
        }
        distributions.into_loss(scored, term, parts)
    }
}

/// `L_words`, and the divergence D at each position, nats, `[n, 1]`.
pub(crate) fn words_loss(distributions: &Distributions, reward_floor: f64) -> (LossTerm, Tensor<2>) {
    // In the equations of `AllActionConsistency`, the excess of a word is -delta(a).
    let [divergence, variance] = distributions.words.reverse_kl(reward_floor);
    let one = divergence.ones_like();
    let term = LossTerm {
        policy: Some(divergence.clone().neg()),
        excess: Some((one, reward_floor)),
        ..LossTerm::new(distributions.masked_sum(variance * 0.5))
    };
    (term, divergence)
}

/// `L_help` for the given values of help, nats, `[n, 1]`.
pub(super) fn help_loss(
    distributions: &Distributions,
    help: &HelpAction,
    help_value: Tensor<2>,
    threshold: f64,
) -> LossTerm {
    let error = help.log_odds.clone() - (help_value - help.price.clone());
    let (value, gradient) = huber(error * distributions.mask.clone(), threshold);
    LossTerm { help: Some(gradient), ..LossTerm::new(value) }
}

impl HelpValue {
    /// The part of a batch on which the value of help at one position depends.
    pub(super) fn scope(self) -> LossScope {
        match self {
            Self::Divergence | Self::Regret | Self::Disagreement => LossScope::Position,
            Self::Lookahead => LossScope::Text,
        }
    }

    /// The value of help at each position, given the divergence there, nats.
    ///
    /// # Shapes
    /// `[n, 1]` to `[n, 1]`.
    pub(super) fn measure(self, distributions: &Distributions, divergence: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Divergence => divergence.clone(),
            Self::Regret => regret(distributions),
            Self::Disagreement => regret(distributions).greater_scalar(0.0).float() * 2.0,
            Self::Lookahead => lookahead(distributions, divergence),
        }
    }
}

/// The value of [`HelpValue::Regret`], nats, `[n, 1]`.
pub(crate) fn regret(distributions: &Distributions) -> Tensor<2> {
    let words = &distributions.words;
    words.teacher_log_probs().max_dim(1) - words.teacher_log_probs_of(words.best())
}

/// The value of [`HelpValue::Lookahead`], nats, `[n, 1]`.
fn lookahead(distributions: &Distributions, divergence: &Tensor<2>) -> Tensor<2> {
    let by_row = distributions.unflatten(divergence.clone() * distributions.mask.clone());
    let weights: [f64; LOOKAHEAD] = std::array::from_fn(|step| 0.5_f64.powi(step as i32));
    let total: f64 = weights.iter().sum();
    let mut mean = shift_left(&by_row, 0) * (weights[0] / total);
    for (step, weight) in weights.iter().enumerate().skip(1) {
        mean = mean + shift_left(&by_row, step) * (weight / total);
    }
    mean.reshape(divergence.dims())
}
