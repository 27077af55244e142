//! One-step path consistency over all words and help at once.

use burn::config::Config;
use burn::tensor::Tensor;

use super::laws::{Help, Laws, Term, huber};
use super::{Loss, Objective};
use crate::Scored;

/// Path consistency of one step with the teacher's whole law at hand, in place of a sampled word (our derivation): with
/// the rewards `r(a) = max(log p_T(a), reward_floor)`,
///
/// ```text
/// delta(a) = r(a) - log p(a),   u = sum_a p(a) delta(a)
/// L_words  = 1/2 sum_a sg(p(a)) (delta(a) - sg(u))^2
/// L_help   = huber(z - sg[ min(D, distance_cap) - price ]),   D = -u
/// ```
///
/// where `sg` stops gradients and `z` is the help logit minus the log-sum-exp of the words' logits, through which no
/// gradient flows. The gradient of `L_words` is that of the reverse KL; `L_help` is the difference of the consistency
/// equations of a word and of help, whose optimum are log-odds of `D - price`. It grows linearly from `help_huber` on: far
/// from zero only the sign of `z` matters, and budgets near nothing would outweigh all others.
#[derive(Config, Debug, Copy)]
pub struct AllActionConsistency {
    /// The weight of `L_help`; without a help column it is not there. It is small so that the body of the model bends to
    /// its words; the help row itself moves as fast as with any other weight, because Adam scales its steps.
    #[config(default = 0.05)]
    pub help: f64,
    /// The error from which `L_help` grows linearly, nats.
    #[config(default = 2.0)]
    pub help_huber: f64,
    /// The least reward, nats.
    #[config(default = "-10.0")]
    pub reward_floor: f64,
    /// The largest distance that counts, nats.
    #[config(default = 10.0)]
    pub distance_cap: f64,
}

impl Objective for AllActionConsistency {
    fn loss(&self, scored: &Scored) -> Loss {
        let laws = Laws::new(scored);
        let (mut term, distance) = words(&laws, self.reward_floor);
        let mut parts = vec![("words", term.value.clone()), ("distance", laws.sum(distance.clone()))];
        if let Some(wish) = &laws.help {
            let asked = help(&laws, wish, distance.clamp_max(self.distance_cap), self.help_huber);
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

/// `L_help`.
pub(super) fn help(laws: &Laws, help: &Help, distance: Tensor<2>, bound: f64) -> Term {
    let error = help.log_odds.clone() - (distance - help.price.clone());
    let (value, slope) = huber(error * laws.mask.clone(), bound);
    Term { value, slope: slope * help.column.clone() }
}
