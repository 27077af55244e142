//! Comparison of systems with the student alone and the teacher alone.

use serde::{Deserialize, Serialize};

use crate::metric::BleuStats;
use crate::statistics::{Comparison, Interval};
use crate::{ByMetric, CorpusStats, Scores, SystemOutput};

/// The student alone and the teacher alone, with which all other systems are compared.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// The statistics of the student alone.
    pub student: &'a CorpusStats,
    /// The statistics of the teacher alone.
    pub teacher: &'a CorpusStats,
    /// The texts of the teacher alone.
    pub teacher_output: &'a SystemOutput,
}

/// The quality and the work of one system in a [`Sweep`].
///
/// The field names are the keys of its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// The name of the system, such as `student`, `teacher` or `draft:4`.
    pub decoder: String,
    /// The budget as a fraction of the tokens, 0 to 1.
    pub budget: f64,
    /// The scores against the references, 0 to 100.
    #[serde(flatten)]
    pub scores: Scores,
    /// The corpus BLEU against the texts of the teacher alone, 0 to 100.
    pub bleu_teacher: f64,
    /// The fraction of the gap between student and teacher that the system closes; see [`CorpusStats::gap_closed`].
    pub gap_closed: ByMetric<Interval>,
    /// The scores minus those of random help at the same rate of help, if that was measured.
    #[serde(default, alias = "over_random", skip_serializing_if = "Option::is_none")]
    pub versus_random: Option<ByMetric<Comparison>>,
    /// The fraction of tokens that an expert chose, 0 to 1.
    pub help_rate: f64,
    /// The number of teacher calls per token. A batched forward pass counts once for each of its texts.
    pub teacher_calls_per_token: f64,
    /// The number of tokens that the teacher read, per token of text. Prompts do not count.
    pub teacher_tokens_processed_per_token: f64,
    /// The number of student steps per token.
    pub student_steps_per_token: f64,
    /// The number of texts that were cut at the decoder's length limit. 0 if a file of an earlier version lacks it.
    #[serde(default)]
    pub truncated: usize,
    /// Wall time, seconds.
    pub seconds: f64,
}

impl Sweep<'_> {
    /// The row of one system, without `versus_random`. `stats` are the statistics of `output` against the references.
    ///
    /// # Panics
    /// If the dataset is empty, or the system has another number of texts than student and teacher.
    pub fn row(&self, decoder: &str, budget: f64, output: &SystemOutput, stats: &CorpusStats) -> SweepRow {
        let work = &output.stats;
        let pairs = output.texts().zip(self.teacher_output.texts());
        let against_teacher: BleuStats = pairs.map(|(text, teacher)| BleuStats::of(text, teacher)).sum();
        SweepRow {
            decoder: decoder.into(),
            budget,
            scores: stats.scores(),
            bleu_teacher: against_teacher.score(),
            gap_closed: stats.gap_closed(self.student, self.teacher),
            versus_random: None,
            help_rate: work.help_rate(),
            teacher_calls_per_token: work.teacher_calls_per_token(),
            teacher_tokens_processed_per_token: work.teacher_tokens_processed_per_token(),
            student_steps_per_token: work.student_steps_per_token(),
            truncated: output.truncated(),
            seconds: work.elapsed.as_secs_f64(),
        }
    }
}
