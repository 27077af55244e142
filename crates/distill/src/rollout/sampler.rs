//! Writing rollouts, and reading them with the teacher.

use burn::module::Module;
use burn::tensor::Tensor;
use rand::{Rng, RngExt};
use wheels_decode::{
    BudgetedDecoder, DecodeError, End, Enforcement, Experts, HelpRule, NewText, Policy, PromptSide, Sampler, Source,
    Step, Teacher,
};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_student::{Prices, Student};
use wheels_text::{HelpBudget, Prompt, Seed};

use super::mixture::{TextSource, draw_budget};
use super::teacher_source::TeacherSource;
use super::{Rollout, RolloutRow};
use crate::read_batch::teacher_forced;
use crate::teacher_softmax::teacher_log_probs;
use crate::{
    DistillError, HiddenData, PricePrompts, PromptSource, RolloutConfig, TeacherCache, TeacherDistributions,
    TeacherHead, TeacherTargets, TrainingBatch,
};

/// The lowest log-prob of the teacher, nats. Lower ones, such as those of excluded tokens, count as this one.
pub(crate) const MIN_LOG_PROB: f64 = -30.0;

/// Writes texts for training pairs and reads them with the teacher.
///
/// The teacher always answers with its most likely token, because sampled answers would bias squared residuals.
pub struct RolloutSampler<'a, T> {
    config: RolloutConfig,
    prompts: &'a dyn PromptSource,
    teacher: TeacherSource<'a, T>,
    help_token: Option<u32>,
    suppressed_ids: Vec<u32>,
}

impl<'a, T: LanguageModel + Sync> RolloutSampler<'a, T> {
    /// A sampler for the pairs of `prompts`. The student asks the teacher with `help_token`; with `None` it writes
    /// alone. `suppressed_ids` are excluded from the teacher's distribution: padding, help tokens, and all other tokens
    /// that no text contains.
    pub fn new(
        config: RolloutConfig,
        prompts: &'a dyn PromptSource,
        teacher: &'a T,
        help_token: Option<u32>,
        suppressed_ids: Vec<u32>,
    ) -> Self {
        Self { config, prompts, teacher: TeacherSource::Model(teacher), help_token, suppressed_ids }
    }

    /// A sampler that has no teacher, but a cache of its distributions for the pairs of `prompts`. All texts are
    /// references. Otherwise it gives the batches that [`new`](Self::new) would give with the same config.
    ///
    /// The forecast of help, V_C, is not trained, because only the student's own texts show how it uses help. New texts
    /// cost no more than old ones, so that [`uses`](RolloutConfig::uses) can be 1.
    ///
    /// # Errors
    /// [`DistillError::CacheNeedsTeacher`] if the config asks for texts that the student or the teacher writes, or for
    /// a search for the prices. [`DistillError::CacheSettings`] if the cache has the log-probs of another temperature
    /// or with other tokens excluded.
    ///
    /// # Panics
    /// If the cache was opened for other pairs.
    pub fn from_cache(
        config: RolloutConfig,
        prompts: &'a dyn PromptSource,
        cache: &'a TeacherCache,
        help_token: Option<u32>,
        suppressed_ids: Vec<u32>,
    ) -> Result<Self, DistillError> {
        assert_eq!(cache.count(), prompts.count(), "the cache was opened for these pairs");
        if config.mixture.writes_texts() {
            let remedy = "set teacher_fraction and on_policy_fraction of the mixture to 0";
            return Err(DistillError::CacheNeedsTeacher { what: "writing texts", remedy });
        }
        if config.constraint.search_texts > 0 && help_token.is_some() {
            let remedy =
                "set `ConstraintConfig::search_texts` to 0, so that the first prices are quantiles of the divergence";
            return Err(DistillError::CacheNeedsTeacher { what: "the search for prices", remedy });
        }
        cache.check_settings(config.teacher_temperature, &suppressed_ids)?;
        Ok(Self { config, prompts, teacher: TeacherSource::Cache(cache), help_token, suppressed_ids })
    }

    pub(crate) fn config(&self) -> &RolloutConfig {
        &self.config
    }

