//! The statistics of a corpus for all metrics.

use std::iter::Sum;

use serde::{Deserialize, Serialize};

use crate::metric::{BleuStats, ChrfStats, RougeStats, Stemming};
use crate::statistics::{Comparison, Interval, bootstrap, paired_bootstrap};

/// The number of bootstrap resamples behind each interval.
pub(crate) const RESAMPLES: usize = 1000;
/// The seed of the bootstrap. It is fixed, so that the same texts always have the same intervals.
const SEED: u64 = 0;

/// The scores of a corpus, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// BLEU.
    pub bleu: f64,
    /// chrF.
    pub chrf: f64,
    /// ROUGE-1 F1. This and the other ROUGE scores compare Porter stems.
    pub rouge_1: f64,
    /// ROUGE-2 F1.
    pub rouge_2: f64,
    /// ROUGE-L F1.
    pub rouge_l: f64,
}

/// One value for each of the three main metrics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByMetric<T> {
    /// The value for BLEU.
    pub bleu: T,
    /// The value for chrF.
    pub chrf: T,
    /// The value for ROUGE-L.
    pub rouge_l: T,
}

/// The statistics of all metrics for each sentence of a corpus.
///
/// Each text is compared with its reference only once. Scores and bootstrap resamples are sums of these statistics.
#[derive(Clone, Debug)]
pub struct CorpusStats {
    bleu: Vec<BleuStats>,
    chrf: Vec<ChrfStats>,
    rouge: Vec<RougeStats>,
}

impl CorpusStats {
    /// Computes the statistics of texts against their references, which must be in the same order.
    ///
    /// # Panics
    /// If there are not as many texts as references.
    pub fn new<'t, 'r>(
        texts: impl IntoIterator<Item = &'t str>,
        references: impl IntoIterator<Item = &'r str>,
    ) -> Self {
        let texts: Vec<&str> = texts.into_iter().collect();
        let references: Vec<&str> = references.into_iter().collect();
        let (count, other) = (texts.len(), references.len());
        assert_eq!(count, other, "there are {count} texts and {other} references; each text needs one reference");
        let (mut bleu, mut chrf, mut rouge) = (vec![], vec![], vec![]);
        for (text, reference) in texts.into_iter().zip(references) {
            bleu.push(BleuStats::of(text, reference));
            chrf.push(ChrfStats::of(text, reference));
            rouge.push(RougeStats::of(text, reference, Stemming::Porter));
        }
        Self { bleu, chrf, rouge }
    }

    /// The scores of the corpus.
    pub fn scores(&self) -> Scores {
        let rouge: RougeStats = self.rouge.iter().sum();
        Scores {
            bleu: self.bleu.iter().sum::<BleuStats>().score(),
            chrf: self.chrf.iter().sum::<ChrfStats>().score(),
            rouge_1: rouge.rouge_1(),
            rouge_2: rouge.rouge_2(),
            rouge_l: rouge.rouge_l(),
        }
    }

    /// The scores with their 95% intervals.
    ///
    /// # Panics
    /// If the corpus is empty.
    pub fn intervals(&self) -> ByMetric<Interval> {
        ByMetric {
            bleu: score_interval(&self.bleu, BleuStats::score),
            chrf: score_interval(&self.chrf, ChrfStats::score),
            rouge_l: score_interval(&self.rouge, RougeStats::rouge_l),
        }
    }

    /// The fraction of the gap between the scores of student and teacher that this system closes, with 95% intervals.
    ///
    /// ```text
    /// gap closed = (score - student's score) / (teacher's score - student's score)
    /// ```
    ///
    /// It is 0 for the student and 1 for the teacher, and can be negative or greater than 1. It is NaN or infinite if
    /// student and teacher have the same score.
    ///
    /// # Panics
    /// If the corpus is empty, or the three systems have different numbers of texts.
    pub fn gap_closed(&self, student: &Self, teacher: &Self) -> ByMetric<Interval> {
        ByMetric {
            bleu: gap_interval([&self.bleu, &student.bleu, &teacher.bleu], BleuStats::score),
            chrf: gap_interval([&self.chrf, &student.chrf, &teacher.chrf], ChrfStats::score),
            rouge_l: gap_interval([&self.rouge, &student.rouge, &teacher.rouge], RougeStats::rouge_l),
        }
    }

    /// The scores minus those of another system, with 95% intervals.
    ///
    /// # Panics
    /// If the corpus is empty, or the two systems have different numbers of texts.
    pub fn compare_to(&self, other: &Self) -> ByMetric<Comparison> {
        ByMetric {
            bleu: paired_bootstrap(&self.bleu, &other.bleu, BleuStats::score, RESAMPLES, SEED),
            chrf: paired_bootstrap(&self.chrf, &other.chrf, ChrfStats::score, RESAMPLES, SEED),
            rouge_l: paired_bootstrap(&self.rouge, &other.rouge, RougeStats::rouge_l, RESAMPLES, SEED),
        }
    }
}

fn score_interval<S: Copy + Sum>(stats: &[S], score: impl Fn(&S) -> f64) -> Interval {
    bootstrap(&[stats], score, |scores| scores[0], RESAMPLES, SEED)
}

/// The interval of the closed gap. `systems` are the system to judge, the student and the teacher.
fn gap_interval<S: Copy + Sum>(systems: [&[S]; 3], score: impl Fn(&S) -> f64) -> Interval {
    let fraction = |scores: &[f64]| (scores[0] - scores[1]) / (scores[2] - scores[1]);
    bootstrap(&systems, score, fraction, RESAMPLES, SEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCES: [&str; 3] =
        ["a fast text editor", "a library for the C language", "a client for electronic mail"];

    #[test]
    fn the_student_closes_none_of_the_gap_and_the_teacher_all_of_it() {
        let student = CorpusStats::new(["a text", "a library", "a mail"], REFERENCES);
        let teacher = CorpusStats::new(REFERENCES, REFERENCES);
        for (system, expected) in [(&student, 0.0), (&teacher, 1.0)] {
            let gap = system.gap_closed(&student, &teacher);
            assert_eq!((gap.chrf.value, gap.chrf.low, gap.chrf.high), (expected, expected, expected));
        }
        assert!(teacher.compare_to(&student).chrf.is_significant());
    }

    #[test]
    fn intervals_contain_the_scores() {
        let stats = CorpusStats::new(["a text editor", "a library for C", "a mail client"], REFERENCES);
        let (scores, intervals) = (stats.scores(), stats.intervals());
        let pairs = [(scores.bleu, intervals.bleu), (scores.chrf, intervals.chrf), (scores.rouge_l, intervals.rouge_l)];
        for (score, interval) in pairs {
            assert_eq!(score, interval.value);
            assert!(interval.low <= score && score <= interval.high, "{score} {interval:?}");
        }
    }

    #[test]
    #[should_panic(expected = "1 texts and 3 references")]
    fn texts_without_references_panic_with_both_counts() {
        CorpusStats::new(["a text editor"], REFERENCES);
    }
}
