//! How much of a text the expert may write.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{TextError, wording::WORDINGS};

/// The help that a text may use: a share of its tokens, or a number of them.
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
    /// At most this share of the output tokens, in whole percent from 0 to 100.
    Percent(u8),
    /// At most this many output tokens.
    Tokens(u32),
}

impl HelpBudget {
    /// How many ways there are to say a budget.
    pub const WORDINGS: usize = WORDINGS.len();

    /// The way to say a budget that training leaves out, so that tests have one that no student has read.
    pub const HELD_OUT_WORDING: usize = 7;

    /// A share of the output tokens in whole percent.
    ///
    /// # Panics
    /// If `percent` is more than 100.
    #[must_use]
    pub fn percent(percent: u8) -> Self {
        assert!(percent <= 100, "a budget of {percent}% is more than 100%");
        Self::Percent(percent)
    }

    /// A number of output tokens.
    #[must_use]
    pub fn tokens(tokens: u32) -> Self {
        Self::Tokens(tokens)
    }

    /// The share that this is of a text of `length` tokens, 0 to 1.
    #[must_use]
    pub fn share(self, length: usize) -> f64 {
        match self {
            Self::Percent(percent) => f64::from(percent) / 100.0,
            Self::Tokens(tokens) => (f64::from(tokens) / length.max(1) as f64).min(1.0),
        }
    }

    /// Whether the token at `position` (from 0) may come from the expert when `spent` tokens before it already have.
    ///
    /// For p percent the rule is `spent < ceil(p (position + 1) / 100)` in exact integers, for n tokens `spent < n`.
    /// A text that asks only where this says yes keeps to its budget at every prefix: the first t tokens hold at most
    /// `ceil(p t / 100)`, or n, of the expert's.
    #[must_use]
    pub fn allows(self, spent: usize, position: usize) -> bool {
        match self {
            Self::Percent(percent) => {
                // 128 bits hold 100 times any position.
                let allowed = (u128::from(percent) * (position as u128 + 1)).div_ceil(100);
                (spent as u128) < allowed
            }
            Self::Tokens(tokens) => (spent as u128) < u128::from(tokens),
        }
    }

    /// The budget in English words, ending in a colon, as the student reads it before its task.
    ///
    /// There are [`HelpBudget::WORDINGS`] ways to say a budget; `wording` counts round, so that any number is good.
    #[must_use]
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

/// Reads "20%", "20 percent", "3 tokens", "1 token", and a bare "0", which is no help in either unit.
impl FromStr for HelpBudget {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let bad = |reason| Err(TextError::Budget { given: text.to_owned(), reason });
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !(c.is_ascii_digit() || "+-.,".contains(c))).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        if number.starts_with('-') {
            return bad("it is negative");
        }
        if number.contains(['.', ',']) {
            return bad("it is not a whole number");
        }
        if number.is_empty() {
            return bad("it does not start with a number");
        }
        let Ok(number) = number.parse::<u32>() else {
            return bad(if number.bytes().all(|b| b.is_ascii_digit()) {
                "the number is too large"
            } else {
                "it does not start with a number"
            });
        };
        match unit.as_str() {
            "%" | "percent" => match u8::try_from(number) {
                Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => bad("it is more than 100%"),
            },
            "token" | "tokens" => Ok(Self::Tokens(number)),
            "" if number == 0 => Ok(Self::Percent(0)),
            "" => bad("its unit is missing"),
            _ => bad("its unit is unknown"),
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
    fn budgets_read_as_a_person_writes_them() {
        for (text, budget) in [
            ("20%", HelpBudget::Percent(20)),
            (" 20 % ", HelpBudget::Percent(20)),
            ("100 percent", HelpBudget::Percent(100)),
            ("0%", HelpBudget::Percent(0)),
            ("0", HelpBudget::Percent(0)),
            ("3 tokens", HelpBudget::Tokens(3)),
            ("3tokens", HelpBudget::Tokens(3)),
            ("1 Token", HelpBudget::Tokens(1)),
            ("0 tokens", HelpBudget::Tokens(0)),
        ] {
            assert_eq!(text.parse::<HelpBudget>().unwrap(), budget, "{text}");
        }
    }

    #[test]
    fn a_budget_that_makes_no_sense_is_told_what_does() {
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
            ("20", "unit is missing"),
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
    fn more_than_everything_panics() {
        let _ = HelpBudget::percent(101);
    }

    #[test]
    fn edges_are_nothing_and_everything() {
        for position in [0, 1, 99, usize::MAX] {
            assert!(!HelpBudget::percent(0).allows(0, position));
            assert!(!HelpBudget::tokens(0).allows(0, position));
            assert!(HelpBudget::percent(100).allows(position, position));
        }
        assert_eq!(HelpBudget::percent(20).share(7), 0.2);
        assert_eq!([12, 2, 0].map(|length| HelpBudget::tokens(3).share(length)), [0.25, 1.0, 1.0]);
    }

    #[test]
    fn wordings_are_many_distinct_and_name_the_number() {
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
        fn who_always_asks_spends_the_whole_budget(percent in 0_u8..=100, length in 1_usize..400) {
            let budget = HelpBudget::percent(percent);
            let spent = (0..length).fold(0, |spent, at| spent + usize::from(budget.allows(spent, at)));
            prop_assert_eq!(spent, (usize::from(percent) * length).div_ceil(100));
        }

        #[test]
        fn printed_budgets_read_back(budget in any_budget()) {
            prop_assert_eq!(budget.to_string().parse::<HelpBudget>().unwrap(), budget);
            let json = serde_json::to_string(&budget).unwrap();
            prop_assert_eq!(&json, &format!("\"{budget}\""));
            prop_assert_eq!(serde_json::from_str::<HelpBudget>(&json).unwrap(), budget);
        }
    }
}
