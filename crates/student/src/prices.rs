//! The price of help for each budget.

use serde::{Deserialize, Serialize};

use crate::StudentError;

/// The price of help at one budget: the Lagrange multiplier of the constraint that at most this fraction of the tokens
/// comes from the teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagrangeMultiplier {
    /// The budget as a fraction of the tokens, 0 to 1.
    pub budget: f64,
    /// The price, nats.
    pub price: f64,
}

/// The price of help at some budgets, the *levels*. Prices between two levels are interpolated linearly.
///
/// A student asks when its divergence from the teacher exceeds the price, so a higher price means less help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Prices {
    levels: Vec<LagrangeMultiplier>,
}

#[derive(Deserialize)]
struct Unchecked {
    levels: Vec<LagrangeMultiplier>,
}

impl TryFrom<Unchecked> for Prices {
    type Error = StudentError;

    fn try_from(unchecked: Unchecked) -> Result<Self, StudentError> {
        Self::new(unchecked.levels)
    }
}

impl Prices {
    /// Prices at the given levels.
    ///
    /// # Errors
    /// [`StudentError::Prices`] if the budgets do not rise strictly from 0 to 1, or if a price is not finite.
    pub fn new(levels: Vec<LagrangeMultiplier>) -> Result<Self, StudentError> {
        let ends = levels.first().zip(levels.last()).map(|(first, last)| (first.budget, last.budget));
        let rising = levels.is_sorted_by(|a, b| a.budget < b.budget);
        let finite = levels.iter().all(|level| level.price.is_finite());
        if ends == Some((0.0, 1.0)) && rising && finite { Ok(Self { levels }) } else { Err(StudentError::Prices) }
    }

    /// The price of a budget (a fraction, 0 to 1), nats.
    pub fn price(&self, budget: f64) -> f64 {
        let (low, high, share) = self.bracket(budget);
        self.levels[low].price * (1.0 - share) + self.levels[high].price * share
    }

    /// The change of the threshold on the help log-odds, nats, that applies the budget `wanted` to a student whose
    /// prompt states the budget `stated`. Both are fractions, 0 to 1.
    ///
    /// The log-odds are `D - price(stated)`, and the student should ask when `D > price(wanted)`. So the threshold
    /// rises by `price(wanted) - price(stated)` (our derivation).
    pub fn offset(&self, wanted: f64, stated: f64) -> f64 {
        self.price(wanted) - self.price(stated)
    }

    /// The levels, by rising budget.
    pub fn levels(&self) -> &[LagrangeMultiplier] {
        &self.levels
    }

    /// Sets the price, nats, of the level with this index.
    ///
    /// # Panics
    /// If there is no such level, or if the price is not finite.
    pub fn set_price(&mut self, level: usize, price: f64) {
        assert!(price.is_finite(), "a price of {price} nats is not finite");
        self.levels[level].price = price;
    }

    /// Prices at other levels, interpolated from these prices.
    ///
    /// # Errors
    /// [`StudentError::Prices`] if the levels do not rise strictly from 0 to 1.
    pub fn at_levels(&self, levels: &[f64]) -> Result<Self, StudentError> {
        let levels = levels.iter().map(|&budget| LagrangeMultiplier { budget, price: self.price(budget) }).collect();
        Self::new(levels)
    }

    /// The indices of the two levels around a budget, and the position of the budget between them, from 0 (at the lower
    /// level) to 1 (at the higher level).
    pub fn bracket(&self, budget: f64) -> (usize, usize, f64) {
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

    fn prices() -> Prices {
        let levels = [(0.0, 10.0), (0.1, 9.0), (0.3, 7.0), (1.0, 0.0)];
        let levels = levels.into_iter().map(|(budget, price)| LagrangeMultiplier { budget, price }).collect();
        Prices::new(levels).expect("rising levels")
    }

    #[test]
    fn prices_between_levels_are_interpolated() {
        assert!((prices().price(0.2) - 8.0).abs() < 1e-12);
        assert_eq!((prices().price(0.0), prices().price(1.0)), (10.0, 0.0));
        let moved = prices().at_levels(&[0.0, 0.2, 1.0]).expect("rising levels");
        assert_eq!(moved.levels().len(), 3);
        assert_eq!(moved.price(0.2), prices().price(0.2));
    }

    #[test]
    fn a_smaller_budget_than_the_stated_one_raises_the_threshold() {
        assert!((prices().offset(0.1, 0.3) - 2.0).abs() < 1e-12);
        assert_eq!(prices().offset(0.2, 0.2), 0.0);
    }

    #[test]
    fn prices_are_read_back_from_json_and_invalid_ones_are_rejected() {
        let json = serde_json::to_string(&prices()).expect("numbers");
        assert_eq!(serde_json::from_str::<Prices>(&json).expect("prices"), prices());
        for bad in [json.replace("0.1", "0.4"), json.replacen("0.0", "0.05", 1), r#"{"levels":[]}"#.into()] {
            assert!(serde_json::from_str::<Prices>(&bad).is_err(), "{bad}");
        }
        assert!(prices().at_levels(&[0.1, 1.0]).is_err());
    }
}
