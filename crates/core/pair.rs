//! A student and its teacher, which decode together.

use std::path::Path;

use wheels_decode::{
    BudgetedDecoder, Confidence, Decoded, Decoder, Enforcement, Expert, Experts, ForecastInput, HelpRule, Policy,
    PromptSide, Sampler, Teacher,
};
use wheels_distill::{AskSample, RolloutConfig, RolloutSampler, TokenPairs, TokenizedDataset, ask_samples};
use wheels_lm::LoadOptions;
use wheels_text::{Dataset, HelpBudget, Prompt, Seed};

use crate::calibration::stated_budget;
use crate::{Answer, Error, ModelFile, TextModel};

/// A student and its teacher, which decode together: the student writes, and its help token asks the teacher.
///
/// Each prompt has its own budget, and the budget determines the threshold at which the student asks. One decoder
/// therefore serves prompts with different budgets.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The student.
    pub student: TextModel,
    /// The teacher.
    pub teacher: TextModel,
    /// The id of the student's token `<help:teacher>`. None if its tokenizer has no such token.
    pub help_token: Option<u32>,
}

/// The number of texts in a batch of [`Pair::ask_samples`] and [`Pair::forecast`].
pub(crate) const TOGETHER: usize = 50;

impl Pair {
    /// A pair of a student and its teacher.
    ///
    /// # Errors
    /// [`Error::Vocabularies`] if they do not have the same tokenizer.
    pub fn new(student: TextModel, teacher: TextModel) -> Result<Self, Error> {
        let (student, teacher) = student.paired_with(teacher)?;
        Ok(Self { help_token: student.tokenizer.help_token("teacher").ok(), student, teacher })
    }

    /// A model as a pair with itself: a student whose teacher is not on this machine, or a model that writes alone.
    ///
    /// # Errors
    /// As [`new`](Self::new), though a model that opens fits itself.
    pub fn with_itself(model: TextModel) -> Result<Self, Error> {
        Self::new(model.clone(), model)
    }

