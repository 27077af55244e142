//! Rollouts as a source of training batches.

use std::sync::Arc;

use burn::module::Module;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use wheels_lm::LanguageModel;
use wheels_student::{Prices, Student};
use wheels_text::{HelpBudget, Seed};

use super::replay::ReplayBuffer;
use super::{Rollout, RolloutSampler};
use crate::checkpoint::first_difference;
use crate::objective::Requirements;
use crate::price::{self, Usage};
use crate::{
    BatchShape, BatchSource, DistillError, RolloutConfig, StepReport, SupervisedBatches, TeacherHead, TrainingBatch,
    WorkProgress, Workers, diagnostics,
};

/// The factor by which the running sums of a level shrink before a new text is added.
const USAGE_DECAY: f64 = 0.98;

/// Training batches from rollouts. By default half of them are off-policy and half on-policy, and each is used three
/// times on average.
///
/// A batch has pairs of similar length. For each pair, a budget and its wording are drawn at random, and the
/// [`Mixture`](crate::Mixture) decides who writes the text. The teacher then reads all texts in one forward pass, or a
/// [`TeacherCache`](crate::TeacherCache) has its distributions. New rollouts also move the prices of help
/// ([`ConstraintConfig`](crate::ConstraintConfig)).
pub struct Rollouts<'a, T> {
    sampler: RolloutSampler<'a, T>,
    batches: SupervisedBatches<'a>,
    replay: ReplayBuffer,
    /// The number of steps whose batches were returned.
    step: usize,
    /// None before the first rollout, unless the student learned prices earlier.
    prices: Option<Prices>,
    /// Running sums for each price level: helped tokens, tokens that the budgets allow, and all tokens.
    usage: Vec<[f64; 3]>,
    on_progress: Box<OnProgress<'a>>,
}

/// A callback during long work.
type OnProgress<'a> = dyn FnMut(WorkProgress) + 'a;

/// The state in a checkpoint.
#[derive(Serialize, Deserialize)]
struct Saved {
    config: RolloutConfig,
    batches: serde_json::Value,
    replay: Vec<Rollout>,
    step: usize,
    prices: Option<Prices>,
    usage: Vec<[f64; 3]>,
}

impl<'a, T: LanguageModel + Sync> Rollouts<'a, T> {
    /// Batches of the rollouts that `sampler` writes.
    ///
    /// # Errors
    /// As [`SupervisedBatches::new`], and [`DistillError::Levels`], [`DistillError::NoBudget`] and [`DistillError::Fraction`]
    /// if the budget levels, the wordings, the held-out budgets or the fractions of the config are invalid.
    pub fn new(sampler: RolloutSampler<'a, T>) -> Result<Self, DistillError> {
        let config = sampler.config();
        config.check()?;
        let seed = Seed(config.seed);
        let batches = SupervisedBatches::new(sampler.prompts(), config.batch_tokens, sampler.pad(), seed)?;
        let usage = vec![[0.0; 3]; config.constraint.levels.len()];
        let replay = ReplayBuffer::new(config.replay_bytes);
        Ok(Self { sampler, batches, replay, step: 0, prices: None, usage, on_progress: Box::new(|_| ()) })
    }

    /// Calls `on_progress` while prices are searched for
    /// ([`search_texts`](crate::ConstraintConfig::search_texts)), to show progress.
    #[must_use]
    pub fn on_progress(self, on_progress: impl FnMut(WorkProgress) + 'a) -> Self {
        Self { on_progress: Box::new(on_progress), ..self }
    }

    /// Starts with prices that the student learned earlier, instead of prices from its first rollouts.
    ///
    /// # Errors
    /// [`DistillError::Levels`] if the budget levels of the config are invalid.
    pub fn with_prices(mut self, prices: &Prices) -> Result<Self, DistillError> {
        let levels = &self.sampler.config().constraint.levels;
        self.prices = Some(prices.at_levels(levels).map_err(|_| DistillError::Levels { levels: levels.clone() })?);
        Ok(self)
    }

    /// The current prices. None before the first step, unless [`with_prices`](Self::with_prices) has set them.
    pub fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// The sizes of the micro-batches of the current epoch, with the words that state a budget in the prompts, and with
    /// the lengths of the references.
    ///
    /// # Errors
    /// If a prompt cannot be made.
    pub fn shapes(&self) -> Result<Vec<BatchShape>, DistillError> {
        let (prompts, wording) = (self.sampler.prompts(), self.sampler.config().wordings[0]);
        let budget = prompts.prompt(0, HelpBudget::percent(20), wording)?.student.len() - prompts.lengths(0).0;
        let with_budget = |shape: BatchShape| BatchShape { source: shape.source + budget, ..shape };
        Ok(self.batches.shapes().into_iter().map(with_budget).collect())
    }

