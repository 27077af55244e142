//! BLEU.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::ngrams;
use super::tokenize::tokenize_13a;

/// The longest n-gram that counts.
const ORDERS: usize = 4;

/// What BLEU (Papineni et al., 2002, <https://aclanthology.org/P02-1040>) needs to know of a text and its reference;
/// statistics of several sentences add up.
///
/// Over the sum of all sentences, with m_n matching and t_n written n-grams, h and r the lengths in words of text and
/// reference:
///
/// ```text
/// BLEU = 100 * min(1, exp(1 - r / h)) * (p_1 p_2 p_3 p_4)^(1/4),   p_n = m_n / t_n
/// ```
///
/// Where m_n = 0 < t_n, p_n = 1 / (2^k t_n) for the k-th such order (`exp` smoothing). The numbers equal sacrebleu's at its
/// defaults, see [`BleuStats::SIGNATURE`]; with one reference for each text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BleuStats {
    /// Words of the text.
    pub text_length: u64,
    /// Words of the reference.
    pub reference_length: u64,
    /// Matching n-grams, for n = 1 to 4; an n-gram matches at most as often as the reference has it.
    pub matches: [u64; ORDERS],
    /// N-grams of the text, for n = 1 to 4.
    pub totals: [u64; ORDERS],
}

impl BleuStats {
    /// The signature of the sacrebleu scores that [`score`](Self::score) equals.
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

    /// Corpus BLEU, 0 to 100; 0 where there is no 4-gram at all, as in a corpus of very short texts.
    pub fn score(&self) -> f64 {
        self.over_orders(ORDERS)
    }

    /// BLEU of a single sentence, 0 to 100: the mean is over the orders that the text is long enough for
    /// (`effective_order` in sacrebleu).
    pub fn sentence_score(&self) -> f64 {
        self.over_orders(self.totals.iter().take_while(|&&total| total > 0).count())
    }

    /// The smoothed precisions p_1 to p_4, in percent; all 0 where nothing matches.
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

    /// The factor, 0 to 1, that a text shorter than its reference is charged.
    pub fn brevity_penalty(&self) -> f64 {
        if self.text_length >= self.reference_length {
            1.0
        } else if self.text_length == 0 {
            0.0
        } else {
            (1.0 - self.reference_length as f64 / self.text_length as f64).exp()
        }
    }

    fn over_orders(&self, orders: usize) -> f64 {
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
    fn the_sentence_of_the_paper_has_its_modified_precision() {
        // Example 2 of Papineni et al.: seven times "the", of which the reference has two.
        let stats = BleuStats::of("the the the the the the the", "The cat is on the mat and the dog");
        assert_eq!((stats.matches[0], stats.totals[0]), (2, 7));
    }

    #[test]
    fn a_text_half_as_long_pays_e_to_the_minus_one() {
        let stats = BleuStats::of("a b c d", "a b c d e f g h");
        assert!((stats.score() - 100.0 * (-1.0f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn nothing_scores_zero_and_is_no_nan() {
        assert_eq!(BleuStats::default().score(), 0.0);
        assert_eq!(BleuStats::default().sentence_score(), 0.0);
    }
}
