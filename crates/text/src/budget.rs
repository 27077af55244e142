//! The help budget: how many tokens of an output may come from an expert.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::TextError;
use crate::wording::WORDINGS;

/// The maximum number of output tokens that may come from an expert, such as a teacher model: a percentage of the
/// output tokens, or a number of tokens.
///
/// ```
/// use wheels_text::HelpBudget;
///
/// let budget: HelpBudget = "20%".parse()?;
/// assert_eq!(budget, HelpBudget::percent(20));
/// assert_eq!(budget.words(0), "use the teacher for at most 20 percent of the words:");
/// assert_eq!(HelpBudget::tokens(1).to_string(), "1 token");
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HelpBudget {
    /// At most this percentage of the output tokens, from 0 to 100. The number of tokens is rounded up.
    Percent(u8),
    /// At most this many output tokens.
    Tokens(u32),
}

impl HelpBudget {
    /// The number of wordings, which are ways to state a budget in words; see [`HelpBudget::words`].
    pub const WORDINGS: usize = WORDINGS.len();

    /// The index of a wording that training does not use by default. Tests use it to state a budget in words that the
    /// student has never read.
    pub const HELD_OUT_WORDING: usize = 7;

    /// A budget of a percentage of the output tokens.
    ///
    /// # Panics
    /// If `percent` is more than 100.
    pub fn percent(percent: u8) -> Self {
        assert!(percent <= 100, "a budget of {percent}% is more than 100%");
        Self::Percent(percent)
    }

    /// A budget of a number of output tokens.
    pub fn tokens(tokens: u32) -> Self {
        Self::Tokens(tokens)
    }

    /// The budget as a fraction (0 to 1) of an output of `length` tokens.
    pub fn share(self, length: usize) -> f64 {
        match self {
            Self::Percent(percent) => f64::from(percent) / 100.0,
            Self::Tokens(tokens) => (f64::from(tokens) / length.max(1) as f64).min(1.0),
        }
    }

    /// Whether the token at `position` (from 0) may come from the expert, if `spent` earlier tokens came from it.
    ///
    /// For p percent the rule is `spent < ceil(p (position + 1) / 100)`, computed exactly in integers. For n tokens the
    /// rule is `spent < n`. If a decoder asks only when this is true, every prefix of the output keeps to the budget:
    /// at most `ceil(p t / 100)`, or n, of the first t tokens come from the expert.
    pub fn allows(self, spent: usize, position: usize) -> bool {
        (spent as u128) < self.most_of(position as u128 + 1)
    }

    /// The largest number of tokens that may come from the expert in an output of `length` tokens: `ceil(p length / 100)`
    /// for p percent, and n for n tokens, even if the output is shorter.
    ///
    /// ```
    /// use wheels_text::HelpBudget;
    ///
    /// assert_eq!(HelpBudget::percent(20).most(11), 3);
    /// assert_eq!(HelpBudget::tokens(8).most(5), 8);
    /// ```
    pub fn most(self, length: usize) -> usize {
        usize::try_from(self.most_of(length as u128)).unwrap_or(usize::MAX)
    }

    /// [`most`](Self::most) in 128 bits, because 100 times a length may not fit in 64.
    fn most_of(self, length: u128) -> u128 {
        match self {
            Self::Percent(percent) => (u128::from(percent) * length).div_ceil(100),
            Self::Tokens(tokens) => u128::from(tokens),
        }
    }

    /// The budget in English words with a colon at the end. The student reads them before the text.
    ///
    /// `wording` chooses one of [`HelpBudget::WORDINGS`] wordings. It is taken modulo that number, so every value is
    /// valid.
    pub fn words(self, wording: usize) -> String {
        let wording = &WORDINGS[wording % WORDINGS.len()];
        let (sentence, number) = match self {
            Self::Percent(percent) => (wording.percent, u32::from(percent)),
            Self::Tokens(1) => (wording.token, 1),
            Self::Tokens(tokens) => (wording.tokens, tokens),
        };
        sentence.replace("{}", &number.to_string())
    }
}

impl fmt::Display for HelpBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Tokens(1) => f.write_str("1 token"),
            Self::Tokens(tokens) => write!(f, "{tokens} tokens"),
        }
    }
}

impl From<HelpBudget> for String {
    fn from(budget: HelpBudget) -> Self {
        budget.to_string()
    }
}

