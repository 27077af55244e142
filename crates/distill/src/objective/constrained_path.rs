//! The objective for a student that asks for help under a budget.

use burn::config::Config;
use burn::tensor::Tensor;

use super::all_action_consistency::{help_loss, words_loss};
use super::distributions::{Distributions, HelpAction};
use super::forward_kl::forward_kl;
use super::loss_term::huber;
use super::path_consistency::PathTerm;
use super::{HelpValue, Loss, LossScope, Objective, PathConsistency, Requirements, with_gradient};
use crate::{PriceTargets, Scored, TeacherTensors};

/// The complete objective for a student that asks for help under a budget (our derivation).
///
/// It is the weighted sum of losses for the words, for help, for paths, for the forecast of help, and for the price
/// head:
///
/// ```text
/// L = words L_words + help L_help + forward KL(p_T || p) + path L_path
///   + cost sum_t smoothL1(V_C(s_t), C_t) + price T mean_x' smoothL1(price_head(x'), price(x'))
/// ```
///
/// - `L_words` and `L_help` are those of [`AllActionConsistency`](super::AllActionConsistency).
/// - `L_path` is [`PathConsistency`].
/// - `C_t` is the number of helped tokens from position t on. V_C is trained only on rows that the student wrote
///   greedily, as it will be deployed, because other rows use help differently.
/// - The price in `L_help` and `L_path` is part of each row. [`Rollouts`](crate::Rollouts) sets it, with one Lagrange
///   multiplier per budget level.
/// - The price head predicts the price of help from the words that state the budget. It is trained on the prompts x' of
///   [`PricePrompts`](crate::PricePrompts). Their mean loss is multiplied by T, the number of target tokens, because
///   all other losses are sums over these tokens. `L_help` alone would not suffice: it trains only the difference
///   between D and the price, and the noise of D hides the differences between the prices of budgets that are 10%
///   apart.
#[derive(Config, Debug)]
pub struct ConstrainedPath {
    /// The weight of `L_words`.
    #[config(default = 0.3)]
    pub words: f64,
    /// The weight of `L_help`.
    #[config(default = 0.5)]
    pub help: f64,
    /// The error above which `L_help` is linear, nats.
    #[config(default = 2.0)]
    pub help_huber: f64,
    /// The weight of the forward KL.
    #[config(default = 1.0)]
    pub forward: f64,
    /// The weight of `L_path`.
    #[config(default = 0.1)]
    pub path: f64,
    /// The weight of the loss of V_C, the forecast of the helped tokens still to come.
    #[config(default = 0.05)]
    pub cost: f64,
    /// The weight of the loss of the price head.
    #[config(default = 5.0)]
    pub price: f64,
    /// How the value of help is measured.
    #[config(default = "HelpValue::Divergence")]
    pub help_value: HelpValue,
    /// The highest value of help, nats. Higher values count as this one.
    #[config(default = 10.0)]
    pub help_value_cap: f64,
    /// The sub-paths of `L_path`. Their `reward_floor` applies to `L_words` and to D as well.
    #[config(default = "PathConsistency::new()")]
    pub paths: PathConsistency,
}

impl Objective for ConstrainedPath {
    fn requirements(&self) -> Requirements {
        Requirements { teacher: true, help_token: true, value_heads: true }
    }

    fn scope(&self) -> LossScope {
        self.paths.scope()
    }

    fn batch_sums(&self, scored: &Scored) -> Option<Tensor<1>> {
        self.paths.batch_sums(scored)
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let distributions = Distributions::new(scored);
        let teacher = scored.teacher.as_ref().expect("the trainer checks requirements: the batches have a teacher");
        let help = distributions.help.as_ref().expect("the trainer checks requirements: there is a help token");
        let values = scored.values.as_ref().expect("the trainer checks requirements: the student has value heads");

        // Each term has a gradient of the size of the logits, so it is added before the next one is computed.
        let mut parts = Vec::new();
        let (words, divergence) = words_loss(&distributions, self.paths.reward_floor);
        parts.push(("words", words.value.clone()));
        let mut term = words.times(self.words);
        let help_value = self.help_value.measure(&distributions, &divergence).clamp_max(self.help_value_cap);
        let help_term = help_loss(&distributions, help, help_value, self.help_huber);
        parts.push(("help", help_term.value.clone()));
        term = term.plus(help_term.times(self.help));
        let forward = forward_kl(&distributions);
        parts.push(("forward", forward.value.clone()));
        term = term.plus(forward.times(self.forward));
        let PathTerm { term: paths, value_gradient } = self.paths.path_term(&distributions, scored);
        parts.push(("path", paths.value.clone()));
        term = term.plus(paths.times(self.path));
        let (cost, cost_gradient) = cost_loss(&distributions, teacher, values.cost.clone().without_autodiff());
        parts.extend([
            ("cost", cost.clone()),
            ("divergence", distributions.masked_sum(divergence)),
            ("asked", distributions.masked_sum(would_ask(help))),
        ]);
        let price = scored.price_targets.as_ref().map(price_loss);
        parts.extend(price.iter().map(|(value, _)| ("price", value.clone())));

        let mut loss = distributions.into_loss(scored, term, parts);
        loss.value = loss.value + cost * self.cost;
        if let Some(gradient) = value_gradient {
            loss.total = loss.total + with_gradient(&values.value, gradient * self.path);
        }
        loss.total = loss.total + with_gradient(&values.cost, cost_gradient * self.cost);
        if let Some((targets, (value, gradient))) = scored.price_targets.as_ref().zip(price) {
            loss.value = loss.value + value * self.price;
            loss.total = loss.total + with_gradient(&targets.predicted, gradient * self.price);
        }
        loss
    }
}

/// 1 if the student would ask, and 0 otherwise, `[n, 1]`.
fn would_ask(help: &HelpAction) -> Tensor<2> {
    help.log_odds.clone().greater_scalar(0.0).float()
}

/// Smooth L1 between V_C (`forecast`) and the number of helped tokens still to come, and its gradient in V_C.
///
/// # Shapes
/// `forecast` and the gradient are `[batch, time]`.
fn cost_loss(distributions: &Distributions, teacher: &TeacherTensors, forecast: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
    let helped = teacher.helped.clone();
    // The tokens from position t on: all helped tokens, minus those up to t, plus the one at t.
    let to_come = helped.clone().sum_dim(1) - helped.clone().cumsum(1) + helped;
    let counted = distributions.unflatten(distributions.mask.clone()) * teacher.deployed.clone();
    let error = (forecast - to_come) * counted;
    huber(error, 1.0)
}

/// Smooth L1 between the predicted prices and the true ones, and its gradient in the predictions, `[prompts, 1]`. Both
/// are the mean over prompts, multiplied by the number of target tokens.
fn price_loss(targets: &PriceTargets) -> (Tensor<1>, Tensor<2>) {
    let tokens_per_prompt = targets.batch_tokens as f64 / targets.price.dims()[0] as f64;
    let (value, gradient) = huber(targets.predicted.clone().without_autodiff() - targets.price.clone(), 1.0);
    (value * tokens_per_prompt, gradient * tokens_per_prompt)
}
