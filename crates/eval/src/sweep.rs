//! Systems between a student alone and its teacher alone.

use serde::{Deserialize, Serialize};

use crate::metric::BleuStats;
use crate::{ByMetric, Comparison, Interval, Judged, Outcome, Scores};

/// The two ends of a sweep, between which other systems are placed.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// The student alone.
    pub student: &'a Judged,
    /// The teacher alone.
    pub teacher: &'a Judged,
    /// What the teacher wrote.
    pub teacher_outcome: &'a Outcome,
}

/// One line of a sweep, under the names that its JSON has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// "student", "teacher", "budgeted", "random", or "draft 4" for speculative decoding with drafts of 4 tokens.
    pub decoder: String,
    /// The budget as a fraction of the tokens, 0 to 1.
    pub budget: f64,
    /// Scores against the references.
    #[serde(flatten)]
    pub scores: Scores,
    /// Corpus BLEU against the teacher's own texts, 0 to 100.
    pub bleu_teacher: f64,
    /// How much of the way from the student's score to the teacher's, 0 to 1, with its 95% interval.
    pub gap_closed: ByMetric<Interval>,
    /// By how much it is better than random asking at the same rate, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_random: Option<ByMetric<Comparison>>,
    /// Helped tokens over tokens, 0 to 1.
    pub help_rate: f64,
    /// Times that a text's teacher was called, for each token.
    pub teacher_calls_per_token: f64,
    /// Tokens that the teacher read, for each token.
    pub teacher_tokens_processed_per_token: f64,
    /// Student steps for each token.
    pub student_steps_per_token: f64,
    /// Wall time.
    pub seconds: f64,
}

impl Sweep<'_> {
    /// The line of one system.
    pub fn row(&self, decoder: &str, budget: f64, outcome: &Outcome, judged: &Judged) -> Row {
        let stats = &outcome.stats;
        let against_teacher = outcome.texts().zip(self.teacher_outcome.texts());
        Row {
            decoder: decoder.into(),
            budget,
            scores: judged.scores(),
            bleu_teacher: against_teacher.map(|(text, right)| BleuStats::of(text, right)).sum::<BleuStats>().score(),
            gap_closed: judged.gap_closed(self.student, self.teacher),
            over_random: None,
            help_rate: stats.help_rate(),
            teacher_calls_per_token: stats.teacher_calls_per_token(),
            teacher_tokens_processed_per_token: stats.teacher_tokens_processed_per_token(),
            student_steps_per_token: stats.student_steps_per_token(),
            seconds: stats.elapsed.as_secs_f64(),
        }
    }
}
