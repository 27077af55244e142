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

/// What a budget counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetUnit {
    /// Every token that an expert chose.
    #[default]
    Tokens,
    /// Every answer of an expert, whatever its number of tokens. A budget of 20% is one call for every 5 tokens of the
    /// text. It suits an expert behind a network, where a call costs more than its tokens.
    Calls,
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
    unit: BudgetUnit,
    spent: usize,
}

impl BudgetLedger {
    /// A ledger of which nothing is spent.
    pub(crate) fn new(budget: HelpBudget, enforcement: Enforcement, unit: BudgetUnit) -> Self {
        Self { budget, enforcement, unit, spent: 0 }
    }

    /// Whether an expert may choose the token at `position`, counted from 0.
    pub(crate) fn is_open(&self, position: usize) -> bool {
        self.is_open_after(0, position)
    }

    /// Whether an answer is open at `position` for its next token, after `index` others of the same answer.
    pub(crate) fn continues(&self, index: usize, position: usize) -> bool {
        !self.charges(index) || self.is_open(position)
    }

    /// Whether the token with this index in an answer is charged.
    pub(crate) fn charges(&self, index: usize) -> bool {
        index == 0 || self.unit == BudgetUnit::Tokens
    }

    /// The number of tokens that an answer at `position` can have, at most `most`.
    pub(crate) fn room(&self, position: usize, most: usize) -> usize {
        match self.unit {
            BudgetUnit::Calls => most,
            BudgetUnit::Tokens => (0..most).take_while(|&index| self.is_open_after(index, position + index)).count(),
        }
    }

    fn is_open_after(&self, charges: usize, position: usize) -> bool {
        match self.enforcement {
            Enforcement::On => self.budget.allows(self.spent + charges, position),
            Enforcement::Off => self.budget.allows(0, 0),
        }
    }

    /// Records that an expert chose one more token or gave one more answer, or accepted the end of the text.
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
        let mut ledger = BudgetLedger::new(budget, enforcement, BudgetUnit::Tokens);
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
    fn an_answer_has_room_for_the_tokens_that_the_budget_allows_one_after_the_other() {
        let room = |budget, unit, position| BudgetLedger::new(budget, Enforcement::On, unit).room(position, 9);
        assert_eq!(room(HelpBudget::tokens(3), BudgetUnit::Tokens, 4), 3);
        assert_eq!(room(HelpBudget::percent(100), BudgetUnit::Tokens, 0), 9);
        // ceil(p (t + 1) / 100) grows while the answer does: 2 at position 5 and 3 at position 10.
        assert_eq!(room(HelpBudget::percent(20), BudgetUnit::Tokens, 5), 2);
        assert_eq!(room(HelpBudget::percent(20), BudgetUnit::Tokens, 8), 3);
        assert_eq!(room(HelpBudget::tokens(1), BudgetUnit::Calls, 0), 9);
        let off = BudgetLedger::new(HelpBudget::tokens(1), Enforcement::Off, BudgetUnit::Tokens);
        assert_eq!(off.room(0, 9), 9);
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
