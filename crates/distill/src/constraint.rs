//! What help costs, so that budgets are kept.

use burn::config::Config;
use serde::{Deserialize, Serialize};

/// How prices are found.
#[derive(Config, Debug, PartialEq)]
pub struct ConstraintConfig {
    /// Budgets that have a price of their own, as rising fractions from 0 to 1; those between are interpolated.
    #[config(default = "vec![0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0]")]
    pub levels: Vec<f64>,
    /// The step of the dual ascent at first, nats; it falls with training as `1 / (1 + 3 progress)`.
    #[config(default = 0.6)]
    pub rate: f64,
    /// The largest price, nats: that of a budget of 0.
    #[config(default = 10.0)]
    pub max_price: f64,
    /// Steps before prices begin to move.
    #[config(default = 80)]
    pub frozen_steps: usize,
    /// Texts on which prices settle before the first step, each found by bisection; 0 begins with those that the student
    /// has learned, or with quantiles of its distances. They move afterwards like others, once `frozen_steps` are over.
    #[config(default = 0)]
    pub settled_on: usize,
    /// Tokens below which a measured rate counts for less than a whole step.
    #[config(default = 100.0)]
    pub evidence: f64,
}

/// The price of help at one budget: the multiplier of the constraint that no more than `budget` of the tokens are
/// helped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagrangeMultiplier {
    /// The budget, a fraction of the tokens.
    pub budget: f64,
    /// The price, nats.
    pub price: f64,
}

impl LagrangeMultiplier {
    /// One step of projected dual ascent: `price + rate (helped - budget)`, kept between 0 and `max_price`.
    pub fn ascend(&mut self, help_rate: f64, rate: f64, max_price: f64) {
        self.price = (self.price + rate * (help_rate - self.budget)).clamp(0.0, max_price);
    }
}

/// One multiplier for each level, and prices for all budgets between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Prices {
    levels: Vec<LagrangeMultiplier>,
}

/// Prices whose levels are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prices need finite levels that rise from a budget of 0 to one of 1")]
pub struct BadPrices;

#[derive(Deserialize)]
struct Unchecked {
    levels: Vec<LagrangeMultiplier>,
}

impl TryFrom<Unchecked> for Prices {
    type Error = BadPrices;

    fn try_from(Unchecked { levels }: Unchecked) -> Result<Self, BadPrices> {
        let ends = levels.first().zip(levels.last()).map(|(first, last)| (first.budget, last.budget));
        let rising = levels.is_sorted_by(|a, b| a.budget < b.budget);
        let finite = levels.iter().all(|level| level.price.is_finite());
        if ends == Some((0.0, 1.0)) && rising && finite { Ok(Self { levels }) } else { Err(BadPrices) }
    }
}

/// What one text used of its budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The budget, a fraction of the tokens.
    pub budget: f64,
    /// Tokens that were helped.
    pub helped: usize,
    /// All tokens.
    pub tokens: usize,
}

impl Prices {
    /// Prices that would give each budget exactly, were help asked for wherever its worth exceeds the price: the
    /// quantiles of the `distances` (nats) measured at the tokens of some texts. The budget 0 has the largest price.
    ///
    /// # Panics
    /// If the levels do not rise from 0 to 1.
    pub fn from_distances(config: &ConstraintConfig, mut distances: Vec<f64>) -> Self {
        let levels = &config.levels;
        assert!(
            levels.first() == Some(&0.0) && levels.last() == Some(&1.0) && levels.is_sorted(),
            "the levels {levels:?} must rise from 0 to 1"
        );
        distances.sort_by(f64::total_cmp);
        let quantile = |share: f64| match distances.len() {
            0 => 0.0,
            count => distances[((share * count as f64) as usize).min(count - 1)],
        };
        let price = |budget: f64| match budget {
            0.0 => config.max_price,
            1.0 => 0.0,
            _ => quantile(1.0 - budget).clamp(0.0, config.max_price),
        };
        Self { levels: levels.iter().map(|&budget| LagrangeMultiplier { budget, price: price(budget) }).collect() }
    }

    /// The price of a budget, nats.
    pub fn price(&self, budget: f64) -> f64 {
        let (low, high, share) = self.between(budget);
        self.levels[low].price * (1.0 - share) + self.levels[high].price * share
    }

    /// The same prices with multipliers at other levels, which rise from 0 to 1.
    pub(crate) fn at_levels(&self, levels: &[f64]) -> Self {
        let multiplier = |&budget: &f64| LagrangeMultiplier { budget, price: self.price(budget) };
        Self { levels: levels.iter().map(multiplier).collect() }
    }

    /// The log-odds of asking, in nats, past which a student that was told one budget asks as it would under another:
    /// the prices' difference, because it asks where `D - price` is positive (our derivation).
    pub fn offset(&self, wanted: f64, told: f64) -> f64 {
        self.price(wanted) - self.price(told)
    }

    /// The multipliers whose prices are found: all but those at the ends.
    pub(crate) fn inner_mut(&mut self) -> &mut [LagrangeMultiplier] {
        let last = self.levels.len() - 1;
        &mut self.levels[1..last]
    }

    /// The multipliers.
    pub fn levels(&self) -> &[LagrangeMultiplier] {
        &self.levels
    }

