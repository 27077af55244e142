//! ROUGE: overlap of n-grams and of common subsequences.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::ngrams;
use super::porter::porter_stem;

/// The length of the longest words that are not stemmed, characters.
const LONGEST_UNSTEMMED: usize = 3;

/// Whether ROUGE compares words or their stems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stemming {
    /// Compare words.
    #[default]
    Off,
    /// Compare the stems of words of more than three characters. The stemmer is for English: Porter, "An algorithm for
    /// suffix stripping" (Program 14, 1980), with the changes of nltk's `PorterStemmer`, as in rouge-score.
    Porter,
}

/// Precision, recall and F1 of one kind of ROUGE. Each is 0 to 1 for one text, or a sum over several texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecall {
    /// The number of shared units, divided by the number of units of the text.
    pub precision: f64,
    /// The number of shared units, divided by the number of units of the reference.
    pub recall: f64,
    /// The harmonic mean of precision and recall for one text. It is 0 if both are 0.
    pub f1: f64,
}

impl PrecisionRecall {
    fn of(shared: u64, text: u64, reference: u64) -> Self {
        let [precision, recall] = [text, reference].map(|total| shared as f64 / total.max(1) as f64);
        let f1 = if shared > 0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f1 }
    }

    fn of_ngrams(text: &[String], reference: &[String], order: usize) -> Self {
        let shared = ngrams::shared(text, reference, order);
        Self::of(shared, ngrams::total(text, order), ngrams::total(reference, order))
    }

    fn divided_by(self, count: f64) -> Self {
        Self { precision: self.precision / count, recall: self.recall / count, f1: self.f1 / count }
    }
}

impl Add for PrecisionRecall {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { precision: self.precision + other.precision, recall: self.recall + other.recall, f1: self.f1 + other.f1 }
    }
}

/// ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin, 2004, <https://aclanthology.org/W04-1013>).
///
/// The statistics are those of one text and its reference, or a sum over several texts. If a text has t units, its
/// reference has r units, and they share s units, then for this text:
///
/// ```text
/// P = s / t,   R = s / r,   F1 = 2 P R / (P + R)
/// ```
///
/// - ROUGE-N: the units are n-grams of words. An n-gram is shared as often as it occurs on the side with fewer of it
///   (equation 1 of the paper is R).
/// - ROUGE-L: the units are words, and s is the length of the longest common subsequence (equations 2 to 4).
/// - ROUGE-Lsum: the units are words, and each line is a sentence. A word in a sentence of the reference is shared if
///   it is in the longest common subsequence of this sentence and any sentence of the text (equations 5 to 7). A word
///   is shared at most as often as it occurs in the text. If text and reference have one line each, ROUGE-Lsum equals
///   ROUGE-L.
///
/// The score of a corpus is the mean F1 of its texts. The scores equal those of Google's
/// [rouge-score](https://pypi.org/project/rouge-score/) 0.1.2, which differs from the paper in two points: it limits
/// repeated words in ROUGE-Lsum, and its F1 gives precision and recall the same weight. Each text has one reference.
///
/// Words are runs of ASCII letters and digits in lower case, and all other characters separate words. So `perché`
/// becomes `perch`, and a Chinese text has no words and scores 0 even against itself.
///
/// ```
/// use wheels_eval::metric::{RougeStats, Stemming};
///
/// let pairs = [("an editor of texts", "a text editor"), ("a C library", "library for C")];
/// let stats = pairs.map(|(text, reference)| RougeStats::of(text, reference, Stemming::Porter));
/// let rouge: RougeStats = stats.iter().sum();
/// assert_eq!(format!("{:.1} {:.1}", rouge.rouge_1(), rouge.rouge_l()), "61.9 31.0");
/// assert_eq!(format!("{:.3}", rouge.mean().one.precision), "0.583");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RougeStats {
    /// The sum of ROUGE-1 over the texts.
    pub one: PrecisionRecall,
    /// The sum of ROUGE-2 over the texts.
    pub two: PrecisionRecall,
    /// The sum of ROUGE-L over the texts.
    pub l: PrecisionRecall,
    /// The sum of ROUGE-Lsum over the texts.
    pub l_sum: PrecisionRecall,
    /// The number of texts.
    pub count: u64,
}

impl RougeStats {
    /// The statistics of one text against its reference.
    pub fn of(text: &str, reference: &str, stemming: Stemming) -> Self {
        let (text_lines, reference_lines) = (lines(text, stemming), lines(reference, stemming));
        let (text, reference) = (text_lines.concat(), reference_lines.concat());
        let (text_length, reference_length) = (text.len() as u64, reference.len() as u64);
        let subsequence = common_subsequence(&reference, &text).len() as u64;
        let mut union = Vec::new();
        for line in &reference_lines {
            union.extend(union_subsequence(line, &text_lines));
        }
        Self {
            one: PrecisionRecall::of_ngrams(&text, &reference, 1),
            two: PrecisionRecall::of_ngrams(&text, &reference, 2),
            l: PrecisionRecall::of(subsequence, text_length, reference_length),
            l_sum: PrecisionRecall::of(ngrams::shared(&union, &text, 1), text_length, reference_length),
            count: 1,
        }
    }

    /// The mean over the texts, with precision, recall and F1 from 0 to 1. All are 0 if there are no texts.
    pub fn mean(&self) -> Self {
        let count = self.count.max(1) as f64;
        Self {
            one: self.one.divided_by(count),
            two: self.two.divided_by(count),
            l: self.l.divided_by(count),
            l_sum: self.l_sum.divided_by(count),
            count: self.count.min(1),
        }
    }

