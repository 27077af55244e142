//! Verification: whether an expert accepts the tokens that the student wrote since the last call.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::DecodeError;

/// How an expert verifies the tokens that the student wrote since the last call.
///
/// An expert model that is called must read these tokens anyway, and its forward pass gives its distribution at each of
/// their positions. It can therefore verify them. The [`AcceptanceRule`] gives each token a number of nats. The first
/// token whose number exceeds the tolerance is rolled back with all tokens after it, and the expert answers at its
/// position. If all tokens are accepted, the answer follows them. In both cases this is one call and one forward pass.
/// The default tolerance is infinite and accepts everything.
///
/// A token of an expert, and everything before it, counts as verified and is never rolled back. Each round verifies
/// more tokens, appends tokens, or ends the text, so decoding always terminates.
///
/// Each call is charged to the ledger at the position of its answer. A rollback goes back only to positions at which
/// the budget has room for one more call. So no prefix of a text exceeds its budget of calls, however much was rolled
/// back, and tokens at positions without room stay as the student wrote them. A call that accepts the end of a text is
/// charged at the last position.
///
/// With [`AcceptanceRule::Regret`], a tolerance of 0, `verify_end`, a greedy expert and a budget of 100%, the text is
/// the expert's greedy text (up to ties and rounding) under every help rule. This is speculative decoding (Leviathan et
/// al. 2023, arXiv 2211.17192), in which the help rule sets the draft length.
/// [`HelpRule::Every`](crate::HelpRule::Every) fixes that length, and [`HelpRule::Adaptive`](crate::HelpRule::Adaptive)
/// adapts it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verification {
    /// How tokens are judged.
    pub rule: AcceptanceRule,
    /// The largest number of nats that is accepted. Infinity accepts everything; it is `null` in JSON.
    /// [`AcceptanceRule::Sampling`] does not use it.
    #[serde(with = "infinity_as_null")]
    pub tolerance_nats: f64,
    /// Whether an expert is called once more when the student ends its text or reaches the length limit, to verify the
    /// tokens that no expert has read. It is the expert that the student would have asked at the last token. Its answer
    /// is used only if it rolls something back.
    pub verify_end: bool,
}

/// How an expert judges a token `y_t` of the student. `p` is its own next-token distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptanceRule {
    /// By its regret, the difference between the log-prob of the expert's most likely token and that of this token,
    /// nats: `max_a log p(a | x, y_<t) - log p(y_t | x, y_<t)`.
    #[default]
    Regret,
    /// By its surprise, `-log p(y_t | x, y_<t)`, nats, as in the rollback of BiLD (Kim et al. 2023, arXiv 2302.07863).
    Surprise,
    /// By speculative sampling, for sampled texts (algorithm 1 of arXiv 2211.17192). `q` is the distribution from which
    /// the student drew the token. The token is accepted with probability `min(1, p / q)`, and its replacement is drawn
    /// from `max(0, p - q)`, normalised. With `verify_end`, a sampling expert and a budget of 100%, the text is a
    /// sample of the expert.
    Sampling,
}

impl Default for Verification {
    fn default() -> Self {
        Self { rule: AcceptanceRule::Regret, tolerance_nats: f64::INFINITY, verify_end: false }
    }
}

impl Verification {
    /// Accepts only tokens that are as likely as the expert's most likely token. With a greedy expert and a budget of
    /// 100%, the result is the expert's greedy text.
    pub const LOSSLESS: Self = Self { rule: AcceptanceRule::Regret, tolerance_nats: 0.0, verify_end: true };

    /// Accepts tokens whose regret is at most this number of nats, and verifies ends
    /// ([`verify_end`](Self::verify_end)).
    pub fn regret(tolerance_nats: f64) -> Self {
        Self { tolerance_nats, ..Self::LOSSLESS }
    }

    /// Whether it accepts everything without looking, which is the default.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this verification can roll tokens back.
    pub(crate) fn can_roll_back(&self) -> bool {
        self.rule == AcceptanceRule::Sampling || self.tolerance_nats < f64::INFINITY
    }

    /// # Errors
    /// [`DecodeError::Tolerance`] if the tolerance is negative or NaN.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        if self.tolerance_nats >= 0.0 { Ok(()) } else { Err(DecodeError::Tolerance { nats: self.tolerance_nats }) }
    }
}

impl fmt::Display for Verification {
    /// Such as "accepts 3 nats of regret, verifies ends", or "verifies nothing".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, tolerance_nats, verify_end } = self;
        match rule {
            _ if !self.can_roll_back() => return f.write_str("verifies nothing"),
            AcceptanceRule::Regret => write!(f, "accepts {tolerance_nats} nats of regret")?,
            AcceptanceRule::Surprise => write!(f, "accepts {tolerance_nats} nats of surprise")?,
            AcceptanceRule::Sampling => f.write_str("verifies by sampling")?,
        }
        f.write_str(if *verify_end { ", verifies ends" } else { "" })
    }
}

/// JSON has no infinity.
mod infinity_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(nats: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        nats.is_finite().then_some(*nats).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_round_trips_through_json_with_an_infinite_tolerance_too() {
        for verification in [Verification::default(), Verification::LOSSLESS, Verification::regret(2.5)] {
            let json = serde_json::to_string(&verification).expect("a verification is JSON");
            assert_eq!(serde_json::from_str::<Verification>(&json).expect("it is read back"), verification, "{json}");
        }
        assert!(Verification::default().is_none() && !Verification::regret(5.0).is_none());
    }

    #[test]
    fn a_verification_says_what_it_accepts() {
        let lenient = Verification { verify_end: false, ..Verification::regret(2.5) };
        let printed = [Verification::default(), lenient, Verification::LOSSLESS].map(|each| each.to_string());
        let expected = ["verifies nothing", "accepts 2.5 nats of regret", "accepts 0 nats of regret, verifies ends"];
        assert_eq!(printed, expected);
    }
}
