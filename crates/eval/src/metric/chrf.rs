//! chrF and chrF++.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::ngrams;
use super::whitespace::{is_space, words};

/// The longest n-gram of characters.
const CHAR_ORDERS: usize = 6;
/// The longest n-gram of words, in chrF++.
const WORD_ORDERS: usize = 2;
/// Recall counts BETA times as much as precision.
const BETA: f64 = 2.0;

/// The n-grams of one order, on both sides and shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matches {
    /// N-grams of the text; 0 in a sentence whose reference is too short to have one.
    pub text: u64,
    /// N-grams of the reference.
    pub reference: u64,
    /// N-grams in both, each as often as the rarer side has it.
    pub shared: u64,
}

impl Matches {
    fn of<T: Eq + std::hash::Hash>(text: &[T], reference: &[T], order: usize) -> Self {
        let in_reference = ngrams::total(reference, order);
        Self {
            text: if in_reference > 0 { ngrams::total(text, order) } else { 0 },
            reference: in_reference,
            shared: ngrams::shared(text, reference, order),
        }
    }
}

impl Add for Matches {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            text: self.text + other.text,
            reference: self.reference + other.reference,
            shared: self.shared + other.shared,
        }
    }
}

/// What chrF (Popović, 2015, <https://aclanthology.org/W15-3049>) and chrF++ (Popović, 2017,
/// <https://aclanthology.org/W17-4770>) need to know of a text and its reference; statistics of several sentences add up.
///
/// With P and R the means of the n-gram precisions and recalls over the orders that occur on both sides, and beta = 2:
///
/// ```text
/// chrF = 100 * (1 + beta^2) P R / (beta^2 P + R)
/// ```
///
/// chrF takes n-grams of 1 to 6 characters without whitespace; chrF++ also those of 1 and 2 words, with one punctuation mark
/// cut off a word's end, or else off its start. The numbers equal sacrebleu's; see [`ChrfStats::SIGNATURE`] and
/// [`ChrfStats::SIGNATURE_PLUS_PLUS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChrfStats {
    /// N-grams of characters (Unicode scalar values), for n = 1 to 6.
    pub chars: [Matches; CHAR_ORDERS],
    /// N-grams of words, for n = 1 and 2.
    pub words: [Matches; WORD_ORDERS],
}

impl ChrfStats {
    /// The signature of the sacrebleu scores that [`score`](Self::score) equals.
    pub const SIGNATURE: &str = "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0";
    /// The signature of the sacrebleu scores that [`score_plus_plus`](Self::score_plus_plus) equals.
    pub const SIGNATURE_PLUS_PLUS: &str = "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0";

    /// The statistics of one text against its reference.
    pub fn of(text: &str, reference: &str) -> Self {
        let [text_chars, reference_chars] = [text, reference].map(characters);
        let [text_words, reference_words] = [text, reference].map(words_and_marks);
        Self {
            chars: std::array::from_fn(|n| Matches::of(&text_chars, &reference_chars, n + 1)),
            words: std::array::from_fn(|n| Matches::of(&text_words, &reference_words, n + 1)),
        }
    }

    /// chrF, 0 to 100, of a sentence or of a corpus.
    pub fn score(&self) -> f64 {
        f_score(self.chars.iter())
    }

    /// chrF++, 0 to 100, of a sentence or of a corpus.
    pub fn score_plus_plus(&self) -> f64 {
        f_score(self.chars.iter().chain(&self.words))
    }
}

impl Add for ChrfStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            chars: std::array::from_fn(|n| self.chars[n] + other.chars[n]),
            words: std::array::from_fn(|n| self.words[n] + other.words[n]),
        }
    }
}

impl Sum for ChrfStats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), Self::add)
    }
}

impl<'a> Sum<&'a Self> for ChrfStats {
    fn sum<I: Iterator<Item = &'a Self>>(stats: I) -> Self {
        stats.copied().sum()
    }
}

fn characters(text: &str) -> Vec<char> {
    text.chars().filter(|&c| !is_space(c)).collect()
}

/// Words, each with one ASCII punctuation mark cut off its end or, failing that, its start.
fn words_and_marks(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for word in words(text) {
        // An ASCII mark is one byte: cutting there keeps to the boundaries of characters.
        let cut = if word.chars().nth(1).is_none() {
            0
        } else if word.ends_with(|c: char| c.is_ascii_punctuation()) {
            word.len() - 1
        } else if word.starts_with(|c: char| c.is_ascii_punctuation()) {
            1
        } else {
            0
        };
        let (start, end) = word.split_at(cut);
        parts.extend([start, end].into_iter().filter(|part| !part.is_empty()));
    }
    parts
}

fn f_score<'a>(orders: impl Iterator<Item = &'a Matches>) -> f64 {
    let (mut precision, mut recall, mut count) = (0.0, 0.0, 0.0);
    for matches in orders.filter(|matches| matches.text > 0 && matches.reference > 0) {
        precision += matches.shared as f64 / matches.text as f64;
        recall += matches.shared as f64 / matches.reference as f64;
        count += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / count, recall / count);
    let factor = BETA * BETA;
    100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_cut_off_a_word_at_its_end_before_its_start() {
        assert_eq!(words_and_marks("(hi) \"no x. . è!"), ["(hi", ")", "\"", "no", "x", ".", ".", "è", "!"]);
    }

    #[test]
    fn recall_counts_more_than_precision() {
        let (long, short) = (ChrfStats::of("abcdef", "abc"), ChrfStats::of("abc", "abcdef"));
        assert!(long.score() > short.score());
    }

    #[test]
    fn nothing_scores_zero_and_is_no_nan() {
        assert_eq!(ChrfStats::default().score(), 0.0);
        assert_eq!(ChrfStats::of("", "parola").score_plus_plus(), 0.0);
    }
}