    /// One step of dual ascent, at the given share of all training, from what texts used. The ends stay: a budget of 0
    /// has the largest price, and one of everything is free.
    pub fn ascend(&mut self, usage: &[Usage], config: &ConstraintConfig, progress: f64) {
        let rate = config.rate / (1.0 + 3.0 * progress);
        let inner = self.levels.len() - 1;
        for (level, (excess, weight)) in self.excess(usage).into_iter().enumerate().take(inner).skip(1) {
            let multiplier = &mut self.levels[level];
            let help_rate = multiplier.budget + excess / weight.max(config.evidence).max(1.0);
            multiplier.ascend(help_rate, rate, config.max_price);
        }
    }

    /// For each level, by how many tokens texts near it exceed their budgets, and how many tokens they have.
    fn excess(&self, usage: &[Usage]) -> Vec<(f64, f64)> {
        let mut sums = vec![(0.0, 0.0); self.levels.len()];
        for text in usage {
            let (low, high, share) = self.between(text.budget);
            let tokens = text.tokens as f64;
            for (level, part) in [(low, 1.0 - share), (high, share)] {
                sums[level].0 += part * (text.helped as f64 - text.budget * tokens);
                sums[level].1 += part * tokens;
            }
        }
        sums
    }

    /// The levels around a budget, and how far it is from the lower to the higher.
    fn between(&self, budget: f64) -> (usize, usize, f64) {
        let high = self.levels.iter().position(|level| level.budget >= budget).unwrap_or(self.levels.len() - 1);
        let low = high.saturating_sub(1);
        let width = self.levels[high].budget - self.levels[low].budget;
        let share = if width > 0.0 { ((budget - self.levels[low].budget) / width).clamp(0.0, 1.0) } else { 1.0 };
        (low, high, share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ConstraintConfig {
        ConstraintConfig::new().with_levels(vec![0.0, 0.1, 0.3, 1.0]).with_evidence(0.0)
    }

    fn prices() -> Prices {
        Prices::from_distances(&config(), (0..1000).map(|i| f64::from(i) / 100.0).collect())
    }

    #[test]
    fn first_prices_are_quantiles_and_between_levels_they_are_interpolated() {
        let prices = prices();
        assert!((prices.price(0.1) - 9.0).abs() < 0.02);
        assert!((prices.price(0.3) - 7.0).abs() < 0.02);
        assert!((prices.price(0.2) - 8.0).abs() < 0.02);
        assert_eq!((prices.price(0.0), prices.price(1.0)), (10.0, 0.0));
    }

    #[test]
    fn a_budget_that_is_exceeded_gets_dearer_and_its_far_neighbours_do_not_move() {
        let mut moved = prices();
        moved.ascend(&[Usage { budget: 0.1, helped: 20, tokens: 100 }], &config(), 0.0);
        assert!((moved.price(0.1) - prices().price(0.1) - 0.06).abs() < 1e-12);
        assert_eq!(moved.price(0.3), prices().price(0.3));
        moved.ascend(&[Usage { budget: 0.3, helped: 0, tokens: 100 }], &config(), 1.0);
        assert!((moved.price(0.3) - prices().price(0.3) + 0.3 * 0.15).abs() < 1e-12);
    }

    #[test]
    fn prices_stay_in_their_range_and_the_ends_stay_where_they_are() {
        let mut prices = prices();
        for _ in 0..1000 {
            prices.ascend(
                &[
                    Usage { budget: 0.0, helped: 9, tokens: 10 },
                    Usage { budget: 0.1, helped: 9, tokens: 10 },
                    Usage { budget: 0.3, helped: 0, tokens: 10 },
                    Usage { budget: 1.0, helped: 0, tokens: 10 },
                ],
                &config(),
                0.0,
            );
        }
        assert_eq!([0.0, 0.1, 0.3, 1.0].map(|budget| prices.price(budget)), [10.0, 10.0, 0.0, 0.0]);
    }

    #[test]
    fn prices_move_to_other_levels_along_their_lines() {
        let moved = prices().at_levels(&[0.0, 0.2, 1.0]);
        assert_eq!(moved.levels().len(), 3);
        assert_eq!(moved.price(0.2), prices().price(0.2));
    }

    #[test]
    fn a_dearer_budget_than_the_one_that_was_told_moves_the_threshold_up() {
        assert!((prices().offset(0.1, 0.3) - 2.0).abs() < 0.03);
        assert_eq!(prices().offset(0.2, 0.2), 0.0);
    }

    #[test]
    fn prices_are_written_in_words_and_bad_ones_are_refused() {
        let json = serde_json::to_string(&prices()).expect("numbers");
        assert_eq!(serde_json::from_str::<Prices>(&json).expect("prices"), prices());
        for bad in [json.replace("0.1", "0.4"), json.replacen("0.0", "0.05", 1), r#"{"levels":[]}"#.into()] {
            assert!(serde_json::from_str::<Prices>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    #[should_panic(expected = "must rise from 0 to 1")]
    fn levels_without_zero_are_refused() {
        Prices::from_distances(&config().with_levels(vec![0.1, 1.0]), vec![]);
    }
}
