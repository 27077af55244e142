//! One-step path consistency over all words and help at once.

use burn::config::Config;
use burn::tensor::Tensor;

use super::laws::{Help, Laws, Term, earlier, huber};
use super::{Loss, Objective};
use crate::Scored;

/// Path consistency of one step with the teacher's whole law at hand, in place of a sampled word (our derivation): with
/// the rewards `r(a) = max(log p_T(a), reward_floor)`,
///
/// ```text
/// delta(a) = r(a) - log p(a),   u = sum_a p(a) delta(a)
/// L_words  = 1/2 sum_a sg(p(a)) (delta(a) - sg(u))^2
/// L_help   = huber(z - sg[ min(W, worth_cap) - price ]),   W = D = -u
/// ```
///
/// where `sg` stops gradients and `z` is the help logit minus the log-sum-exp of the words' logits, through which no
/// gradient flows. The gradient of `L_words` is that of the reverse KL; `L_help` is the difference of the consistency
/// equations of a word and of help, whose optimum are log-odds of `D - price`. It grows linearly from `help_huber` on: far
/// from zero only the sign of `z` matters, and budgets near nothing would outweigh all others. What help is worth, W, can
/// be the [`Regret`](HelpWorth::Regret) instead.
#[derive(Config, Debug, Copy)]
pub struct AllActionConsistency {
    /// The weight of `L_help`; without a help column it is not there. A student's heads pass little of it on to the model
    /// below them ([`Student`](wheels_lm::Student)); a bare row of the vocabulary passes on all.
    #[config(default = 0.5)]
    pub help: f64,
    /// The error from which `L_help` grows linearly, nats.
    #[config(default = 2.0)]
    pub help_huber: f64,
    /// The least reward, nats.
    #[config(default = "-10.0")]
    pub reward_floor: f64,
    /// What help is worth.
    #[config(default = "HelpWorth::Distance")]
    pub worth: HelpWorth,
    /// The largest worth that counts, nats.
    #[config(default = 10.0)]
    pub worth_cap: f64,
}

/// What help is worth to a student before its price.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum HelpWorth {
    /// D, the reverse KL from the student's law to the teacher's: for a student that samples.
    Distance,
    /// How much likelier the teacher's likeliest word is to the teacher than the student's, in nats: what a student that
    /// writes its likeliest word loses by it, nothing where the two agree.
    Regret,
    /// 2 nats where the two likeliest words differ, and nothing where they agree: the price is then twice the probability
    /// of that from which on it asks.
    Disagreement,
    /// The mean of D here and at the next three tokens of the text, each of which counts half as much as the one before: a
    /// word that leads astray shows in those after it.
    Ahead,
}

/// Tokens that [`HelpWorth::Ahead`] looks at.
const AHEAD: i32 = 4;

impl Objective for AllActionConsistency {
    fn loss(&self, scored: &Scored) -> Loss {
        let laws = Laws::new(scored);
        let (mut term, distance) = words(&laws, self.reward_floor);
        let mut parts = vec![("words", term.value.clone()), ("distance", laws.sum(distance.clone()))];
        if let Some(wish) = &laws.help {
            let worth = self.worth.of(&laws, &distance).clamp_max(self.worth_cap);
            let asked = help(&laws, wish, worth, self.help_huber);
            parts.push(("help", asked.value.clone()));
            term = term.plus(asked.times(self.help));
        }
        laws.loss(scored, term, parts)
    }
}

/// `L_words`; and D, the reverse KL with clipped rewards, nats, `[n, 1]`.
pub(crate) fn words(laws: &Laws, floor: f64) -> (Term, Tensor<2>) {
    let excess = laws.log_probs.clone() - laws.rewards(floor);
    let distance = (laws.probs.clone() * excess.clone()).sum_dim(1);
    let spread = excess - distance.clone();
    let slope = laws.probs.clone() * spread.clone();
    (laws.term((slope.clone() * spread).sum_dim(1) * 0.5, slope), distance)
}

impl HelpWorth {
    /// `[n, 1]`.
    pub(super) fn of(self, laws: &Laws, distance: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Distance => distance.clone(),
            Self::Regret => regret(laws),
            Self::Disagreement => regret(laws).greater_scalar(0.0).float() * 2.0,
            Self::Ahead => {
                let here = laws.grid(distance.clone() * laws.mask.clone());
                let weights = (0..AHEAD).map(|steps| 0.5_f64.powi(steps));
                let total: f64 = weights.clone().sum();
                let ahead = |(steps, weight)| earlier(&here, steps) * (weight / total);
                let sum = weights.enumerate().map(ahead).reduce(|sum, next| sum + next).expect("some");
                sum.reshape(distance.dims())
            }
        }
    }
}

/// What the student's likeliest word is worth less to the teacher than its own, nats, `[n, 1]`.
fn regret(laws: &Laws) -> Tensor<2> {
    let own = laws.probs.clone().argmax(1);
    laws.teacher.clone().max_dim(1) - laws.teacher.clone().gather(1, own)
}

/// `L_help`.
pub(super) fn help(laws: &Laws, help: &Help, worth: Tensor<2>, bound: f64) -> Term {
    let error = help.log_odds.clone() - (worth - help.price.clone());
    let (value, slope) = huber(error * laws.mask.clone(), bound);
    Term { value, slope: slope * help.column.clone() }
}
