//! Help that looks back.

use crate::DecodeError;

/// How far an expert looks back when it is called.
///
/// A model that is called reads every token since its last call anyway, and sees in the same forward what it would have
/// written in the place of each. Its [`Judgement`] gives the student's token y_t at position t a number of nats, and where
/// that first exceeds the tolerance the text is cut and answered; what the student wrote from there on is thrown away,
/// and it goes on from the answer. If there is no such place, the answer stands where it was asked for. Either way it is
/// one call and one forward. The default, an infinite tolerance, is plain asking.
///
/// What an expert wrote is settled, and all before it: it is never questioned again. So every round of decoding either
/// settles more of a text, or lets it grow without settling less, or ends it, and every text ends.
///
/// Each call is charged to the ledger at the position that it answers, and a cut goes back no further than where the
/// ledger is open for one more. Every prefix of a text therefore keeps to its budget in calls, however much was thrown
/// away: positions at which the budget had no room for a call stand as the student wrote them. A closing call that
/// changes nothing is charged at the last position.
///
/// With tolerance 0, closing calls and a budget of 100% the text is the teacher's greedy text (up to ties, and to
/// rounding), whatever the asking rule: speculative decoding (Leviathan et al. 2023, arXiv 2211.17192) in which the
/// student chooses the length of its drafts. [`Asking::Every`](crate::Asking::Every) fixes it, and
/// [`Asking::Adaptive`](crate::Asking::Adaptive) lets it follow what stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hindsight {
    /// By what words are judged.
    pub judgement: Judgement,
    /// What stands, in nats; infinite to let everything stand. Chance has no use for it.
    pub tolerance_nats: f64,
    /// Whether an expert is called once more when the student ends its text, or reaches the limit of length, to check
    /// what no expert has read. It answers only where it cuts. Nobody is called who lets everything stand.
    pub closing_call: bool,
}

/// By what an expert judges a student's word y_t, with p its own law over words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judgement {
    /// What the word is worth less than the expert's own: max_a log p(a | x, y_<t) - log p(y_t | x, y_<t).
    #[default]
    Regret,
    /// How unlikely the word is: -log p(y_t | x, y_<t), as BiLD rolls back (Kim et al. 2023, arXiv 2302.07863).
    Surprise,
    /// Chance, for texts that are drawn (speculative sampling; algorithm 1 of arXiv 2211.17192): with `q` the law that the
    /// student drew the word from, it stands with probability `min(1, p / q)`, and what takes its place is drawn from
    /// `max(0, p - q)`. With a closing call and a budget of 100% the text is a draw of the expert's.
    Chance,
}

impl Default for Hindsight {
    fn default() -> Self {
        Self { judgement: Judgement::Regret, tolerance_nats: f64::INFINITY, closing_call: false }
    }
}

impl Hindsight {
    /// The expert's greedy text, to the token: nothing stands that it would not have written.
    pub const LOSSLESS: Self = Self { judgement: Judgement::Regret, tolerance_nats: 0.0, closing_call: true };

    /// Whether some word may be taken back.
    pub(crate) fn looks_back(&self) -> bool {
        self.judgement == Judgement::Chance || self.tolerance_nats < f64::INFINITY
    }

    /// # Errors
    /// [`DecodeError::Tolerance`] where the tolerance is negative or no number.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        if self.tolerance_nats >= 0.0 { Ok(()) } else { Err(DecodeError::Tolerance { nats: self.tolerance_nats }) }
    }
}
