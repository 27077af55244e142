//! ROUGE.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::ngrams;
use super::porter::porter_stem;

/// The longest word that is not stemmed, in characters.
const NEVER_STEMMED: usize = 3;

/// Whether words are compared by their stems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stemming {
    /// Words are compared as they are.
    #[default]
    Off,
    /// Words of more than three characters are compared by their [stems](porter_stem). The stemmer is for English.
    Porter,
}

/// Precision, recall and F1 of one kind of ROUGE: each 0 to 1 for one text, and a sum of such over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecall {
    /// What is shared, over what the text has.
    pub precision: f64,
    /// What is shared, over what the reference has.
    pub recall: f64,
    /// Their harmonic mean for one text; 0 where both are 0.
    pub f1: f64,
}

impl PrecisionRecall {
    fn of(shared: u64, text: u64, reference: u64) -> Self {
        let [precision, recall] = [text, reference].map(|total| shared as f64 / total.max(1) as f64);
        let f1 = if shared > 0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f1 }
    }

    fn over(self, count: f64) -> Self {
        Self { precision: self.precision / count, recall: self.recall / count, f1: self.f1 / count }
    }
}

impl Add for PrecisionRecall {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { precision: self.precision + other.precision, recall: self.recall + other.recall, f1: self.f1 + other.f1 }
    }
}

/// ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin, 2004, <https://aclanthology.org/W04-1013>) of a text against its
/// reference; those of several texts add up.
///
/// For one text, with s of its t units shared with the reference, which has r:
///
/// ```text
/// P = s / t,   R = s / r,   F1 = 2 P R / (P + R)
/// ```
///
/// - ROUGE-N: units are n-grams of words; s counts each as often as both sides have it (equation 1 of the paper is R).
/// - ROUGE-L: units are words; s is the length of the longest common subsequence (equations 2 to 4).
/// - ROUGE-Lsum: units are words, and each line is a sentence. A word of a reference's sentence is shared if it is in the
///   longest common subsequence of that sentence with any of the text's (equations 5 to 7), but a word counts at most as
///   often as the text has it. Of a text and a reference of one line each, ROUGE-Lsum is ROUGE-L.
///
/// The score of a corpus is the mean F1 of its texts. The numbers equal those of Google's
/// [rouge-score](https://pypi.org/project/rouge-score/) 0.1.2, from which come the bound on repeated words and F1 where the
/// paper weighs recall; there is one reference for each text.
///
/// Words are runs of ASCII letters and digits in lower case, and everything else separates them: `perché` is `perch`, and a
/// Chinese text has no words, so that it scores 0 even against itself.
///
/// ```
/// use wheels_eval::metric::{RougeStats, Stemming};
///
/// let pairs = [("an editor of texts", "a text editor"), ("a C library", "library for C")];
/// let rouge: RougeStats = pairs.iter().map(|(text, reference)| RougeStats::of(text, reference, Stemming::Porter)).sum();
/// assert_eq!(format!("{:.1} {:.1}", rouge.rouge_1(), rouge.rouge_l()), "61.9 31.0");
/// assert_eq!(format!("{:.3}", rouge.mean().one.precision), "0.583");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RougeStats {
    /// ROUGE-1, summed over texts.
    pub one: PrecisionRecall,
    /// ROUGE-2, summed over texts.
    pub two: PrecisionRecall,
    /// ROUGE-L, summed over texts.
    pub l: PrecisionRecall,
    /// ROUGE-Lsum, summed over texts.
    pub l_sum: PrecisionRecall,
    /// Texts.
    pub count: u64,
}

impl RougeStats {
    /// The statistics of one text against its reference.
    pub fn of(text: &str, reference: &str, stemming: Stemming) -> Self {
        let [text_lines, reference_lines] = [text, reference].map(|side| lines(side, stemming));
        let [text, reference] = [&text_lines, &reference_lines].map(|lines| lines.concat());
        let ngrams = |n| {
            let [in_text, in_reference] = [&text, &reference].map(|words| ngrams::total(words, n));
            PrecisionRecall::of(ngrams::shared(&text, &reference, n), in_text, in_reference)
        };
        let words = |shared| PrecisionRecall::of(shared, text.len() as u64, reference.len() as u64);
        let union: Vec<_> = reference_lines.iter().flat_map(|line| union_subsequence(line, &text_lines)).collect();
        Self {
            one: ngrams(1),
            two: ngrams(2),
            l: words(common_subsequence(&reference, &text).len() as u64),
            l_sum: words(ngrams::shared(&union, &text, 1)),
            count: 1,
        }
    }

