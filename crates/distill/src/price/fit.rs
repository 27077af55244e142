//! The prices at the end of a run, and the price head that reads them from prompts.

use burn::config::Config;
use burn::module::{Module, ModuleDisplay};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use wheels_lm::LanguageModel;
use wheels_student::{Prices, Student};
use wheels_text::Seed;

use super::search;
use crate::config::check_fraction;
use crate::objective::with_gradient;
use crate::trainer::optimizer;
use crate::{Decay, DistillError, RolloutSampler, TrainerConfig, WorkProgress, Workers};

/// Half the width of the interval of budgets from which a [`slope`] is taken.
const SPAN: f64 = 0.02;
/// The largest [`slope`]: prices of large budgets may be the same.
const MAX_SLOPE: f64 = 2.0;

/// The configuration of [`RolloutSampler::fit_prices`].
#[derive(Config, Debug)]
pub struct PriceFitConfig {
    /// The number of texts that measure the help used at a price. With 0, the prices of the training remain. With few
    /// texts, other texts use other help: with 200, it differed by up to 3% of the tokens.
    #[config(default = 600)]
    pub texts: usize,
    /// The number of optimizer steps for the price head.
    #[config(default = 5_000)]
    pub steps: usize,
    /// The number of prompts in a step.
    #[config(default = 192)]
    pub prompts: usize,
    /// The fraction of the prompts whose budget is a number of tokens, 0 to 1. The price of such a budget depends on the
    /// length of the text too, so the price head needs more of them than the training draws.
    #[config(default = 0.5)]
    pub token_budget_fraction: f64,
    /// The largest learning rate.
    #[config(default = 2e-3)]
    pub learning_rate: f64,
}

impl PriceFitConfig {
    /// Checks the config, which [`RolloutSampler::fit_prices`] would do only after the training.
    ///
    /// # Errors
    /// [`DistillError::Fraction`] if the fraction of budgets in tokens is not from 0 to 1.
    pub fn check(&self) -> Result<(), DistillError> {
        check_fraction("PriceFitConfig::token_budget_fraction", self.token_budget_fraction)
    }
}

impl<T: LanguageModel + Sync> RolloutSampler<'_, T> {
    /// Finds the prices with which a trained student uses its budgets, and trains its price head alone to read them from
    /// prompts. Nothing else of the student changes.
    ///
    /// While a student trains, its prices move, and its price head follows them from afar. Here they stay. They are found
    /// with the pairs of this sampler, which should not be those of the training: teacher and student differ less there.
    /// The prompts state budgets as those of the training do: the percentages and the wordings that were held out
    /// remain so.
    ///
    /// # Errors
    /// Those of prompts and of decoding, and of [`PriceFitConfig::check`]. [`DistillError::CacheNeedsTeacher`] if there is
    /// only a cache of the teacher.
    ///
    /// # Panics
    /// If the student has no heads.
    pub fn fit_prices<M>(
        &self,
        student: &Student<M>,
        config: &PriceFitConfig,
        workers: &Workers,
        on_progress: &mut dyn FnMut(WorkProgress),
    ) -> Result<(Student<M>, Prices), DistillError>
    where
        M: LanguageModel + Module + ModuleDisplay + Sync,
    {
        config.check()?;
        let prices = search(self, student, config.texts, workers, on_progress)?;
        let seed = Seed(self.config().seed).stream("price-fit");
        let schedule = TrainerConfig::new(config.steps)
            .with_learning_rate(config.learning_rate)
            .with_warmup_steps(config.steps / 25)
            .with_decay(Decay::Linear);
        let mut optimizer = optimizer(&schedule);
        let mut student = student.clone().valid().train();
        for step in 0..config.steps {
            let rng = &mut seed.nth(step as u64).rng();
            let (prompts, budgets) = self.budget_prompts(config.prompts, config.token_budget_fraction, rng)?;
            let predicted = student.prices(&prompts).expect("a student with heads");
            let gradients = with_gradient(&predicted, loss_gradient(&predicted, &budgets, &prices)).backward();
            let gradients = GradientsParams::from_grads(gradients, &student);
            student = optimizer.step(schedule.learning_rate_at(step + 1), student, gradients);
            on_progress(WorkProgress { work: "price head", done: step + 1, total: config.steps });
        }
        Ok((student.valid(), prices))
    }
}

/// The gradient of the mean smooth L1 between the budgets for which help has the predicted prices and the stated ones, percent,
/// in the predictions `[prompts, 1]`.
///
/// An error of the price of a large budget, 0.1 nats or so, changes the use of help by many percent, and that of a small budget
/// by less than one. So an error is multiplied by the slope of the budget over the price.
fn loss_gradient(predicted: &Tensor<2>, budgets: &[f64], prices: &Prices) -> Tensor<2> {
    let predicted = predicted.clone().without_autodiff();
    let column = |of: &dyn Fn(f64) -> f64| {
        let values: Vec<f32> = budgets.iter().map(|&budget| of(budget) as f32).collect();
        Tensor::<2>::from_data(TensorData::new(values, [budgets.len(), 1]), &predicted.device())
    };
    let slopes = column(&|budget| 100.0 * slope(prices, budget));
    let errors = (predicted.clone() - column(&|budget| prices.price(budget))) * slopes.clone();
    errors.clamp(-1.0, 1.0) * slopes / budgets.len() as f64
}

/// How much smaller the budget is for which help costs one nat more, from the prices of the budgets around this one.
fn slope(prices: &Prices, budget: f64) -> f64 {
    let (low, high) = ((budget - SPAN).max(0.0), (budget + SPAN).min(1.0));
    let nats = (prices.price(low) - prices.price(high)).max(0.0);
    ((high - low) / nats.max(f64::EPSILON)).min(MAX_SLOPE)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use wheels_student::LagrangeMultiplier;

    use super::*;

    fn prices() -> Prices {
        let level = |budget, price| LagrangeMultiplier { budget, price };
        Prices::new(vec![level(0.0, 10.0), level(0.5, 5.0), level(0.9, 4.0), level(1.0, 4.0)]).expect("they rise")
    }

    #[test]
    fn a_slope_is_the_change_of_the_budget_per_nat() {
        let prices = prices();
        for (budget, expected) in [(0.0, 0.1), (0.2, 0.1), (0.7, 0.4), (1.0, MAX_SLOPE)] {
            assert!((slope(&prices, budget) - expected).abs() < 1e-9, "{budget}: {}", slope(&prices, budget));
        }
    }

    #[test]
    fn an_error_counts_in_percent_of_the_budget() {
        // 0.04 nats are 0.4% at a budget of 20%, and 2 nats are 80% at 70%: more than 1%, from where on the loss is linear.
        let predicted = Tensor::<2>::from_floats([[8.04], [2.5]], &Device::flex());
        let gradient = loss_gradient(&predicted, &[0.2, 0.7], &prices()).into_data().try_to_vec::<f32>().expect("f32");
        for (found, expected) in gradient.iter().zip([0.4 * 10.0 / 2.0, -40.0 / 2.0]) {
            assert!((found - expected).abs() < 1e-3, "{gradient:?}");
        }
    }
}
