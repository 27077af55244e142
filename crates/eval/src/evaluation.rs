//! Decoders on a data set: quality beside what it took.

use serde::{Deserialize, Serialize};
use wheels_decode::{DecodeError, DecodeStats, Decoded, Decoder, Source, Trajectory};
use wheels_text::{Dataset, HelpBudget, Prompt, PromptFormat, Seed, TextError, Tokenizer};

use crate::Judged;

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its texts, in the order of the data.
    pub texts: Vec<Written>,
    /// What they took.
    pub stats: DecodeStats,
}

/// A text and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Its tokens, with the end-of-text mark where it has one.
    pub tokens: Vec<u32>,
    /// Who chose each token: `s` for the student, `t` for an expert.
    pub authors: String,
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
        let text = |(index, trajectory): (usize, &Trajectory)| {
            let text = self.tokenizer.decode(&trajectory.tokens());
            text.map(|text| Written::new(text, trajectory)).map_err(|source| EvalError::Text { index, source })
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
        for text in &mut outcome.texts {
            text.authors = "t".repeat(text.tokens.len());
        }
        Ok(outcome)
    }

    /// The texts of an outcome beside the references.
    pub fn judge(&self, outcome: &Outcome) -> Judged {
        Judged::new(outcome.texts(), self.references())
    }
}

impl Written {
    fn new(text: String, trajectory: &Trajectory) -> Self {
        let author = |source| if source == Source::Student { 's' } else { 't' };
        Self {
            text,
            tokens: trajectory.steps.iter().map(|step| step.token).collect(),
            authors: trajectory.steps.iter().map(|step| author(step.source)).collect(),
        }
    }
}

impl Outcome {
    /// The texts alone.
    pub fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        self.texts.iter().map(|written| written.text.as_str())
    }
}