    pub(crate) fn prompts(&self) -> &'a dyn PromptSource {
        self.prompts
    }

    pub(crate) fn pad(&self) -> u32 {
        self.teacher.pad()
    }

    pub(crate) fn has_help_token(&self) -> bool {
        self.help_token.is_some()
    }

    /// Checks that the vocabularies of student and teacher fit together. The help token, suppressed tokens, and tokens
    /// that only the teacher has, are ignored.
    ///
    /// # Errors
    /// [`DistillError::Vocabularies`] if the student can write tokens that the teacher does not have, and
    /// [`DistillError::Decode`] if the student does not have the help token.
    pub(crate) fn check<M: Module + LanguageModel>(&self, student: &Student<M>) -> Result<(), DistillError> {
        let (student, teacher) = (student.spec().vocab_size, self.teacher.vocab_size());
        if let Some(token) = self.help_token.filter(|&token| token as usize >= student) {
            return Err(DecodeError::HelpToken { token, vocab_size: student }.into());
        }
        let closed = |token| Some(token) == self.help_token || self.suppressed_ids.contains(&token);
        let last = (0..student as u32).rev().find(|&token| !closed(token));
        match last {
            Some(token) if token as usize >= teacher => Err(DistillError::Vocabularies { student, teacher }),
            _ => Ok(()),
        }
    }

    /// Writes texts for some pairs under random budgets. The [`Mixture`](crate::Mixture) of the config decides who
    /// writes each text.
    ///
    /// # Errors
    /// If a prompt cannot be made or decoding fails.
    pub fn sample<M: Module + LanguageModel>(
        &self,
        student: &Student<M>,
        pairs: &[u32],
        seed: Seed,
    ) -> Result<Rollout, DistillError> {
        let mut rng = seed.rng();
        let mut rows = Vec::with_capacity(pairs.len());
        let mut sources = Vec::with_capacity(pairs.len());
        for index in pairs.iter().map(|&index| index as usize) {
            let tokens = self.prompts.pair(index)?.into_owned().target;
            let (prompt, budget) = self.draw_prompt(index, self.config.token_budget_fraction, &mut rng)?;
            let helped = flags(&mut rng, tokens.len(), budget);
            sources.push(self.config.mixture.draw(&mut rng));
            rows.push(RolloutRow { prompt, tokens, helped, budget, price: 0.0, deployed: false, ended: true });
        }
        let (mut of_teacher, mut of_student) = (Vec::new(), Vec::new());
        for (row, &source) in rows.iter_mut().zip(&sources) {
            match source {
                TextSource::Reference => {}
                TextSource::Teacher => of_teacher.push((row, source)),
                TextSource::StudentGreedy | TextSource::StudentSampled => of_student.push((row, source)),
            }
        }
        for rows in [of_teacher, of_student] {
            self.rewrite(student, rows, seed)?;
        }
        self.with_teacher(Rollout::new(rows, pairs.to_vec()))
    }

    /// The student's greedy texts for some pairs under one budget, which is stated but not enforced.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), and [`DistillError::CacheNeedsTeacher`] if there is only a cache of the teacher.
    pub fn greedy<M: Module + LanguageModel>(
        &self,
        student: &Student<M>,
        pairs: &[u32],
        budget: HelpBudget,
        wording: usize,
    ) -> Result<Rollout, DistillError> {
        let mut rows = Vec::with_capacity(pairs.len());
        for index in pairs.iter().map(|&index| index as usize) {
            let tokens = self.prompts.pair(index)?.into_owned().target;
            rows.push(RolloutRow {
                prompt: self.prompts.prompt(index, budget, wording)?,
                helped: vec![],
                budget: budget.share(tokens.len()),
                tokens,
                price: 0.0,
                deployed: true,
                ended: true,
            });
        }
        self.rewrite(student, rows.iter_mut().map(|row| (row, TextSource::StudentGreedy)).collect(), Seed(0))?;
        self.with_teacher(Rollout::new(rows, pairs.to_vec()))
    }

    /// Makes a training batch from a rollout, and sets the price of help in each row.
    ///
    /// # Panics
    /// If the teacher has not read the rollout.
    pub(crate) fn batch(&self, rollout: &Rollout, prices: &Prices) -> TrainingBatch {
        let mut rows = rollout.rows.clone();
        for row in &mut rows {
            row.price = prices.price(row.budget) as f32;
        }
        let distributions = rollout.teacher.clone().expect("the teacher reads rollouts when they are written");
        TrainingBatch {
            prompts: rollout.ids(self.pad(), |row| &row.prompt.student),
            targets: rollout.tokens(self.pad()),
            decoder_inputs: None,
            teacher: Some(TeacherTargets { distributions, help_token: self.help_token, rows, price_prompts: None }),
        }
    }

    /// `count` random prompts, and their budgets as fractions. The fraction `token_budget_fraction` of the budgets is in
    /// tokens.
    pub(crate) fn budget_prompts(
        &self,
        count: usize,
        token_budget_fraction: f64,
        rng: &mut impl Rng,
    ) -> Result<(TokenBatch, Vec<f64>), DistillError> {
        let (mut prompts, mut budgets) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (prompt, budget) =
                self.draw_prompt(rng.random_range(0..self.prompts.count()), token_budget_fraction, rng)?;
            prompts.push(prompt.student);
            budgets.push(budget);
        }
        Ok((TokenBatch::new(&prompts, self.pad()), budgets))
    }

    /// Random prompts, and the prices of help under their budgets.
    pub(crate) fn price_prompts(&self, prices: &Prices, rng: &mut impl Rng) -> Result<PricePrompts, DistillError> {
        let (prompts, budgets) =
            self.budget_prompts(self.config.price_prompts, self.config.token_budget_fraction, rng)?;
        Ok(PricePrompts { prompts, prices: budgets.iter().map(|&budget| prices.price(budget) as f32).collect() })
    }

    /// Adds the teacher's distributions along the texts of a rollout.
    ///
    /// # Errors
    /// If the cache cannot be read, or if it is to serve a rollout whose pairs are not known.
    pub(crate) fn with_teacher(&self, rollout: Rollout) -> Result<Rollout, DistillError> {
        let distributions = match self.teacher {
            TeacherSource::Cache(cache) if rollout.pairs.len() == rollout.rows.len() => cache.read(&rollout.pairs)?,
            TeacherSource::Cache(_) => {
                let reason = "its rollouts were written with a teacher".to_owned();
                return Err(DistillError::SourceState { reason });
            }
            TeacherSource::Model(teacher) => {
                let prompts = rollout.ids(self.pad(), |row| &row.prompt.expert);
                let hidden = teacher_forced(teacher, &prompts, &rollout.tokens(self.pad()));
                TeacherDistributions::Hidden(HiddenData::new(&hidden))
            }
        };
        Ok(Rollout { teacher: Some(distributions), ..rollout })
    }

    /// A decoder in which a student's policy can ask the teacher. Budgets are not enforced.
    ///
    /// # Errors
    /// [`DistillError::CacheNeedsTeacher`].
    pub(crate) fn decoder<'m>(&'m self, policy: Policy<'m>) -> Result<BudgetedDecoder<'m>, DistillError> {
        let experts = match self.help_token {
            Some(token) => Experts::new().with(token, Teacher::new(self.teacher.model()?)),
            None => Experts::new(),
        };
        Ok(self.with_settings(BudgetedDecoder::new(policy, experts)))
    }

    fn with_settings<'m>(&self, decoder: BudgetedDecoder<'m>) -> BudgetedDecoder<'m> {
        decoder
            .with_enforcement(Enforcement::Off)
            .with_no_repeat_ngram_size(self.config.no_repeat_ngram_size)
            .with_forced_bos_token_id(self.config.forced_bos_token_id)
    }

    /// The prompt of a pair with a random budget and wording, and the budget as a fraction.
    fn draw_prompt(
        &self,
        index: usize,
        token_budget_fraction: f64,
        rng: &mut impl Rng,
    ) -> Result<(Prompt, f64), DistillError> {
        let RolloutConfig { held_out, wordings, .. } = &self.config;
        let (_, length) = self.prompts.lengths(index);
        let budget = draw_budget(rng, length, token_budget_fraction, held_out);
        let wording = wordings[rng.random_range(0..wordings.len())];
        Ok((self.prompts.prompt(index, budget, wording)?, budget.share(length)))
    }

    /// Replaces the texts of `rows` by texts of these sources: of the teacher, or of the student, whose greedy and sampled texts
    /// are written together.
    fn rewrite<M: Module + LanguageModel>(
        &self,
        student: &Student<M>,
        rows: Vec<(&mut RolloutRow, TextSource)>,
        seed: Seed,
    ) -> Result<(), DistillError> {
        let Some(&(_, first)) = rows.first() else { return Ok(()) };
        let longest = rows.iter().map(|(row, _)| row.tokens.len()).max().unwrap_or(0);
        let decoder = match first {
            TextSource::Teacher => {
                let policy = Policy::greedy(self.teacher.model()?)
                    .with_help_rule(HelpRule::Never)
                    .with_prompt_side(PromptSide::Expert);
                let experts = self.help_token.into_iter().fold(Experts::new(), Experts::with_closed_token);
                self.with_settings(BudgetedDecoder::new(policy, experts))
            }
            _ => self.decoder(Policy::greedy(student))?,
        };
        let decoder = decoder.with_max_new_tokens(self.config.max_new_tokens(longest)).with_batch_size(rows.len());
        let mut texts = Vec::with_capacity(rows.len());
        for (index, (row, source)) in rows.iter().enumerate() {
            let text = NewText::new(&row.prompt, seed.nth(index as u64));
            texts.push(match source {
                TextSource::StudentSampled => text.with_sampler(Sampler::plain()),
                _ => text,
            });
        }
        let decoded = decoder.decode_texts(&texts, &mut |_: usize, _: &Step| {})?;
        let mut rng = seed.stream("flags").rng();
        for ((row, source), trajectory) in rows.into_iter().zip(&decoded.trajectories) {
            row.tokens = trajectory.steps.iter().map(|step| step.token).collect();
            row.ended = trajectory.end == End::Eos;
            row.deployed = source == TextSource::StudentGreedy;
            row.helped = match source {
                TextSource::Teacher => flags(&mut rng, row.tokens.len(), row.budget),
                _ => trajectory.steps.iter().map(|step| step.source != Source::Student).collect(),
            };
        }
        Ok(())
    }
}

impl<T: LanguageModel + Sync> TeacherHead for RolloutSampler<'_, T> {
    fn log_probs(&self, hidden: &HiddenData) -> Tensor<2> {
        let logits = match self.teacher {
            TeacherSource::Model(teacher) => teacher.head(&hidden.hidden(&teacher.device())),
            TeacherSource::Cache(cache) => cache.logits(hidden),
        };
        teacher_log_probs(logits, &self.suppressed_ids, self.config.teacher_temperature)
    }
}

/// `count` random flags. Each is set with probability `probability`.
fn flags(rng: &mut impl Rng, count: usize, probability: f64) -> Vec<bool> {
    (0..count).map(|_| rng.random::<f64>() < probability).collect()
}
