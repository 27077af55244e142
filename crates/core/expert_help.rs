//! A student and an expert that is no model on this machine, such as a remote teacher or a tool.

use wheels_decode::{BudgetedDecoder, Confidence, Decoded, Decoder, Expert, Experts, ForecastInput, Policy, Sampler};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed};

use crate::pair::TOGETHER;
use crate::{Answer, Error, TextModel};

impl TextModel {
    /// The student's policy, with the sampler of its generation config and the calibrated threshold of each budget.
    pub fn policy(&self) -> Policy<'_> {
        let policy = Policy::new(&self.model, Sampler::from(&self.generation));
        policy.with_calibration(self.calibration.as_ref())
    }

    /// A decoder in which `policy` writes and asks `expert` by this student's token `<help:teacher>`. It enforces the budget
    /// of each prompt. The student needs no teacher on this machine: the expert can be a remote teacher.
    pub fn decoder_of<'a>(&'a self, policy: Policy<'a>, expert: impl Expert + 'a) -> BudgetedDecoder<'a> {
        self.decoder_by(self.tokenizer.help_token("teacher").ok(), policy, expert)
    }

    /// As [`decoder_of`](Self::decoder_of), with this help token.
    pub(crate) fn decoder_by<'a>(
        &'a self,
        help_token: Option<u32>,
        policy: Policy<'a>,
        expert: impl Expert + 'a,
    ) -> BudgetedDecoder<'a> {
        // Without a help token, a rule that does not read one can still ask. Any id outside the vocabulary serves.
        let help_token = help_token.unwrap_or(self.model.spec().vocab_size as u32);
        let experts = self.without_suppressed(Experts::new().with(help_token, expert), Some(help_token));
        BudgetedDecoder::new(policy, experts).with_generation(&self.generation)
    }

    /// Checks that an expert can verify tokens as this student's calibration says.
    ///
    /// # Errors
    /// [`Error::Decode`] if it cannot.
    pub fn check_expert(&self, expert: &dyn Expert) -> Result<(), Error> {
        let points = self.calibration.as_ref().map_or(&[][..], |calibration| calibration.points());
        for point in points.iter().filter(|point| !point.verification.is_none()) {
            expert.check_verification(&point.verification)?;
        }
        Ok(())
    }

    /// Writes the answer to one text with the help of an expert. The decoder enforces the budget.
    ///
    /// # Errors
    /// [`Error::Text`] if the text is empty or too long, [`Error::CannotAsk`] if this student has no help token and no
    /// calibration, and any error of decoding.
    pub fn generate_with(&self, expert: impl Expert, text: &str, budget: HelpBudget) -> Result<Answer, Error> {
        let by_confidence = self.calibration.as_ref().is_some_and(|known| known.confidence != Confidence::HelpLogOdds);
        if budget.share(1) > 0.0 && !by_confidence && self.tokenizer.help_token("teacher").is_err() {
            return Err(Error::CannotAsk { missing: "help token <help:teacher>" });
        }
        let decoder = self.decoder_of(self.policy(), expert);
        let decoded = decoder.decode(&[self.prompt(text, budget)?], Seed(0))?;
        Ok(self.answers(&decoded)?.remove(0))
    }

    /// The prompt for a text.
    ///
    /// # Errors
    /// [`Error::Text`] if the text is empty or too long.
    pub fn prompt(&self, text: &str, budget: HelpBudget) -> Result<Prompt, Error> {
        Ok(self.template.prompt(&self.tokenizer, text, budget)?)
    }

    /// What a forecast knows of the texts of some prompts.
    pub(crate) fn forecast_inputs(&self, prompts: &[Prompt]) -> Vec<ForecastInput> {
        let mut inputs = Vec::with_capacity(prompts.len());
        for prompts in prompts.chunks(TOGETHER) {
            let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
            let values = self.model.forecast(&TokenBatch::new(&rows, self.tokenizer.pad()));
            let values = values.unwrap_or_else(|| vec![0.0; prompts.len()]);
            let lengths = prompts.iter().map(|prompt| prompt.expert.len());
            inputs.extend(lengths.zip(values).map(|(prompt_tokens, value)| ForecastInput { prompt_tokens, value }));
        }
        inputs
    }

    /// Turns decoded token ids into texts, and says which parts an expert wrote.
    ///
    /// # Errors
    /// [`Error::Text`] if a token is not in the tokenizer's vocabulary.
    pub fn answers(&self, decoded: &Decoded) -> Result<Vec<Answer>, Error> {
        decoded.trajectories.iter().map(|text| Answer::new(&self.tokenizer, text)).collect()
    }
}
