//! Measures of how sure a student is of its next token.

use serde::{Deserialize, Serialize};

use crate::{Distribution, HelpRule};

/// A measure of how sure a student is of its next token. The first two are larger when it is more sure, the last two
/// when it is less sure. Help tokens do not count as next tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The probability of the most likely token, 0 to 1.
    MaxProb,
    /// The probability of the most likely token minus that of the second most likely one, 0 to 1.
    Margin,
    /// The entropy of the next-token distribution, nats.
    Entropy,
    /// The log-odds of asking, from the logit of the student's help token, nats. [`HelpRule::Learned`] asks when they
    /// exceed 0.
    HelpLogOdds,
}

impl Confidence {
    /// The value of this measure for a distribution, in its own unit.
    pub fn of(self, distribution: &Distribution<'_>) -> f64 {
        match self {
            Self::MaxProb => distribution.max_prob(),
            Self::Margin => distribution.margin(),
            Self::Entropy => distribution.entropy(),
            Self::HelpLogOdds => distribution.help_log_odds(),
        }
    }

    /// The rule that asks when the student is less sure than `threshold`: when a probability is below it, or when an
    /// entropy or log-odds are above it.
    pub fn below(self, threshold: f64) -> HelpRule {
        HelpRule::Threshold { confidence: self, threshold }
    }

    /// How far a distribution is past a threshold. Positive means that the rule asks.
    pub(crate) fn excess(self, distribution: &Distribution<'_>, threshold: f64) -> f64 {
        match self {
            Self::MaxProb | Self::Margin => threshold - self.of(distribution),
            Self::Entropy | Self::HelpLogOdds => self.of(distribution) - threshold,
        }
    }
}
