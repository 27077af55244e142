//! BLEU: modified n-gram precision with a brevity penalty.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::ngrams;
use super::tokenize::tokenize_13a;

/// The longest n-grams that are counted, words.
const ORDERS: usize = 4;

/// The counts from which BLEU is computed (Papineni et al., 2002, <https://aclanthology.org/P02-1040>).
///
/// The counts are those of one text and its reference, or a sum over several texts. Let m_n be the number of matching
/// n-grams, t_n the number of n-grams of the texts, and h and r the lengths of texts and references in words. Then:
///
/// ```text
/// BLEU = 100 * min(1, exp(1 - r / h)) * (p_1 p_2 p_3 p_4)^(1/4),   p_n = m_n / t_n
/// ```
///
/// If m_n = 0 and t_n > 0, p_n is 1 / (2^k t_n) for the k-th such order (`exp` smoothing). The scores equal those of
/// sacrebleu with its default settings, which include the tokenizer `13a`; see [`BleuStats::SIGNATURE`]. Each text has
/// one reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BleuStats {
    /// The number of words in the text.
    pub text_length: u64,
    /// The number of words in the reference.
    pub reference_length: u64,
    /// The number of matching n-grams, for n = 1 to 4. Each counts at most as often as it occurs in the reference.
    pub matches: [u64; ORDERS],
    /// The number of n-grams in the text, for n = 1 to 4.
    pub totals: [u64; ORDERS],
}

impl BleuStats {
    /// The sacrebleu signature of [`score`](Self::score).
    pub const SIGNATURE: &str = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0";

    /// The statistics of one text against its reference.
    pub fn of(text: &str, reference: &str) -> Self {
        let (text, reference) = (tokenize_13a(text), tokenize_13a(reference));
        let mut stats =
            Self { text_length: text.len() as u64, reference_length: reference.len() as u64, ..Self::default() };
        for n in 1..=ORDERS {
            stats.matches[n - 1] = ngrams::shared(&text, &reference, n);
            stats.totals[n - 1] = ngrams::total(&text, n);
        }
        stats
    }

    /// Corpus BLEU, 0 to 100. It is 0 if no text has a 4-gram.
    pub fn score(&self) -> f64 {
        self.mean_over_orders(ORDERS)
    }

    /// Sentence BLEU, 0 to 100: the mean includes only the n-gram orders that occur in the text (`effective_order` in
    /// sacrebleu).
    pub fn sentence_score(&self) -> f64 {
        self.mean_over_orders(self.totals.iter().take_while(|&&total| total > 0).count())
    }

    /// The smoothed precisions p_1 to p_4, in percent. All are 0 if nothing matches.
    pub fn precisions(&self) -> [f64; ORDERS] {
        let mut precisions = [0.0; ORDERS];
        if self.matches.iter().all(|&matches| matches == 0) {
            return precisions;
        }
        let mut smoothing = 1.0;
        for ((precision, &matches), &total) in precisions.iter_mut().zip(&self.matches).zip(&self.totals) {
            if total == 0 {
                break;
            }
            *precision = if matches > 0 {
                100.0 * matches as f64 / total as f64
            } else {
                smoothing *= 2.0;
                100.0 / (smoothing * total as f64)
            };
        }
        precisions
    }

    /// The brevity penalty min(1, exp(1 - r / h)), 0 to 1. It is below 1 if the text is shorter than the reference.
    pub fn brevity_penalty(&self) -> f64 {
        if self.text_length >= self.reference_length {
            1.0
        } else if self.text_length == 0 {
            0.0
        } else {
            (1.0 - self.reference_length as f64 / self.text_length as f64).exp()
        }
    }

    /// The brevity penalty times the geometric mean of the first `orders` precisions.
    fn mean_over_orders(&self, orders: usize) -> f64 {
        let precisions = &self.precisions()[..orders];
        if precisions.iter().all(|&precision| precision > 0.0) && orders > 0 {
            let mean_log = precisions.iter().map(|precision| precision.ln()).sum::<f64>() / orders as f64;
            self.brevity_penalty() * mean_log.exp()
        } else {
            0.0
        }
    }
}

impl Add for BleuStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            text_length: self.text_length + other.text_length,
            reference_length: self.reference_length + other.reference_length,
            matches: std::array::from_fn(|n| self.matches[n] + other.matches[n]),
            totals: std::array::from_fn(|n| self.totals[n] + other.totals[n]),
        }
    }
}

impl Sum for BleuStats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), Self::add)
    }
}

impl<'a> Sum<&'a Self> for BleuStats {
    fn sum<I: Iterator<Item = &'a Self>>(stats: I) -> Self {
        stats.copied().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_paper_has_its_modified_precision() {
        // Example 2 of Papineni et al.: "the" occurs seven times in the text and twice in the reference.
        let stats = BleuStats::of("the the the the the the the", "The cat is on the mat and the dog");
        assert_eq!((stats.matches[0], stats.totals[0]), (2, 7));
    }

    #[test]
    fn a_text_half_as_long_has_a_brevity_penalty_of_one_over_e() {
        let stats = BleuStats::of("a b c d", "a b c d e f g h");
        assert!((stats.score() - 100.0 * (-1.0f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn empty_texts_score_zero_and_not_nan() {
        assert_eq!(BleuStats::default().score(), 0.0);
        assert_eq!(BleuStats::default().sentence_score(), 0.0);
    }
}