    /// The mean of the texts: each sum over the count, so that all numbers are 0 to 1; all 0 where there is no text.
    pub fn mean(&self) -> Self {
        let over_count = |sums: PrecisionRecall| sums.over(self.count.max(1) as f64);
        Self {
            one: over_count(self.one),
            two: over_count(self.two),
            l: over_count(self.l),
            l_sum: over_count(self.l_sum),
            count: self.count.min(1),
        }
    }

    /// ROUGE-1 of a text or of a corpus: the mean F1, 0 to 100.
    pub fn rouge_1(&self) -> f64 {
        100.0 * self.mean().one.f1
    }

    /// ROUGE-2 of a text or of a corpus: the mean F1, 0 to 100.
    pub fn rouge_2(&self) -> f64 {
        100.0 * self.mean().two.f1
    }

    /// ROUGE-L of a text or of a corpus: the mean F1, 0 to 100.
    pub fn rouge_l(&self) -> f64 {
        100.0 * self.mean().l.f1
    }

    /// ROUGE-Lsum of a text or of a corpus: the mean F1, 0 to 100.
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

/// The words of each line.
fn lines(text: &str, stemming: Stemming) -> Vec<Vec<String>> {
    text.lines().map(|line| words(line, stemming)).collect()
}

fn words(text: &str, stemming: Stemming) -> Vec<String> {
    let compared = |word: &str| match stemming {
        Stemming::Porter if word.len() > NEVER_STEMMED => porter_stem(word),
        Stemming::Porter | Stemming::Off => word.to_owned(),
    };
    // In this order: the Kelvin sign is a k in lower case.
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).map(compared).collect()
}

/// The places of the words of `reference` that are in its longest common subsequence with `text`, from the last to the
/// first. Of several such subsequences, whose choice matters to the union over lines, it is the one that rouge-score reads:
/// from the ends, equal last words are paired, and where either may be left out, that of the reference is.
fn common_subsequence(reference: &[String], text: &[String]) -> Vec<usize> {
    // lengths[i][j]: of the first i words of the reference and the first j of the text.
    let mut lengths = vec![vec![0u32; text.len() + 1]; reference.len() + 1];
    for (i, left) in reference.iter().enumerate() {
        for (j, right) in text.iter().enumerate() {
            lengths[i + 1][j + 1] =
                if left == right { lengths[i][j] + 1 } else { lengths[i][j + 1].max(lengths[i + 1][j]) };
        }
    }
    let (mut i, mut j) = (reference.len(), text.len());
    let mut places = Vec::new();
    while i > 0 && j > 0 {
        if reference[i - 1] == text[j - 1] {
            (i, j) = (i - 1, j - 1);
            places.push(i);
        } else if lengths[i][j - 1] > lengths[i - 1][j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    places
}

/// The words of a line of the reference that are in a common subsequence with any line of the text.
fn union_subsequence(reference: &[String], text: &[Vec<String>]) -> Vec<String> {
    let mut shared = vec![false; reference.len()];
    for line in text {
        for place in common_subsequence(reference, line) {
            shared[place] = true;
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
    fn the_sentences_of_the_paper_have_its_scores() {
        // Section 3.1: S2 shares "police the gunman" with S1, S3 "the gunman".
        let reference = "police killed the gunman";
        assert_eq!(rouge("police kill the gunman", reference).l.f1, 0.75);
        assert_eq!(rouge("the gunman kill police", reference).l.f1, 0.5);
        // For ROUGE-2 they are the same.
        assert_eq!(rouge("police kill the gunman", reference).two, rouge("the gunman kill police", reference).two);
    }

    #[test]
    fn the_union_of_the_paper_has_four_words_of_five() {
        // Section 3.2: w1 w2 w3 w4 w5 against w1 w2 w6 w7 w8 and w1 w3 w8 w9 w5.
        let stats = rouge("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5");
        assert_eq!(stats.l_sum.recall, 4.0 / 5.0);
    }

    #[test]
    fn a_word_of_the_union_counts_as_often_as_the_text_has_it() {
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
    fn nothing_scores_zero_and_is_no_nan() {
        assert_eq!(RougeStats::default().rouge_1(), 0.0);
        assert_eq!(rouge("", "word"), RougeStats { count: 1, ..RougeStats::default() });
        assert_eq!(rouge("我喜欢", "我喜欢").rouge_l_sum(), 0.0);
    }
}
