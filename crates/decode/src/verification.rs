//! Whether a teacher accepts what the student wrote since its last call.

use crate::DecodeError;

/// What an expert does with the student's tokens that it reads when it is called.
///
/// A model that is called reads every token since its last call anyway, and its forward pass shows what it would have
/// written at each position. It can therefore verify them: the [`AcceptanceRule`] gives each token of the student a
/// number of nats. The text is cut at the first token whose number exceeds the tolerance, and the expert answers there.
/// What the student wrote from there on is rolled back, and it goes on from the answer. If all tokens are accepted, the
/// answer continues the text. Either way it is one call and one forward pass. The default, an infinite tolerance,
/// accepts everything.
///
/// What an expert wrote, and all before it, is verified and never rolled back. Each round of decoding verifies more
/// tokens, appends tokens, or ends the text, so decoding always terminates.
///
/// Each call is charged to the ledger at the position that it answers, and no rollback goes back further than the
/// ledger is open for one more call. Every prefix of a text therefore keeps to its budget of calls, however much was
/// rolled back. Positions at which the budget had no room for a call stay as the student wrote them. A call at the end
/// of a text that changes nothing is charged at the last position.
///
/// With a tolerance of 0, `verify_end` and a budget of 100%, the text is the teacher's greedy text (up to ties and
/// rounding), whatever the help rule. This is speculative decoding (Leviathan et al. 2023, arXiv 2211.17192) in which
/// the student chooses the draft length. [`HelpRule::Every`](crate::HelpRule::Every) fixes the draft length, and
/// [`HelpRule::Adaptive`](crate::HelpRule::Adaptive) adapts it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verification {
    /// How tokens are judged.
    pub rule: AcceptanceRule,
    /// The largest number of nats that is accepted; infinite to accept everything. [`AcceptanceRule::Sampling`] does
    /// not use it.
    pub tolerance_nats: f64,
    /// Whether the first expert is called once more when the student ends its text or reaches the length limit, to
    /// verify what no expert has read. It answers only if it rolls something back.
    pub verify_end: bool,
}

/// How an expert judges a token y_t of the student, with p its own next-token distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptanceRule {
    /// By its regret, the log-prob that the token has less than the expert's best one:
    /// max_a log p(a | x, y_<t) - log p(y_t | x, y_<t).
    #[default]
    Regret,
    /// By its surprise, -log p(y_t | x, y_<t), as in the rollback of BiLD (Kim et al. 2023, arXiv 2302.07863).
    Surprise,
    /// By speculative sampling, for sampled texts (algorithm 1 of arXiv 2211.17192): with `q` the distribution that the
    /// student drew the token from, the token is accepted with probability `min(1, p / q)`, and its replacement is
    /// drawn from `max(0, p - q)`. With `verify_end` and a budget of 100% the text is a sample of the expert's.
    Sampling,
}

impl Default for Verification {
    fn default() -> Self {
        Self { rule: AcceptanceRule::Regret, tolerance_nats: f64::INFINITY, verify_end: false }
    }
}

impl Verification {
    /// The expert's greedy text to the token: nothing is accepted that it would not have written.
    pub const LOSSLESS: Self = Self { rule: AcceptanceRule::Regret, tolerance_nats: 0.0, verify_end: true };

    /// Whether a token can be rolled back.
    pub(crate) fn can_roll_back(&self) -> bool {
        self.rule == AcceptanceRule::Sampling || self.tolerance_nats < f64::INFINITY
    }

    /// # Errors
    /// [`DecodeError::Tolerance`] if the tolerance is negative or NaN.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        if self.tolerance_nats >= 0.0 { Ok(()) } else { Err(DecodeError::Tolerance { nats: self.tolerance_nats }) }
    }
}
