//! chrF and chrF++: F-scores of character n-grams, and of word n-grams.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::ngrams;
use super::whitespace::{is_space, words};

/// The longest character n-grams.
const CHAR_ORDERS: usize = 6;
/// The longest word n-grams, which only chrF++ counts.
const WORD_ORDERS: usize = 2;
/// The weight of recall relative to precision.
const BETA: f64 = 2.0;

/// The numbers of n-grams of one order: in the text, in the reference, and in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Matches {
    /// The number in the text, or 0 if the reference has no n-gram of this order.
    text: u64,
    /// The number in the reference.
    reference: u64,
    /// The number in both. An n-gram counts as often as it occurs on the side with fewer of it.
    shared: u64,
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

/// The counts from which chrF (Popović, 2015, <https://aclanthology.org/W15-3049>) and chrF++ (Popović, 2017,
/// <https://aclanthology.org/W17-4770>) are computed.
///
/// The counts are those of one text and its reference, or a sum over several texts. Let P and R be the means of the
/// n-gram precisions and recalls over the orders that occur on both sides, and beta = 2. Then:
///
/// ```text
/// chrF = 100 * (1 + beta^2) P R / (beta^2 P + R)
/// ```
///
/// chrF counts n-grams of 1 to 6 characters (Unicode scalar values) and ignores whitespace. chrF++ also counts n-grams
/// of 1 and 2 words; a punctuation mark at the end of a word, or else at its start, is a word of its own. The scores
/// equal those of sacrebleu; see [`ChrfStats::SIGNATURE`] and [`ChrfStats::SIGNATURE_PLUS_PLUS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChrfStats {
    /// Character n-grams, for n = 1 to 6.
    chars: [Matches; CHAR_ORDERS],
    /// Word n-grams, for n = 1 and 2.
    words: [Matches; WORD_ORDERS],
}

impl ChrfStats {
    /// The sacrebleu signature of [`score`](Self::score).
    pub const SIGNATURE: &str = "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0";
    /// The sacrebleu signature of [`score_plus_plus`](Self::score_plus_plus).
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

    /// chrF of a sentence or a corpus, 0 to 100.
    pub fn score(&self) -> f64 {
        f_score(self.chars.iter())
    }

    /// chrF++ of a sentence or a corpus, 0 to 100.
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

/// The characters of a text without whitespace.
fn characters(text: &str) -> Vec<char> {
    text.chars().filter(|&c| !is_space(c)).collect()
}

/// The words of a text, with one ASCII punctuation mark split off the end of each, or else off its start.
fn words_and_marks(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for word in words(text) {
        // An ASCII mark is one byte, so both parts are valid UTF-8. A word of one character is not split.
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

/// The F-score, 0 to 100, of the mean precision and the mean recall over the orders that both sides have.
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
    fn one_punctuation_mark_is_split_off_the_end_or_else_the_start() {
        assert_eq!(words_and_marks("(hi) \"no x. . è!"), ["(hi", ")", "\"", "no", "x", ".", ".", "è", "!"]);
    }

    #[test]
    fn recall_weighs_more_than_precision() {
        let (long, short) = (ChrfStats::of("abcdef", "abc"), ChrfStats::of("abc", "abcdef"));
        assert!(long.score() > short.score());
    }

    #[test]
    fn empty_texts_score_zero_and_not_nan() {
        assert_eq!(ChrfStats::default().score(), 0.0);
        assert_eq!(ChrfStats::of("", "parola").score_plus_plus(), 0.0);
    }
}
