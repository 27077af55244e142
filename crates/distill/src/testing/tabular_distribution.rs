//! A language model whose every probability is known.

use super::log_sum_exp;

/// A language model as a table of `f64` log-probs of the next word, one row per state. A state is the last few words.
#[derive(Clone, Debug, PartialEq)]
pub struct TabularDistribution {
    pub(super) vocab: usize,
    pub(super) eos: u32,
    /// One row of `vocab` log-probs for each state.
    log_probs: Vec<f64>,
}

impl TabularDistribution {
    /// The softmax of a table of logits whose rows have `vocab` logits. A table of `vocab^order` rows depends on the
    /// last `order` words.
    ///
    /// # Panics
    /// If the number of rows is not a power of `vocab`, or `eos` is not below `vocab`.
    pub fn from_logits(vocab: usize, eos: u32, logits: &[f64]) -> Self {
        let states = logits.len() / vocab;
        let mut power = 1;
        while power < states {
            power *= vocab;
        }
        assert!(
            power == states && states * vocab == logits.len(),
            "{} logits are not a table with {vocab} columns and a power of {vocab} rows",
            logits.len(),
        );
        assert!((eos as usize) < vocab, "the end-of-text token {eos} is not one of the {vocab} words");
        let mut log_probs = Vec::with_capacity(logits.len());
        for row in logits.chunks_exact(vocab) {
            let total = log_sum_exp(row.iter().copied());
            log_probs.extend(row.iter().map(|logit| logit - total));
        }
        Self { vocab, eos, log_probs }
    }

    /// The number of words, including the end-of-text token.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The number of states.
    pub fn states(&self) -> usize {
        self.log_probs.len() / self.vocab
    }

    /// The state after `word` in `state`.
    pub fn next_state(&self, state: usize, word: usize) -> usize {
        (state * self.vocab + word) % self.states()
    }

    /// The log-probs of the words in `state`, nats.
    pub fn log_probs(&self, state: usize) -> &[f64] {
        &self.log_probs[state * self.vocab..(state + 1) * self.vocab]
    }

    /// The reverse KL from a student to this teacher in `state`, nats.
    pub fn divergence_of(&self, student: &Self, state: usize) -> f64 {
        let pairs = student.log_probs(state).iter().zip(self.log_probs(state));
        pairs.map(|(own, teacher)| own.exp() * (own - teacher)).sum()
    }

    /// The most likely word in `state`. Ties go to the lowest index.
    pub(super) fn most_likely(&self, state: usize) -> usize {
        let row = self.log_probs(state);
        (1..self.vocab).fold(0, |best, word| if row[word] > row[best] { word } else { best })
    }
}