    /// ROUGE-1 of a text or a corpus: the mean F1, 0 to 100.
    pub fn rouge_1(&self) -> f64 {
        100.0 * self.mean().one.f1
    }

    /// ROUGE-2 of a text or a corpus: the mean F1, 0 to 100.
    pub fn rouge_2(&self) -> f64 {
        100.0 * self.mean().two.f1
    }

    /// ROUGE-L of a text or a corpus: the mean F1, 0 to 100.
    pub fn rouge_l(&self) -> f64 {
        100.0 * self.mean().l.f1
    }

    /// ROUGE-Lsum of a text or a corpus: the mean F1, 0 to 100.
    pub fn rouge_l_sum(&self) -> f64 {
        100.0 * self.mean().l_sum.f1
    }
}

impl Add for RougeStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            one: self.one + other.one,
            two: self.two + other.two,
            l: self.l + other.l,
            l_sum: self.l_sum + other.l_sum,
            count: self.count + other.count,
        }
    }
}

impl Sum for RougeStats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), Self::add)
    }
}

impl<'a> Sum<&'a Self> for RougeStats {
    fn sum<I: Iterator<Item = &'a Self>>(stats: I) -> Self {
        stats.copied().sum()
    }
}

/// The words of each line of a text, or their stems.
fn lines(text: &str, stemming: Stemming) -> Vec<Vec<String>> {
    text.lines().map(|line| words(line, stemming)).collect()
}

fn words(text: &str, stemming: Stemming) -> Vec<String> {
    let mut words = Vec::new();
    // Lower case comes first: it turns the Kelvin sign, which is not ASCII, into a k.
    for word in text.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()) {
        match stemming {
            _ if word.is_empty() => (),
            Stemming::Porter if word.len() > LONGEST_UNSTEMMED => words.push(porter_stem(word)),
            Stemming::Porter | Stemming::Off => words.push(word.to_owned()),
        }
    }
    words
}

/// The positions in `reference` of the words of its longest common subsequence with `text`, from the last to the first.
///
/// There may be several longest subsequences, and the union over lines depends on which one is taken. This is the one
/// of rouge-score: it goes back from the ends and pairs equal last words. If either last word can be left out, it
/// leaves out that of the reference.
fn common_subsequence(reference: &[String], text: &[String]) -> Vec<usize> {
    // lengths[i][j] is the length for the first i words of the reference and the first j words of the text.
    let mut lengths = vec![vec![0u32; text.len() + 1]; reference.len() + 1];
    for (i, left) in reference.iter().enumerate() {
        for (j, right) in text.iter().enumerate() {
            lengths[i + 1][j + 1] =
                if left == right { lengths[i][j] + 1 } else { lengths[i][j + 1].max(lengths[i + 1][j]) };
        }
    }
    let (mut i, mut j) = (reference.len(), text.len());
    let mut positions = Vec::new();
    while i > 0 && j > 0 {
        if reference[i - 1] == text[j - 1] {
            (i, j) = (i - 1, j - 1);
            positions.push(i);
        } else if lengths[i][j - 1] > lengths[i - 1][j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    positions
}

/// The words of one line of the reference that are in its longest common subsequence with any line of the text.
fn union_subsequence(reference: &[String], text: &[Vec<String>]) -> Vec<String> {
    let mut shared = vec![false; reference.len()];
    for line in text {
        for position in common_subsequence(reference, line) {
            shared[position] = true;
        }
    }
    reference.iter().zip(shared).filter(|(_, shared)| *shared).map(|(word, _)| word.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rouge(text: &str, reference: &str) -> RougeStats {
        RougeStats::of(text, reference, Stemming::Off)
    }

    #[test]
    fn the_example_sentences_of_the_paper_have_its_scores() {
        // Section 3.1: S2 shares "police the gunman" with S1, and S3 shares "the gunman".
        let reference = "police killed the gunman";
        assert_eq!(rouge("police kill the gunman", reference).l.f1, 0.75);
        assert_eq!(rouge("the gunman kill police", reference).l.f1, 0.5);
        // ROUGE-2 does not distinguish them.
        assert_eq!(rouge("police kill the gunman", reference).two, rouge("the gunman kill police", reference).two);
    }

    #[test]
    fn the_example_union_of_the_paper_has_four_of_five_words() {
        // Section 3.2: w1 w2 w3 w4 w5 against w1 w2 w6 w7 w8 and w1 w3 w8 w9 w5.
        let stats = rouge("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5");
        assert_eq!(stats.l_sum.recall, 4.0 / 5.0);
    }

    #[test]
    fn a_word_of_the_union_counts_at_most_as_often_as_in_the_text() {
        let stats = rouge("the", "the cat\nthe dog");
        assert_eq!((stats.l_sum.precision, stats.l_sum.recall), (1.0, 0.25));
    }

    #[test]
    fn words_are_runs_of_ascii_letters_and_digits() {
        assert_eq!(words("L'È perché: 2.0-rc1 \u{212a}", Stemming::Off), ["l", "perch", "2", "0", "rc1", "k"]);
    }

    #[test]
    fn words_of_three_characters_are_not_stemmed() {
        assert_eq!(words("Uses use cats was", Stemming::Porter), ["use", "use", "cat", "was"]);
    }

    #[test]
    fn empty_texts_score_zero_and_not_nan() {
        assert_eq!(RougeStats::default().rouge_1(), 0.0);
        assert_eq!(rouge("", "word"), RougeStats { count: 1, ..RougeStats::default() });
        assert_eq!(rouge("我喜欢", "我喜欢").rouge_l_sum(), 0.0);
    }
}
