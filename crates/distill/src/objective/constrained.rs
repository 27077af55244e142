//! Path consistency with a help token under a budget.

use burn::config::Config;
use burn::tensor::Tensor;

use super::laws::{Laws, huber};
use super::{HelpWorth, Loss, Objective, PathConsistency, all_action, forward};
use crate::Scored;

/// The whole recipe: words, help, paths, the teacher's law, and a forecast of help (our derivation):
///
/// ```text
/// L = words L_words + help L_help + forward KL(p_T || p) + path L_path + cost smoothL1(V_C(s_t), C_t)
///   + price smoothL1(price(x'), price)
/// ```
///
/// `L_words` and `L_help` are those of [`AllActionConsistency`](super::AllActionConsistency), `L_path` is
/// [`PathConsistency`]. `C_t` counts the helped tokens from position t on; V_C is fitted only on rows that the student
/// wrote under the deployed rule, because sampled rows use help otherwise. The price of help comes with each row: the
/// trainer's multipliers set it. What a student reads in the words of a budget is fitted to them on prompts x' of a
/// [`Rehearsal`](crate::Rehearsal), as many as there are tokens by weight: `L_help` fits only the difference of D and the
/// price, and the noise of D hides what ten percent more or less cost.
#[derive(Config, Debug)]
pub struct ConstrainedPath {
    /// Weight of `L_words`.
    #[config(default = 0.3)]
    pub words: f64,
    /// Weight of `L_help`.
    #[config(default = 0.5)]
    pub help: f64,
    /// The error from which `L_help` grows linearly, nats.
    #[config(default = 2.0)]
    pub help_huber: f64,
    /// Weight of the forward KL.
    #[config(default = 1.0)]
    pub forward: f64,
    /// Weight of `L_path`.
    #[config(default = 0.1)]
    pub path: f64,
    /// Weight of the forecast's loss.
    #[config(default = 0.05)]
    pub cost: f64,
    /// Weight of the price's loss.
    #[config(default = 5.0)]
    pub price: f64,
    /// What help is worth.
    #[config(default = "HelpWorth::Distance")]
    pub worth: HelpWorth,
    /// The largest worth that counts, nats.
    #[config(default = 10.0)]
    pub worth_cap: f64,
    /// The sub-paths.
    #[config(default = "PathConsistency::new()")]
    pub paths: PathConsistency,
}

impl Objective for ConstrainedPath {
    fn loss(&self, scored: &Scored) -> Loss {
        let laws = Laws::new(scored);
        let floor = self.paths.reward_floor;
        let help = laws.help.as_ref().expect("this objective needs a student with a help token");
        let values = scored.values.as_ref().expect("this objective needs a student with value heads");

        let (words, distance) = all_action::words(&laws, floor);
        let worth = self.worth.of(&laws, &distance).clamp_max(self.worth_cap);
        let asking = all_action::help(&laws, help, worth, self.help_huber);
        let forward = forward::term(&laws);
        let paths = self.paths.term(&laws, scored);
        let (cost, cost_slope) = self.cost(&laws, scored);
        let mut parts = vec![
            ("words", words.value.clone()),
            ("help", asking.value.clone()),
            ("forward", forward.value.clone()),
            ("path", paths.term.value.clone()),
            ("cost", cost.clone()),
            ("distance", laws.sum(distance)),
            ("asked", laws.sum(help.log_odds.clone().greater_scalar(0.0).float())),
        ];
        let term = words
            .times(self.words)
            .plus(asking.times(self.help))
            .plus(forward.times(self.forward))
            .plus(paths.term.times(self.path));
        let tokens = laws.sum(laws.mask.ones_like());
        let priced = scored.priced.as_ref().map(|priced| {
            let each = tokens / priced.price.dims()[0] as f64;
            let (value, slope) = huber(priced.said.clone().without_autodiff() - priced.price.clone(), 1.0);
            (value * each.clone(), slope * each.unsqueeze())
        });
        parts.extend(priced.iter().map(|(value, _)| ("priced", value.clone())));
        let mut loss = laws.loss(scored, term, parts);
        loss.value = loss.value + cost * self.cost;
        if let Some(slope) = paths.values {
            loss.total = loss.total + (values.value.clone() * Tensor::from_inner(slope * self.path)).sum();
        }
        loss.total = loss.total + (values.cost.clone() * Tensor::from_inner(cost_slope * self.cost)).sum();
        if let Some((read, (value, slope))) = scored.priced.as_ref().zip(priced) {
            loss.value = loss.value + value * self.price;
            loss.total = loss.total + (read.said.clone() * Tensor::from_inner(slope * self.price)).sum();
        }
        loss
    }
}

impl ConstrainedPath {
    /// Smooth L1 between V_C and the help still to come, and its slope in V_C, `[batch, time]`.
    fn cost(&self, laws: &Laws, scored: &Scored) -> (Tensor<1>, Tensor<2>) {
        let guided = scored.guided.as_ref().expect("laws need them");
        let forecast = scored.values.as_ref().expect("checked").cost.clone().without_autodiff();
        let helped = guided.helped.clone();
        // What is still to come is all of it less what came before.
        let to_come = helped.clone().sum_dim(1) - helped.clone().cumsum(1) + helped;
        let counted = laws.grid(laws.mask.clone()) * guided.deployed.clone();
        let error = (forecast - to_come) * counted;
        huber(error, 1.0)
    }
}