impl TryFrom<String> for HelpBudget {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

/// Parses "20%", "20 percent", "3 tokens" and "1 token". A number without a unit is a percentage.
impl FromStr for HelpBudget {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let invalid = |reason| Err(TextError::Budget { given: text.to_owned(), reason });
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !(c.is_ascii_digit() || "+-.,".contains(c))).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        if number.starts_with('-') {
            return invalid("it is negative");
        }
        if number.contains(['.', ',']) {
            return invalid("it is not a whole number");
        }
        if number.is_empty() {
            return invalid("it does not start with a number");
        }
        let Ok(number) = number.parse::<u32>() else {
            return invalid(if number.bytes().all(|b| b.is_ascii_digit()) {
                "the number is too large"
            } else {
                "it does not start with a number"
            });
        };
        match unit.as_str() {
            "" | "%" | "percent" => match u8::try_from(number) {
                Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => invalid("it is more than 100%"),
            },
            "token" | "tokens" => Ok(Self::Tokens(number)),
            _ => invalid("its unit is unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn any_budget() -> impl Strategy<Value = HelpBudget> {
        prop_oneof![
            (0_u8..=100).prop_map(HelpBudget::percent),
            prop_oneof![0_u32..20, any::<u32>()].prop_map(HelpBudget::tokens),
        ]
    }

    #[test]
    fn budgets_are_parsed_in_all_documented_forms() {
        for (text, budget) in [
            ("20%", HelpBudget::Percent(20)),
            (" 20 % ", HelpBudget::Percent(20)),
            ("100 percent", HelpBudget::Percent(100)),
            ("0%", HelpBudget::Percent(0)),
            ("0", HelpBudget::Percent(0)),
            ("20", HelpBudget::Percent(20)),
            ("3 tokens", HelpBudget::Tokens(3)),
            ("3tokens", HelpBudget::Tokens(3)),
            ("1 Token", HelpBudget::Tokens(1)),
            ("0 tokens", HelpBudget::Tokens(0)),
        ] {
            assert_eq!(text.parse::<HelpBudget>().unwrap(), budget, "{text}");
        }
    }

    #[test]
    fn invalid_budgets_are_rejected_with_a_hint() {
        for (text, reason) in [
            ("-3%", "negative"),
            ("-1 tokens", "negative"),
            ("twenty", "does not start with a number"),
            ("", "does not start with a number"),
            ("%", "does not start with a number"),
            ("1-2%", "does not start with a number"),
            ("101%", "more than 100%"),
            ("4294967296 tokens", "too large"),
            ("99999999999999999999%", "too large"),
            ("12.5%", "whole number"),
            ("300", "more than 100%"),
            ("20 words", "unit is unknown"),
            ("20%%", "unit is unknown"),
        ] {
            let message = text.parse::<HelpBudget>().unwrap_err().to_string();
            assert!(message.contains(reason), "{text}: {message}");
            assert!(message.contains("\"20%\"") && message.contains("\"3 tokens\""), "{message}");
        }
    }

    #[test]
    #[should_panic(expected = "101%")]
    fn more_than_100_percent_panics() {
        let _ = HelpBudget::percent(101);
    }

    #[test]
    fn zero_never_allows_help_and_100_percent_always_does() {
        for position in [0, 1, 99, usize::MAX] {
            assert!(!HelpBudget::percent(0).allows(0, position));
            assert!(!HelpBudget::tokens(0).allows(0, position));
            assert!(HelpBudget::percent(100).allows(position, position));
        }
        assert_eq!(HelpBudget::percent(20).share(7), 0.2);
        assert_eq!([12, 2, 0].map(|length| HelpBudget::tokens(3).share(length)), [0.25, 1.0, 1.0]);
    }

    #[test]
    fn wordings_are_distinct_and_contain_the_number() {
        const { assert!(HelpBudget::WORDINGS >= 6) }
        let mut seen = HashSet::new();
        for wording in 0..HelpBudget::WORDINGS {
            for budget in [HelpBudget::percent(37), HelpBudget::tokens(37), HelpBudget::tokens(1)] {
                let words = budget.words(wording);
                assert!(words.contains(if budget == HelpBudget::tokens(1) { "1 " } else { "37" }));
                assert!(words.ends_with(':') && !words.contains(['{', '}']));
                assert_eq!(words, budget.words(wording + HelpBudget::WORDINGS));
                assert!(seen.insert(words));
            }
        }
    }

    proptest! {
        #[test]
        fn every_prefix_keeps_to_its_budget(budget in any_budget(), asks in prop::collection::vec(any::<bool>(), 0..300)) {
            let mut spent = 0;
            for (position, ask) in asks.into_iter().enumerate() {
                spent += usize::from(ask && budget.allows(spent, position));
                let length = position + 1;
                match budget {
                    HelpBudget::Percent(percent) => prop_assert!(spent <= (usize::from(percent) * length).div_ceil(100)),
                    HelpBudget::Tokens(tokens) => prop_assert!(spent <= tokens as usize),
                }
            }
        }

        #[test]
        fn help_at_every_step_spends_the_whole_budget(percent in 0_u8..=100, length in 1_usize..400) {
            let budget = HelpBudget::percent(percent);
            let spent = (0..length).fold(0, |spent, at| spent + usize::from(budget.allows(spent, at)));
            prop_assert_eq!(spent, (usize::from(percent) * length).div_ceil(100));
        }

        #[test]
        fn help_is_allowed_until_the_most_of_the_text_so_far_is_spent(
            budget in any_budget(),
            position in prop_oneof![0_usize..400, 0..usize::MAX],
        ) {
            let most = budget.most(position + 1);
            prop_assert!(!budget.allows(most, position));
            prop_assert!(most == 0 || budget.allows(most - 1, position));
        }

        #[test]
        fn displayed_budgets_parse_to_the_same_budget(budget in any_budget()) {
            prop_assert_eq!(budget.to_string().parse::<HelpBudget>().unwrap(), budget);
            let json = serde_json::to_string(&budget).unwrap();
            prop_assert_eq!(&json, &format!("\"{budget}\""));
            prop_assert_eq!(serde_json::from_str::<HelpBudget>(&json).unwrap(), budget);
        }
    }
}