    /// Opens the folders of a student and a teacher.
    ///
    /// # Errors
    /// As [`TextModel::open`] and [`new`](Self::new).
    pub fn open<'a>(
        student: impl AsRef<Path>,
        teacher: impl AsRef<Path>,
        options: impl Into<LoadOptions<'a>>,
    ) -> Result<Self, Error> {
        let options = options.into();
        Self::new(TextModel::open(student, options)?, TextModel::open(teacher, options)?)
    }

    /// Opens a student and a teacher from files in memory, such as those that a program embeds.
    ///
    /// # Errors
    /// As [`TextModel::from_files`] and [`new`](Self::new).
    pub fn from_files<'a>(
        student: &[ModelFile<'_>],
        teacher: &[ModelFile<'_>],
        options: impl Into<LoadOptions<'a>>,
    ) -> Result<Self, Error> {
        let options = options.into();
        Self::new(
            TextModel::from_files("the embedded student", student, options)?,
            TextModel::from_files("the embedded teacher", teacher, options)?,
        )
    }

    /// Checks that the student can decide when to ask: by its help token, or by a calibration on another measure of its
    /// confidence.
    ///
    /// # Errors
    /// As [`check_help_token`](Self::check_help_token).
    pub fn check_asks(&self) -> Result<(), Error> {
        match &self.student.calibration {
            Some(calibration) if calibration.confidence != Confidence::HelpLogOdds => Ok(()),
            _ => self.check_help_token(),
        }
    }

    /// Checks that the student has learned to ask by its help token.
    ///
    /// # Errors
    /// [`Error::CannotAsk`] if it has no help token or no heads, and [`Error::Swapped`] if its teacher has them.
    pub fn check_help_token(&self) -> Result<(), Error> {
        let missing = match self.help_token {
            None => "help token <help:teacher>",
            Some(_) if !self.student.model.has_heads() => "heads (heads.safetensors)",
            Some(_) => return Ok(()),
        };
        Err(if self.teacher.model.has_heads() { Error::Swapped } else { Error::CannotAsk { missing } })
    }

    /// The prompt for a text. The student's template makes it for both models.
    ///
    /// # Errors
    /// [`Error::Text`] if the text is empty or too long.
    pub fn prompt(&self, text: &str, budget: HelpBudget) -> Result<Prompt, Error> {
        self.student.prompt(text, budget)
    }

    /// The prompts for several texts, all with the same budget.
    ///
    /// # Errors
    /// [`Error::Prompt`] names the first text that is empty or too long.
    pub fn prompts<S: AsRef<str>>(&self, texts: &[S], budget: HelpBudget) -> Result<Vec<Prompt>, Error> {
        let TextModel { template, tokenizer, .. } = &self.student;
        let mut prompts = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let prompt = template.prompt(tokenizer, text.as_ref(), budget);
            prompts.push(prompt.map_err(|source| Error::Prompt { index: index + 1, source })?);
        }
        Ok(prompts)
    }

    /// Writes the answer to one text. The decoder enforces the budget.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt) and [`Decoder::decode`], and [`Error::CannotAsk`] or [`Error::Swapped`] if the student
    /// has no help token and no calibration.
    pub fn generate(&self, text: &str, budget: HelpBudget) -> Result<Answer, Error> {
        if self.help_token.is_none() && budget.share(1) > 0.0 {
            self.check_asks()?;
        }
        let decoded = self.decoder().decode(&[self.prompt(text, budget)?], Seed(0))?;
        Ok(self.answers(&decoded)?.remove(0))
    }

    /// Turns decoded token ids into texts, and says which parts an expert wrote.
    ///
    /// # Errors
    /// [`Error::Text`] if a token is not in the tokenizer's vocabulary.
    pub fn answers(&self, decoded: &Decoded) -> Result<Vec<Answer>, Error> {
        self.student.answers(decoded)
    }

    /// A decoder in which the student asks its teacher. It enforces the budget of each prompt.
    pub fn decoder(&self) -> BudgetedDecoder<'_> {
        self.decoder_with(self.policy())
    }

    /// A decoder in which `policy` writes and asks the pair's teacher.
    pub fn decoder_with<'a>(&'a self, policy: Policy<'a>) -> BudgetedDecoder<'a> {
        self.decoder_of(policy, Teacher::new(&self.teacher.model))
    }

    /// A decoder in which `policy` writes and asks `teacher`: a [`Teacher`] with its own settings, such as a tolerance, or
    /// any other expert.
    pub fn decoder_of<'a>(&'a self, policy: Policy<'a>, teacher: impl Expert + 'a) -> BudgetedDecoder<'a> {
        self.student.decoder_by(self.help_token, policy, teacher)
    }

    /// The student's policy, with the sampler of its generation config and the calibrated threshold of each budget.
    pub fn policy(&self) -> Policy<'_> {
        self.student.policy()
    }

    /// The student's policy for prompts that state the budget `stated` instead of their own budget. The threshold moves
    /// by the difference between the prices of the two budgets.
    ///
    /// # Errors
    /// [`Error::Prices`] if the student has no prices.
    pub fn policy_with_stated_budget(&self, stated: HelpBudget) -> Result<Policy<'_>, Error> {
        let prices = self.student.prices.as_ref().ok_or(Error::Prices)?;
        Ok(self.policy().with_stated_budget(stated, prices))
    }

    /// A decoder in which the student writes without help.
    pub fn student_alone(&self) -> BudgetedDecoder<'_> {
        self.student.decoder_for(PromptSide::Student)
    }

    /// A decoder in which the teacher writes alone. Its tokens and its work count as the teacher's.
    pub fn teacher_alone(&self) -> BudgetedDecoder<'_> {
        let policy = Policy::new(&self.teacher.model, Sampler::from(&self.student.generation));
        let policy = policy.with_help_rule(HelpRule::Never).with_prompt_side(PromptSide::Expert);
        let experts = self.student.without_suppressed(Experts::new(), None);
        BudgetedDecoder::new(policy, experts).with_generation(&self.student.generation)
    }

    /// The number of calls of the teacher that are predicted for the text of each prompt, with enforced budgets. It is the
    /// forecast of the calibration ([`calibrate`](Self::calibrate)). Without one, it is the number of helped tokens that the
    /// student's value head V_C predicts, which is a rough guide. None without heads and forecasts.
    pub fn forecast(&self, prompts: &[Prompt]) -> Option<Vec<f64>> {
        let inputs = self.student.forecast_inputs(prompts);
        let calibrated = self.student.calibration.as_ref().and_then(|calibration| {
            let of_prompt = |(prompt, input): (&Prompt, &ForecastInput)| {
                calibration.forecast(prompt.budget.share(input.prompt_tokens), *input)
            };
            prompts.iter().zip(&inputs).map(of_prompt).collect()
        });
        let has_heads = self.student.model.has_heads();
        calibrated.or_else(|| has_heads.then(|| inputs.iter().map(|input| input.value.max(0.0)).collect()))
    }

    /// The largest of the calibrated budgets for whose text at most `calls` calls of the teacher are predicted, or a budget
    /// of that number of calls if all are predicted to need more. The decoder then enforces that budget, not the prediction.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt), and [`Error::NoForecast`] if the student's calibration has no forecasts.
    pub fn budget_for_calls(&self, text: &str, calls: u32) -> Result<HelpBudget, Error> {
        let forecasts = self.student.calibration.as_ref().map_or(&[][..], |calibration| calibration.forecasts());
        if forecasts.is_empty() {
            return Err(Error::NoForecast);
        }
        let mut prompts = Vec::with_capacity(forecasts.len());
        for forecast in forecasts {
            prompts.push(self.prompt(text, stated_budget(forecast.rate))?);
        }
        let predicted = self.forecast(&prompts).ok_or(Error::NoForecast)?;
        let fits = prompts.iter().zip(predicted).rev().find(|(_, predicted)| *predicted <= f64::from(calls));
        Ok(fits.map_or(HelpBudget::tokens(calls), |(prompt, _)| prompt.budget))
    }

    /// What the student and the teacher say about each token of the student's greedy texts for a dataset under one budget,
    /// text by text. Empty if the student has no help token or no heads.
    ///
    /// # Errors
    /// If a text cannot be tokenised or decoding fails.
    pub fn ask_samples(&self, dataset: &Dataset, budget: HelpBudget) -> Result<Vec<Vec<AskSample>>, Error> {
        if self.help_token.is_none() || !self.student.model.has_heads() {
            return Ok(vec![]);
        }
        let TextModel { tokenizer, template, generation, .. } = &self.student;
        let template = template.clone().stating_budget();
        let data = TokenizedDataset::new(dataset, tokenizer, &template, usize::MAX)?
            .with_target_start(generation.forced_bos_token_id());
        let config = RolloutConfig::new(1)
            .with_no_repeat_ngram_size(generation.no_repeat_ngram_size)
            .with_forced_bos_token_id(generation.forced_bos_token_id());
        let sampler =
            RolloutSampler::new(config, &data, &self.teacher.model, self.help_token, self.student.suppressed_ids());
        let indices: Vec<u32> = (0..data.count() as u32).collect();
        let mut samples = Vec::new();
        for indices in indices.chunks(TOGETHER) {
            let rollout = sampler.greedy(&self.student.model, indices, budget, template.wording)?;
            samples.extend(ask_samples(&sampler, &self.student.model, &rollout));
        }
        Ok(samples)
    }

    /// A decoder that does not enforce budgets, so that the help used shows what the student learned.
    pub(crate) fn unenforced(&self) -> BudgetedDecoder<'_> {
        self.decoder().with_enforcement(Enforcement::Off)
    }
}
