//! Decoders on a data set: quality beside what it took.

use serde::{Deserialize, Serialize};
use wheels_decode::{DecodeError, DecodeStats, Decoded, Decoder};
use wheels_text::{Dataset, HelpBudget, Prompt, PromptFormat, Seed, TextError, Tokenizer};

use crate::bootstrap::{Comparison, Interval, bootstrap, paired_bootstrap};
use crate::metric::{BleuStats, ChrfStats};

/// Resamples of every interval.
const RESAMPLES: usize = 1000;

/// An error of evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A decoder failed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A source could not be encoded, or a text not decoded.
    #[error("example {index} of the data set, counted from 0")]
    Text {
        /// The example.
        index: usize,
        /// What was wrong with it.
        #[source]
        source: TextError,
    },
}

/// A data set, ready to be decoded by any decoder whose student and teacher share a tokenizer.
pub struct Evaluation<'a> {
    data: &'a Dataset,
    tokenizer: &'a Tokenizer,
    format: &'a PromptFormat,
}

/// What one decoder made of a data set.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its texts, in the order of the data.
    pub texts: Vec<String>,
    /// What they took.
    pub stats: DecodeStats,
}

/// One line of a sweep, under the names that its JSON has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// "student", "teacher", "budgeted", "random", or "draft 4" for speculative decoding with drafts of 4 tokens.
    pub decoder: String,
    /// The budget as a fraction of the tokens, 0 to 1.
    pub budget: f64,
    /// Corpus BLEU against the references, 0 to 100.
    pub bleu: f64,
    /// Corpus chrF against the references, 0 to 100.
    pub chrf: f64,
    /// Corpus BLEU against the teacher's own texts, 0 to 100.
    pub bleu_teacher: f64,
    /// How much of the way from the student's BLEU to the teacher's, 0 to 1, with its 95% interval.
    pub gap_closed_bleu: Interval,
    /// The same in chrF.
    pub gap_closed_chrf: Interval,
    /// By how much BLEU is better than that of random asking at the same rate, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bleu_over_random: Option<Comparison>,
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

impl<'a> Evaluation<'a> {
    /// An evaluation of `data`, with prompts in a student's `format`.
    pub fn new(data: &'a Dataset, tokenizer: &'a Tokenizer, format: &'a PromptFormat) -> Self {
        Self { data, tokenizer, format }
    }

    /// The references, in the order of the data.
    pub fn references(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.data.iter().map(|example| example.target.as_str())
    }

    /// The prompts under a budget.
    ///
    /// # Errors
    /// [`EvalError::Text`] for a source that is empty or too long.
    pub fn prompts(&self, budget: HelpBudget) -> Result<Vec<Prompt>, EvalError> {
        let prompt = |(index, example): (usize, &wheels_text::Example)| {
            let prompt = self.format.prompt(self.tokenizer, &example.source, budget);
            prompt.map_err(|source| EvalError::Text { index, source })
        };
        self.data.iter().enumerate().map(prompt).collect()
    }

    /// Decodes all prompts.
    ///
    /// # Errors
    /// [`EvalError::Decode`] where the decoder fails, and as for [`outcome`](Self::outcome).
    pub fn run(&self, decoder: &dyn Decoder, prompts: &[Prompt], seed: Seed) -> Result<Outcome, EvalError> {
        self.outcome(decoder.decode(prompts, seed)?)
    }

    /// The texts of what a decoder made of all prompts.
    ///
    /// # Errors
    /// [`EvalError::Text`] where a text cannot be decoded.
    pub fn outcome(&self, decoded: Decoded) -> Result<Outcome, EvalError> {
        let text = |(index, trajectory): (usize, &wheels_decode::Trajectory)| {
            self.tokenizer.decode(&trajectory.tokens()).map_err(|source| EvalError::Text { index, source })
        };
        let texts = decoded.trajectories.iter().enumerate().map(text).collect::<Result<_, _>>()?;
        Ok(Outcome { texts, stats: decoded.stats })
    }

    /// Decodes all prompts with the teacher as the only model, and counts its work as the teacher's.
    ///
    /// # Errors
    /// [`EvalError::Decode`] where the decoder fails.
    pub fn run_teacher(&self, teacher: &dyn Decoder, prompts: &[Prompt], seed: Seed) -> Result<Outcome, EvalError> {
        let mut outcome = self.run(teacher, prompts, seed)?;
        let stats = &mut outcome.stats;
        stats.teacher = std::mem::take(&mut stats.student);
        (stats.help_asked, stats.help_given) = (stats.tokens, stats.tokens);
        Ok(outcome)
    }

    /// The line of a sweep for an outcome, between the student's and the teacher's own.
    pub fn row(&self, decoder: &str, budget: f64, outcome: &Outcome, student: &Outcome, teacher: &Outcome) -> Row {
        let stats = &outcome.stats;
        let three = [outcome, student, teacher];
        let bleu = three.map(|system| system.bleu_stats(self.references()));
        let chrf = three.map(|system| system.chrf_stats(self.references()));
        Row {
            decoder: decoder.into(),
            budget,
            bleu: bleu[0].iter().copied().sum::<BleuStats>().score(),
            chrf: chrf[0].iter().copied().sum::<ChrfStats>().score(),
            bleu_teacher: outcome.bleu(teacher.texts.iter().map(String::as_str)),
            gap_closed_bleu: gap_closed(bleu.each_ref().map(Vec::as_slice), BleuStats::score),
            gap_closed_chrf: gap_closed(chrf.each_ref().map(Vec::as_slice), ChrfStats::score),
            bleu_over_random: None,
            help_rate: stats.help_rate(),
            teacher_calls_per_token: stats.teacher_calls_per_token(),
            teacher_tokens_processed_per_token: stats.teacher_tokens_processed_per_token(),
            student_steps_per_token: stats.student_steps_per_token(),
            seconds: stats.elapsed.as_secs_f64(),
        }
    }
}

impl Outcome {
    /// Corpus BLEU against references in the same order, 0 to 100.
    pub fn bleu<'r>(&self, references: impl Iterator<Item = &'r str>) -> f64 {
        self.bleu_stats(references).into_iter().sum::<BleuStats>().score()
    }

    /// Corpus chrF against references in the same order, 0 to 100.
    pub fn chrf<'r>(&self, references: impl Iterator<Item = &'r str>) -> f64 {
        self.chrf_stats(references).into_iter().sum::<ChrfStats>().score()
    }

    /// By how much BLEU is better than another system's, with its 95% interval.
    pub fn bleu_over<'r>(&self, other: &Self, references: impl Iterator<Item = &'r str> + Clone) -> Comparison {
        let [mine, others] = [self, other].map(|system| system.bleu_stats(references.clone()));
        paired_bootstrap(&mine, &others, BleuStats::score, RESAMPLES, 0)
    }

    fn bleu_stats<'r>(&self, references: impl Iterator<Item = &'r str>) -> Vec<BleuStats> {
        self.texts.iter().zip(references).map(|(text, right)| BleuStats::of(text, right)).collect()
    }

    fn chrf_stats<'r>(&self, references: impl Iterator<Item = &'r str>) -> Vec<ChrfStats> {
        self.texts.iter().zip(references).map(|(text, right)| ChrfStats::of(text, right)).collect()
    }
}

/// How far a system comes on the way from a student to its teacher.
fn gap_closed<S: Copy + std::iter::Sum>(systems: [&[S]; 3], score: impl Fn(&S) -> f64) -> Interval {
    let closed = |scores: &[f64]| (scores[0] - scores[1]) / (scores[2] - scores[1]);
    bootstrap(&systems, score, closed, RESAMPLES, 0)
}