    /// The sampler that writes the rollouts.
    pub fn sampler(&self) -> &RolloutSampler<'a, T> {
        &self.sampler
    }

    /// Writes new rollouts, one for each of `count` micro-batches.
    fn write<M: Module + LanguageModel + Sync>(
        &mut self,
        student: &Student<M>,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<Arc<Rollout>>, DistillError> {
        self.sampler.check(student)?;
        let seed = Seed(self.sampler.config().seed).stream("rollouts").nth(self.step as u64);
        let mut plans = Vec::with_capacity(count);
        for index in 0..count {
            plans.push((seed.nth(index as u64), self.batches.next_indices()));
        }
        let sampler = &self.sampler;
        let chunks = workers.map_chunks(&plans, |chunk| {
            let mut rollouts = Vec::with_capacity(chunk.len());
            for (plan_seed, pairs) in chunk {
                rollouts.push(Arc::new(sampler.sample(student, pairs, *plan_seed)?));
            }
            Ok::<_, DistillError>(rollouts)
        });
        Ok(chunks.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// The first prices: from a search if the config asks for it, and otherwise quantiles of the
    /// divergences at the tokens of the first rollouts.
    fn first_prices<M: Module + LanguageModel + Sync>(
        &mut self,
        student: &Student<M>,
        rollouts: &[Arc<Rollout>],
        workers: &Workers,
    ) -> Result<Prices, DistillError> {
        let constraint = &self.sampler.config().constraint;
        if constraint.search_texts > 0 && self.sampler.has_help_token() {
            let texts = constraint.search_texts;
            return price::search(&self.sampler, student, texts, workers, &mut self.on_progress);
        }
        self.quantile_prices(student, rollouts)
    }

    /// The quantiles of the divergences at the tokens of some rollouts.
    fn quantile_prices<M: Module + LanguageModel>(
        &self,
        student: &Student<M>,
        rollouts: &[Arc<Rollout>],
    ) -> Result<Prices, DistillError> {
        let mut divergences = Vec::new();
        for rollout in rollouts {
            divergences.extend(diagnostics::divergences(&self.sampler, student, rollout));
        }
        price::quantile_prices(&self.sampler.config().constraint, divergences)
    }

    /// Whether the prices are taken anew from the rollouts of this step. Without on-policy texts no use of help is seen,
    /// so the prices follow the student's divergence, which falls while it trains.
    fn prices_are_due(&self) -> bool {
        let RolloutConfig { mixture, constraint, uses, .. } = self.sampler.config();
        let period = constraint.frozen_steps.max(1).next_multiple_of((*uses).max(1));
        let is_measured = mixture.on_policy_fraction > 0.0 || constraint.search_texts > 0;
        !is_measured && self.step > 0 && self.step.is_multiple_of(period)
    }

    /// Moves the prices according to the help that the student used in the greedy texts of new rollouts.
    fn move_prices(&mut self, rollouts: &[Arc<Rollout>]) {
        let config = self.sampler.config();
        let levels = &config.constraint.levels;
        let mut usage = Vec::new();
        for row in rollouts.iter().flat_map(|rollout| &rollout.rows).filter(|row| row.deployed) {
            let helped = row.helped.iter().filter(|flag| **flag).count();
            usage.push(Usage { budget: row.budget, helped, tokens: row.tokens.len() });
        }
        for text in &usage {
            let distance = |level: usize| (levels[level] - text.budget).abs();
            let nearest = (0..levels.len()).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
            let sums = &mut self.usage[nearest.expect("there are levels")];
            let tokens = text.tokens as f64;
            for (sum, seen) in sums.iter_mut().zip([text.helped as f64, text.budget * tokens, tokens]) {
                *sum = *sum * USAGE_DECAY + seen;
            }
        }
        if self.step >= config.constraint.frozen_steps
            && let Some(prices) = &mut self.prices
        {
            let progress = self.step as f64 / config.steps.max(1) as f64;
            price::ascend(prices, &usage, &config.constraint, progress);
        }
    }
}

impl<M: Module + LanguageModel + Sync, T: LanguageModel + Sync> BatchSource<M> for Rollouts<'_, T> {
    fn provides(&self) -> Requirements {
        Requirements { teacher: true, help_token: self.sampler.has_help_token(), ..Requirements::default() }
    }

    fn next_batches(
        &mut self,
        student: &Student<M>,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<TrainingBatch>, DistillError> {
        let seed = Seed(self.sampler.config().seed);
        let rollouts = if self.step.is_multiple_of(self.sampler.config().uses.max(1)) {
            let rollouts = self.write(student, count, workers)?;
            let searches = self.step == 0 && self.sampler.config().constraint.search_texts > 0;
            if self.prices.is_none() || searches {
                self.prices = Some(self.first_prices(student, &rollouts, workers)?);
            } else if self.prices_are_due() {
                self.prices = Some(self.quantile_prices(student, &rollouts)?);
            }
            self.move_prices(&rollouts);
            for rollout in &rollouts {
                self.replay.push(rollout.clone());
            }
            rollouts
        } else {
            let mut rng = seed.stream("replay").nth(self.step as u64).rng();
            (0..count).map(|_| self.replay.get(rng.random_range(0..self.replay.len())).clone()).collect()
        };
        let seed = seed.stream("price-prompts").nth(self.step as u64);
        self.step += 1;
        let prices = self.prices.as_ref().expect("the first rollouts set the prices");
        let sampler = &self.sampler;
        let numbered: Vec<(u64, Arc<Rollout>)> = (0..).zip(rollouts).collect();
        let chunks = workers.map_chunks(&numbered, |chunk| {
            let mut batches = Vec::with_capacity(chunk.len());
            for (index, rollout) in chunk {
                let mut batch = sampler.batch(rollout, prices);
                if sampler.config().price_prompts > 0
                    && let Some(teacher) = &mut batch.teacher
                {
                    let mut rng = seed.nth(*index).rng();
                    teacher.price_prompts = Some(sampler.price_prompts(prices, &mut rng)?);
                }
                batches.push(batch);
            }
            Ok::<_, DistillError>(batches)
        });
        Ok(chunks.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn teacher_head(&self) -> Option<&dyn TeacherHead> {
        Some(&self.sampler)
    }

    fn report(&self, report: &mut StepReport) {
        let Some(prices) = self.prices.as_ref().filter(|_| self.sampler.has_help_token()) else { return };
        for (multiplier, &[helped, budgeted, tokens]) in prices.levels().iter().zip(&self.usage) {
            let name = format!("{:.0}%", 100.0 * multiplier.budget);
            report.parts.insert(format!("price {name}"), multiplier.price);
            if tokens > 0.0 {
                // The budgets of the texts near a level differ from the level. The number therefore adds to the level
                // the amount by which the texts exceed their own budgets.
                report.parts.insert(format!("used {name}"), multiplier.budget + (helped - budgeted) / tokens);
            }
        }
    }

    fn position(&self) -> String {
        self.batches.position_name()
    }

    fn state(&self) -> serde_json::Value {
        let without_teacher = |rollout: &Arc<Rollout>| Rollout::new(rollout.rows.clone(), rollout.pairs.clone());
        let saved = Saved {
            config: self.sampler.config().clone(),
            batches: self.batches.saved_state(),
            replay: self.replay.iter().map(without_teacher).collect(),
            step: self.step,
            prices: self.prices.clone(),
            usage: self.usage.clone(),
        };
        serde_json::to_value(saved).expect("ids and numbers are JSON")
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), DistillError> {
        let unreadable = |error| {
            let reason = format!("its data are those of another kind of training, or of an earlier version ({error})");
            DistillError::SourceState { reason }
        };
        let saved: Saved = serde_json::from_value(state).map_err(unreadable)?;
        let config = self.sampler.config();
        // The number of steps may change.
        if let Some([field, there, here]) = first_difference(&saved.config, config, &["steps"]) {
            let reason = format!("`RolloutConfig::{field}` was {there} for its rollouts, and is {here} now");
            return Err(DistillError::SourceState { reason });
        }
        self.batches.restore_state(saved.batches)?;
        self.replay = ReplayBuffer::new(config.replay_bytes);
        for rollout in saved.replay {
            self.replay.push(self.sampler.with_teacher(rollout)?.into());
        }
        (self.step, self.prices, self.usage) = (saved.step, saved.prices, saved.usage);
        Ok(())
    }
}
