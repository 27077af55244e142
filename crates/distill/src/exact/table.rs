//! A language model whose every number is known.

use super::log_sum_exp;

/// A language model as a table of `f64` log-probabilities over words, by the last few tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub(super) vocab: usize,
    pub(super) eos: u32,
    /// One row of `vocab` for each state.
    log_probs: Vec<f64>,
}

impl Table {
    /// The softmax of a table of logits, `vocab` to a row; `vocab^order` rows make the last `order` tokens count.
    ///
    /// # Panics
    /// If the rows are not a power of `vocab`, or `eos` is no word.
    pub fn from_logits(vocab: usize, eos: u32, logits: &[f64]) -> Self {
        let states = logits.len() / vocab;
        let mut power = 1;
        while power < states {
            power *= vocab;
        }
        assert!(power == states && states * vocab == logits.len(), "{} logits are no table of {vocab}", logits.len());
        assert!((eos as usize) < vocab, "the end mark {eos} is none of {vocab} words");
        let row = |row: &[f64]| {
            let total = log_sum_exp(row.iter().copied());
            row.iter().map(move |logit| logit - total).collect::<Vec<_>>()
        };
        Self { vocab, eos, log_probs: logits.chunks_exact(vocab).flat_map(row).collect() }
    }

    /// The number of words, the end mark among them.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The number of states.
    pub fn states(&self) -> usize {
        self.log_probs.len() / self.vocab
    }

    /// The state after `token` in `state`.
    pub fn next(&self, state: usize, token: usize) -> usize {
        (state * self.vocab + token) % self.states()
    }

    /// The log-probabilities of the words in `state`, nats.
    pub fn row(&self, state: usize) -> &[f64] {
        &self.log_probs[state * self.vocab..(state + 1) * self.vocab]
    }

    /// The reverse KL from a student's words to this teacher's in `state`, nats.
    pub fn divergence_of(&self, student: &Self, state: usize) -> f64 {
        student.row(state).iter().zip(self.row(state)).map(|(own, other)| own.exp() * (own - other)).sum()
    }

    pub(super) fn best(&self, state: usize) -> usize {
        let row = self.row(state);
        (1..self.vocab).fold(0, |best, word| if row[word] > row[best] { word } else { best })
    }
}
