//! Texts as metrics see them.

use std::iter::Sum;

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Comparison, Interval, bootstrap, paired_bootstrap};
use crate::metric::{BleuStats, ChrfStats, RougeStats, Stemming};

/// Resamples of every interval.
const RESAMPLES: usize = 1000;

/// Scores of a corpus, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// BLEU.
    pub bleu: f64,
    /// chrF.
    pub chrf: f64,
    /// ROUGE-1 F1, with Porter's stems as are all of ROUGE here.
    pub rouge_1: f64,
    /// ROUGE-2 F1.
    pub rouge_2: f64,
    /// ROUGE-L F1.
    pub rouge_l: f64,
}

/// One figure for each of the metrics that claims are made in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByMetric<T> {
    /// By BLEU.
    pub bleu: T,
    /// By chrF.
    pub chrf: T,
    /// By ROUGE-L.
    pub rouge_l: T,
}

/// Texts as the metrics see them, each beside its reference: counted once, compared often.
#[derive(Clone, Debug)]
pub struct Judged {
    bleu: Vec<BleuStats>,
    chrf: Vec<ChrfStats>,
    rouge: Vec<RougeStats>,
}

impl Judged {
    /// Texts beside their references.
    pub fn new<'t, 'r>(
        texts: impl Iterator<Item = &'t str> + Clone,
        references: impl Iterator<Item = &'r str> + Clone,
    ) -> Self {
        let pairs = || texts.clone().zip(references.clone());
        Self {
            bleu: pairs().map(|(text, right)| BleuStats::of(text, right)).collect(),
            chrf: pairs().map(|(text, right)| ChrfStats::of(text, right)).collect(),
            rouge: pairs().map(|(text, right)| RougeStats::of(text, right, Stemming::Porter)).collect(),
        }
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

    /// How far these texts come on the way from a student's to its teacher's, with 95% intervals.
    pub fn gap_closed(&self, student: &Self, teacher: &Self) -> ByMetric<Interval> {
        fn closed<S: Copy + Sum>(systems: [&[S]; 3], score: impl Fn(&S) -> f64) -> Interval {
            let closed = |scores: &[f64]| (scores[0] - scores[1]) / (scores[2] - scores[1]);
            bootstrap(&systems, score, closed, RESAMPLES, 0)
        }
        ByMetric {
            bleu: closed([&self.bleu, &student.bleu, &teacher.bleu], BleuStats::score),
            chrf: closed([&self.chrf, &student.chrf, &teacher.chrf], ChrfStats::score),
            rouge_l: closed([&self.rouge, &student.rouge, &teacher.rouge], RougeStats::rouge_l),
        }
    }

    /// By how much these texts are better than another system's, with 95% intervals.
    pub fn over(&self, other: &Self) -> ByMetric<Comparison> {
        ByMetric {
            bleu: paired_bootstrap(&self.bleu, &other.bleu, BleuStats::score, RESAMPLES, 0),
            chrf: paired_bootstrap(&self.chrf, &other.chrf, ChrfStats::score, RESAMPLES, 0),
            rouge_l: paired_bootstrap(&self.rouge, &other.rouge, RougeStats::rouge_l, RESAMPLES, 0),
        }
    }

    /// The scores with their 95% intervals.
    pub fn intervals(&self) -> ByMetric<Interval> {
        fn interval<S: Copy + Sum>(stats: &[S], score: impl Fn(&S) -> f64) -> Interval {
            bootstrap(&[stats], score, |scores| scores[0], RESAMPLES, 0)
        }
        ByMetric {
            bleu: interval(&self.bleu, BleuStats::score),
            chrf: interval(&self.chrf, ChrfStats::score),
            rouge_l: interval(&self.rouge, RougeStats::rouge_l),
        }
    }
}
