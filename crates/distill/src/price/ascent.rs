//! The first prices of help, and dual ascent.

use burn::config::Config;
use wheels_student::{LagrangeMultiplier, Prices};

use crate::DistillError;

/// How the prices of help are found.
#[derive(Config, Debug, PartialEq)]
pub struct ConstraintConfig {
    /// The budgets that have prices of their own. They are fractions of the tokens, and rise from 0 to 1. Prices of
    /// other budgets are interpolated.
    #[config(default = "vec![0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0]")]
    pub levels: Vec<f64>,
    /// The first step size of dual ascent, nats. If the help rate is 0.1 above a budget, its price rises by 0.1 times
    /// the step size. The step size falls as `1 / (1 + 3 progress)`, where `progress` rises from 0 to 1 during
    /// training.
    #[config(default = 0.6)]
    pub rate: f64,
    /// The largest price, nats. It is also the price of a budget of 0.
    #[config(default = 10.0)]
    pub max_price: f64,
    /// The number of steps before the first step of dual ascent. If no text is on-policy, as with a cache of the
    /// teacher, there is no dual ascent. The prices are then quantiles of the divergences, taken anew about every
    /// `frozen_steps` steps.
    #[config(default = 80)]
    pub frozen_steps: usize,
    /// The number of texts for the search before the first step. With 0 there is no search, and a run
    /// starts with the prices that the student learned earlier, or with quantiles of its divergences. In both cases
    /// dual ascent starts after `frozen_steps`.
    #[config(default = 0)]
    pub search_texts: usize,
    /// The number of tokens near a level at which a step of dual ascent has its full size. With fewer tokens the help
    /// rate is less certain, and the step is smaller in proportion.
    #[config(default = 100.0)]
    pub evidence: f64,
}

/// The help that one text used, and its budget.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(not(any(test, feature = "testing")), expect(unreachable_pub, reason = "public with the feature testing"))]
pub struct Usage {
    /// The budget, a fraction of the tokens.
    pub budget: f64,
    /// The number of helped tokens.
    pub helped: usize,
    /// The number of all tokens.
    pub tokens: usize,
}

/// # Errors
/// [`DistillError::Levels`] if the levels do not rise from 0 to 1.
pub(crate) fn check_levels(levels: &[f64]) -> Result<(), DistillError> {
    let ends = levels.first() == Some(&0.0) && levels.last() == Some(&1.0);
    let rising = levels.is_sorted_by(|a, b| a < b);
    if ends && rising { Ok(()) } else { Err(DistillError::Levels { levels: levels.to_vec() }) }
}

/// The first prices, from the divergences at the tokens of some texts, nats.
///
/// The price of a budget is the quantile that a fraction `budget` of the divergences exceeds. A student that asks
/// exactly when its divergence exceeds the price then uses exactly its budget. A budget of 0 has the largest price, and
/// a budget of 1 has the price 0.
///
/// # Errors
/// [`DistillError::Levels`] if the levels do not rise from 0 to 1.
pub(crate) fn quantile_prices(config: &ConstraintConfig, mut divergences: Vec<f64>) -> Result<Prices, DistillError> {
    check_levels(&config.levels)?;
    divergences.sort_by(f64::total_cmp);
    let quantile = |share: f64| match divergences.len() {
        0 => 0.0,
        count => divergences[((share * count as f64) as usize).min(count - 1)],
    };
    let mut levels = Vec::with_capacity(config.levels.len());
    for &budget in &config.levels {
        let price = match budget {
            0.0 => config.max_price,
            1.0 => 0.0,
            _ => quantile(1.0 - budget).clamp(0.0, config.max_price),
        };
        levels.push(LagrangeMultiplier { budget, price });
    }
    Ok(Prices::new(levels).expect("the levels rise from 0 to 1, and divergences are finite"))
}

