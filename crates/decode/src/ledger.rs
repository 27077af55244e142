//! The ledger of a text: how much of its budget it has spent.

use serde::{Deserialize, Serialize};
use wheels_text::HelpBudget;

/// Whether a decoder enforces the budget of each text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// An expert answers only while the budget has room, even if the policy asks.
    #[default]
    On,
    /// Experts answer every request, so that the help used shows what the policy learned. Only a budget of 0 allows no
    /// help.
    Off,
}

/// The ledger of one text: how many of its tokens experts have chosen.
///
/// With enforcement on, help is open at position t (from 0) while [`HelpBudget::allows`] says so. For n tokens that is
/// `spent < n`; for p percent it is `spent < ceil(p (t + 1) / 100)`. If the ledger is charged only while help is open,
/// no prefix of the text exceeds its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetLedger {
    budget: HelpBudget,
    enforcement: Enforcement,
    spent: usize,
}

impl BudgetLedger {
    /// A ledger of which nothing is spent.
    pub(crate) fn new(budget: HelpBudget, enforcement: Enforcement) -> Self {
        Self { budget, enforcement, spent: 0 }
    }

    /// Whether an expert may choose the token at `position`, counted from 0.
    pub(crate) fn is_open(&self, position: usize) -> bool {
        match self.enforcement {
            Enforcement::On => self.budget.allows(self.spent, position),
            Enforcement::Off => self.budget.allows(0, 0),
        }
    }

    /// Records that an expert chose one more token, or accepted the end of the text.
    pub(crate) fn charge(&mut self) {
        self.spent += 1;
    }

    /// The number of charges.
    pub(crate) fn spent(&self) -> usize {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The helped positions of a text of `length` tokens that always asks.
    fn helped(budget: HelpBudget, enforcement: Enforcement, length: usize) -> Vec<usize> {
        let mut ledger = BudgetLedger::new(budget, enforcement);
        (0..length)
            .filter(|&position| {
                let open = ledger.is_open(position);
                if open {
                    ledger.charge();
                }
                open
            })
            .collect()
    }

    #[test]
    fn a_percentage_allows_help_again_as_the_text_grows() {
        assert_eq!(helped(HelpBudget::percent(20), Enforcement::On, 12), [0, 5, 10]);
        assert_eq!(helped(HelpBudget::percent(100), Enforcement::On, 3), [0, 1, 2]);
        assert!(helped(HelpBudget::percent(0), Enforcement::On, 50).is_empty());
    }

    #[test]
    fn a_number_of_tokens_is_spent_once() {
        assert_eq!(helped(HelpBudget::tokens(2), Enforcement::On, 50), [0, 1]);
    }

    #[test]
    fn without_enforcement_only_a_budget_of_zero_allows_no_help() {
        assert_eq!(helped(HelpBudget::tokens(1), Enforcement::Off, 4), [0, 1, 2, 3]);
        for nothing in [HelpBudget::percent(0), HelpBudget::tokens(0)] {
            assert!(helped(nothing, Enforcement::Off, 4).is_empty());
        }
    }
}
