//! The budgets of requests, and the largest one that the server grants.

use training_wheels::decode::BudgetUnit;
use training_wheels::text::{HelpBudget, TextError};
use wheels_decode::StatedBudget;

/// Reads a budget. `counted` is what budgets count, or None if each call brings one token, so that "8 calls" are "8
/// tokens".
///
/// # Errors
/// What is wrong, to show to a client.
pub(crate) fn parse(text: &str, counted: Option<BudgetUnit>) -> Result<HelpBudget, String> {
    let StatedBudget { budget, unit } = text.parse().map_err(|error: TextError| error.to_string())?;
    match (unit, counted) {
        (Some(BudgetUnit::Calls), Some(BudgetUnit::Tokens)) => {
            Err(format!("the budgets of this server count tokens, of which a call can bring several, not {text:?}"))
        }
        (Some(BudgetUnit::Tokens), Some(BudgetUnit::Calls)) => {
            Err(format!("the budgets of this server count calls, not {text:?}; state it as \"8 calls\""))
        }
        _ => Ok(budget),
    }
}

/// A budget as [`parse`] reads it.
pub(crate) fn shown(budget: HelpBudget, counted: Option<BudgetUnit>) -> String {
    StatedBudget { budget, unit: counted }.to_string()
}

/// Checks that a budget of a text of at most `length` tokens is within the ceiling of the server.
///
/// # Errors
/// What is wrong, to show to a client.
pub(crate) fn check(
    budget: HelpBudget,
    ceiling: HelpBudget,
    length: usize,
    counted: Option<BudgetUnit>,
) -> Result<(), String> {
    let granted = match (budget, ceiling) {
        (HelpBudget::Percent(budget), HelpBudget::Percent(ceiling)) => budget <= ceiling,
        (HelpBudget::Tokens(budget), HelpBudget::Tokens(ceiling)) => budget <= ceiling,
        // The text may end early, so that only a ceiling of 100% is never exceeded.
        (HelpBudget::Tokens(budget), HelpBudget::Percent(ceiling)) => budget == 0 || ceiling == 100,
        (HelpBudget::Percent(_), HelpBudget::Tokens(ceiling)) => budget.most(length) <= ceiling as usize,
    };
    let unit = match (ceiling, counted) {
        (HelpBudget::Percent(_), _) => "percent",
        (HelpBudget::Tokens(_), Some(BudgetUnit::Calls)) => "calls",
        (HelpBudget::Tokens(_), _) => "tokens",
    };
    let [budget, ceiling] = [budget, ceiling].map(|budget| shown(budget, counted));
    let message =
        format!("a budget of {budget} is above this server's ceiling of {ceiling}; state it in {unit}, up to it");
    if granted { Ok(()) } else { Err(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_percentages_tokens_or_calls() {
        for (text, budget) in [
            ("20%", HelpBudget::percent(20)),
            ("8 calls", HelpBudget::tokens(8)),
            ("1 Call", HelpBudget::tokens(1)),
            ("8 tokens", HelpBudget::tokens(8)),
        ] {
            assert_eq!(parse(text, None), Ok(budget), "{text}");
        }
        for wrong in ["calls", "many calls", "8 cats", "-1 calls"] {
            assert!(parse(wrong, None).is_err(), "{wrong}");
        }
        for (text, tokens, calls) in [("8 tokens", true, false), ("8 calls", false, true), ("8%", true, true)] {
            let is_read = [BudgetUnit::Tokens, BudgetUnit::Calls].map(|counted| parse(text, Some(counted)).is_ok());
            assert_eq!(is_read, [tokens, calls], "{text}");
        }
        for counted in [None, Some(BudgetUnit::Tokens), Some(BudgetUnit::Calls)] {
            for budget in [HelpBudget::percent(20), HelpBudget::tokens(1), HelpBudget::tokens(8)] {
                assert_eq!(parse(&shown(budget, counted), counted), Ok(budget));
            }
        }
    }

    #[test]
    fn a_budget_is_granted_only_if_no_text_can_exceed_the_ceiling() {
        let (percent, tokens) = (HelpBudget::Percent, HelpBudget::Tokens);
        for (budget, ceiling, length, granted) in [
            (percent(20), percent(20), 100, true),
            (percent(21), percent(20), 100, false),
            (tokens(8), tokens(8), 100, true),
            (tokens(9), tokens(8), 100, false),
            (tokens(1), percent(99), 100, false),
            (tokens(0), percent(0), 100, true),
            (tokens(500), percent(100), 100, true),
            (percent(20), tokens(20), 100, true),
            (percent(20), tokens(20), 101, false),
            (percent(20), tokens(20), usize::MAX, false),
        ] {
            assert_eq!(check(budget, ceiling, length, None).is_ok(), granted, "{budget} of {length} within {ceiling}");
        }
    }
}
