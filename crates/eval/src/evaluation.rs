//! Decoders on a data set: quality beside what it took.

use serde::{Deserialize, Serialize};
use wheels_decode::{DecodeError, DecodeStats, Decoded, Decoder};
use wheels_text::{Dataset, HelpBudget, Prompt, PromptFormat, Seed, TextError, Tokenizer};

use crate::metric::{BleuStats, ChrfStats};

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
    /// "student", "teacher" or "budgeted".
    pub decoder: String,
    /// The budget as a fraction of the tokens, 0 to 1.
    pub budget: f64,
    /// Corpus BLEU against the references, 0 to 100.
    pub bleu: f64,
    /// Corpus chrF against the references, 0 to 100.
    pub chrf: f64,
    /// Corpus BLEU against the teacher's own texts, 0 to 100.
    pub bleu_teacher: f64,
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

    /// The line of a sweep for an outcome; `teacher` is the teacher's own.
    pub fn row(&self, decoder: &str, budget: f64, outcome: &Outcome, teacher: &Outcome) -> Row {
        let references = || self.data.iter().map(|example| example.target.as_str());
        let stats = &outcome.stats;
        Row {
            decoder: decoder.into(),
            budget,
            bleu: outcome.bleu(references()),
            chrf: outcome.chrf(references()),
            bleu_teacher: outcome.bleu(teacher.texts.iter().map(String::as_str)),
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
        let stats: BleuStats = self.texts.iter().zip(references).map(|(text, right)| BleuStats::of(text, right)).sum();
        stats.score()
    }

    /// Corpus chrF against references in the same order, 0 to 100.
    pub fn chrf<'r>(&self, references: impl Iterator<Item = &'r str>) -> f64 {
        let stats: ChrfStats = self.texts.iter().zip(references).map(|(text, right)| ChrfStats::of(text, right)).sum();
        stats.score()
    }
}
