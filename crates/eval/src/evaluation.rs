//! Running a decoder on a dataset.

use wheels_decode::{Decoded, Decoder};
use wheels_text::{Dataset, HelpBudget, Prompt, PromptTemplate, Seed, Tokenizer};

use crate::{CorpusStats, DecodedText, EvalError, SystemOutput};

/// A dataset on which decoders are evaluated, with the tokenizer and the template that make its prompts.
///
/// All decoders whose models have this tokenizer can run on it: the student alone, the teacher alone, or both together.
///
/// ```
/// use wheels_decode::{Action, DecodeError, DecodeStats, Decoded, Decoder, End, Source, Step, Trajectory};
/// use wheels_eval::Evaluation;
/// use wheels_text::{Dataset, Example, HelpBudget, Prompt, PromptTemplate, Seed, Tokenizer, TokenizerConfig};
///
/// /// A decoder that copies its prompt.
/// struct Copy;
///
/// impl Decoder for Copy {
///     fn decode(&self, prompts: &[Prompt], _: Seed) -> Result<Decoded, DecodeError> {
///         let mut trajectories = Vec::new();
///         for prompt in prompts {
///             let mut steps = Vec::new();
///             for &token in &prompt.student {
///                 let (action, source) = (Action::Token, Source::Student);
///                 steps.push(Step { action, token, source, log_prob: 0.0, cost: 0.0 });
///             }
///             trajectories.push(Trajectory { steps, end: End::Eos, failures: vec![] });
///         }
///         Ok(Decoded { trajectories, stats: DecodeStats::default() })
///     }
/// }
///
/// let (source, target) = ("un editor di testo", "un editor di testo libero");
/// let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), [source.to_owned()])?;
/// let data = Dataset::from_iter([Example::new(source, target)]);
/// let template = PromptTemplate::default();
///
/// let evaluation = Evaluation::new(&data, &tokenizer, &template);
/// let prompts = evaluation.prompts(HelpBudget::percent(20))?;
/// let output = evaluation.run(&Copy, &prompts, Seed(7))?;
/// assert_eq!(output.texts[0].text, "un editor di testo");
/// assert_eq!(format!("{:.1}", evaluation.stats(&output).scores().bleu), "77.9");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    data: &'a Dataset,
    tokenizer: &'a Tokenizer,
    template: &'a PromptTemplate,
}

impl<'a> Evaluation<'a> {
    /// An evaluation on `data`. The tokenizer and the template are those of the student.
    pub fn new(data: &'a Dataset, tokenizer: &'a Tokenizer, template: &'a PromptTemplate) -> Self {
        Self { data, tokenizer, template }
    }

    /// The references, in the order of the data.
    pub fn references(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.data.iter().map(|example| example.target.as_str())
    }

    /// One prompt per example, in the order of the data. All prompts have the same budget.
    ///
    /// # Errors
    /// [`EvalError::Prompt`] if a source is empty or too long.
    pub fn prompts(&self, budget: HelpBudget) -> Result<Vec<Prompt>, EvalError> {
        let mut prompts = Vec::with_capacity(self.data.len());
        for (index, example) in self.data.iter().enumerate() {
            let prompt = self.template.prompt_of(self.tokenizer, example, budget);
            prompts.push(prompt.map_err(|source| EvalError::Prompt { index, source })?);
        }
        Ok(prompts)
    }

    /// Runs a decoder on prompts, which are usually those of [`prompts`](Self::prompts).
    ///
    /// # Errors
    /// [`EvalError::Decode`] if the decoder fails, and the error of [`output`](Self::output).
    pub fn run(&self, decoder: &dyn Decoder, prompts: &[Prompt], seed: Seed) -> Result<SystemOutput, EvalError> {
        self.output(decoder.decode(prompts, seed)?)
    }

    /// Turns the trajectories of a decoder into texts.
    ///
    /// # Errors
    /// [`EvalError::Output`] if the tokenizer does not know a token.
    pub fn output(&self, decoded: Decoded) -> Result<SystemOutput, EvalError> {
        let mut texts = Vec::with_capacity(decoded.trajectories.len());
        for (index, trajectory) in decoded.trajectories.iter().enumerate() {
            let text = self.tokenizer.decode(&trajectory.tokens());
            let text = text.map_err(|source| EvalError::Output { index, source })?;
            texts.push(DecodedText::new(text, trajectory));
        }
        Ok(SystemOutput { texts, stats: decoded.stats })
    }

    /// The statistics of an output against the references.
    ///
    /// # Panics
    /// If the number of texts is not the number of examples.
    pub fn stats(&self, output: &SystemOutput) -> CorpusStats {
        CorpusStats::new(output.texts(), self.references())
    }
}

#[cfg(test)]
mod tests {
    use wheels_text::{Example, TokenizerConfig};

    use super::*;

    #[test]
    fn an_empty_source_is_an_error_that_names_the_example() {
        let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()]);
        let tokenizer = tokenizer.expect("one line is enough for the bytes");
        let pairs = [("a text", "un testo"), ("", "nulla")];
        let examples = pairs.map(|(source, target)| Example::new(source, target));
        let (data, template) = (Dataset::from_iter(examples), PromptTemplate::default());
        let error = Evaluation::new(&data, &tokenizer, &template).prompts(HelpBudget::percent(20));
        let error = error.expect_err("the second source is empty");
        assert!(error.to_string().contains("example 1 of the data set"), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "the cause is kept");
    }
}
