//! A budget with the unit that its words name.

use std::fmt;
use std::str::FromStr;

use wheels_text::{HelpBudget, TextError};

use crate::BudgetUnit;

/// A budget as people state it, with the unit that it names: "8 calls" and "8 tokens" are the same [`HelpBudget`], and differ
/// where a call can bring several tokens.
///
/// ```
/// use wheels_decode::{BudgetUnit, StatedBudget};
/// use wheels_text::HelpBudget;
///
/// let stated: StatedBudget = "8 calls".parse()?;
/// assert_eq!((stated.budget, stated.unit), (HelpBudget::tokens(8), Some(BudgetUnit::Calls)));
/// assert_eq!(stated.to_string(), "8 calls");
/// assert_eq!("20%".parse::<StatedBudget>()?.unit, None);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatedBudget {
    /// The budget.
    pub budget: HelpBudget,
    /// What it counts. None for a budget in percent, which does not say it.
    pub unit: Option<BudgetUnit>,
}

impl From<HelpBudget> for StatedBudget {
    fn from(budget: HelpBudget) -> Self {
        let unit = match budget {
            HelpBudget::Percent(_) => None,
            HelpBudget::Tokens(_) => Some(BudgetUnit::Tokens),
        };
        Self { budget, unit }
    }
}

impl FromStr for StatedBudget {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.strip_suffix("calls").or_else(|| lower.strip_suffix("call")) {
            Some(number) => Ok(Self { budget: format!("{number} tokens").parse()?, unit: Some(BudgetUnit::Calls) }),
            None => Ok(text.parse::<HelpBudget>()?.into()),
        }
    }
}

impl fmt::Display for StatedBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.budget, self.unit) {
            (HelpBudget::Tokens(1), Some(BudgetUnit::Calls)) => f.write_str("1 call"),
            (HelpBudget::Tokens(number), Some(BudgetUnit::Calls)) => write!(f, "{number} calls"),
            (budget, _) => budget.fmt(f),
        }
    }
}