/// One step of projected dual ascent on each price, from the help that some texts used:
///
/// ```text
/// price <- min(max(price + rate / (1 + 3 progress) (help rate - budget), 0), max_price)
/// ```
///
/// `progress` is the fraction of the training that is done, 0 to 1. Two prices are fixed: a budget of 0 has the largest
/// price, and a budget of 1 has the price 0.
#[cfg_attr(not(any(test, feature = "testing")), expect(unreachable_pub, reason = "public with the feature testing"))]
pub fn ascend(prices: &mut Prices, usage: &[Usage], config: &ConstraintConfig, progress: f64) {
    let rate = config.rate / (1.0 + 3.0 * progress);
    let inner = prices.levels().len() - 1;
    for (level, (excess, weight)) in excess(prices, usage).into_iter().enumerate().take(inner).skip(1) {
        let LagrangeMultiplier { budget, price } = prices.levels()[level];
        let help_rate = budget + excess / weight.max(config.evidence).max(1.0);
        prices.set_price(level, (price + rate * (help_rate - budget)).clamp(0.0, config.max_price));
    }
}

/// For each level, the number of helped tokens by which the texts near it exceed their budgets, and the number of all
/// tokens of these texts. A text between two levels counts for both, in proportion to how near it is.
fn excess(prices: &Prices, usage: &[Usage]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); prices.levels().len()];
    for text in usage {
        let (low, high, share) = prices.bracket(text.budget);
        let tokens = text.tokens as f64;
        for (level, part) in [(low, 1.0 - share), (high, share)] {
            sums[level].0 += part * (text.helped as f64 - text.budget * tokens);
            sums[level].1 += part * tokens;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ConstraintConfig {
        ConstraintConfig::new().with_levels(vec![0.0, 0.1, 0.3, 1.0]).with_evidence(0.0)
    }

    fn prices() -> Prices {
        let divergences = (0..1000).map(|i| f64::from(i) / 100.0).collect();
        quantile_prices(&config(), divergences).expect("rising levels")
    }

    #[test]
    fn first_prices_are_quantiles_of_the_divergences() {
        let prices = prices();
        assert!((prices.price(0.1) - 9.0).abs() < 0.02);
        assert!((prices.price(0.3) - 7.0).abs() < 0.02);
        assert_eq!((prices.price(0.0), prices.price(1.0)), (10.0, 0.0));
    }

    #[test]
    fn the_price_of_an_exceeded_budget_rises_and_other_prices_do_not_change() {
        let mut moved = prices();
        ascend(&mut moved, &[Usage { budget: 0.1, helped: 20, tokens: 100 }], &config(), 0.0);
        assert!((moved.price(0.1) - prices().price(0.1) - 0.06).abs() < 1e-12);
        assert_eq!(moved.price(0.3), prices().price(0.3));
        ascend(&mut moved, &[Usage { budget: 0.3, helped: 0, tokens: 100 }], &config(), 1.0);
        assert!((moved.price(0.3) - prices().price(0.3) + 0.3 * 0.15).abs() < 1e-12);
    }

    #[test]
    fn prices_stay_in_their_range_and_those_of_0_and_1_do_not_change() {
        let mut prices = prices();
        let usage = [
            Usage { budget: 0.0, helped: 9, tokens: 10 },
            Usage { budget: 0.1, helped: 9, tokens: 10 },
            Usage { budget: 0.3, helped: 0, tokens: 10 },
            Usage { budget: 1.0, helped: 0, tokens: 10 },
        ];
        for _ in 0..1000 {
            ascend(&mut prices, &usage, &config(), 0.0);
        }
        assert_eq!([0.0, 0.1, 0.3, 1.0].map(|budget| prices.price(budget)), [10.0, 10.0, 0.0, 0.0]);
    }

    #[test]
    fn levels_that_do_not_rise_from_0_to_1_are_rejected() {
        for levels in [vec![0.1, 1.0], vec![0.0, 0.5], vec![0.0, 0.5, 0.5, 1.0], vec![]] {
            assert!(quantile_prices(&config().with_levels(levels), vec![]).is_err());
        }
    }
}
