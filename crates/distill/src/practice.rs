//! Practice: texts that the student writes with its teacher at hand, and texts that others wrote.

mod settling;
mod survey;

use std::sync::Arc;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Tensor, TensorData};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wheels_decode::{
    Asking, BudgetedDecoder, Decoder, End, Enforcement, HelpDesk, Policy, Sampler, Side, Source, Teacher,
};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed, TextError};

pub use self::survey::Reading;
use crate::mixture::{Author, draw_budget};
use crate::replay::{Lesson, LessonRow, ReplayBuffer};
use crate::scored::forced;
use crate::{
    Batches, DistillError, Guidance, GuidedRow, Learner, Lessons, Pair, PracticeConfig, Prices, Rehearsal, StepReport,
    TrainingBatch, Usage, Workers,
};

/// Makes the prompt of a pair, by its index, under a budget in one of its wordings.
pub type MakePrompt<'a> = dyn Fn(usize, HelpBudget, usize) -> Result<Prompt, TextError> + Sync + 'a;

/// Lessons with a teacher in the loop.
///
/// Each lesson is a micro-batch of pairs of like lengths. Every row draws a budget and a wording for it and is written
/// by whom the [`Mixture`](crate::Mixture) says; the teacher's law is then read along all rows at once. Budgets are all whole
/// percentages, low ones more often, and for a seventh of the rows numbers of tokens. Help always answers with the
/// teacher's likeliest word: a random one would bias squared residuals.
pub struct Practice<'a, T> {
    config: PracticeConfig,
    batches: Batches<'a>,
    pairs: &'a [Pair],
    teacher: &'a T,
    prompt: &'a MakePrompt<'a>,
    help: u32,
    /// Ids that the teacher's law leaves out.
    specials: Vec<u32>,
    replay: ReplayBuffer,
    /// Steps handed out.
    step: usize,
    /// None before the first lesson.
    prices: Option<Prices>,
    /// Running sums of helped tokens, budgeted tokens and tokens, by level.
    usage: Vec<[f64; 3]>,
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    config: PracticeConfig,
    batches: serde_json::Value,
    replay: Vec<Lesson>,
    step: usize,
    prices: Option<Prices>,
    usage: Vec<[f64; 3]>,
}

/// The most tokens of a text beside references of up to so many.
fn room(longest: usize) -> usize {
    2 * longest + 8
}

impl<'a, T: LanguageModel + Sync> Practice<'a, T> {
    /// Practice on `pairs` with a `teacher`, whom the student calls by the token `help`.
    ///
    /// The teacher's law leaves out `specials`: padding, the help token, whatever no text contains.
    ///
    /// # Errors
    /// As [`Batches::new`].
    pub fn new(
        config: PracticeConfig,
        pairs: &'a [Pair],
        prompt: &'a MakePrompt<'a>,
        teacher: &'a T,
        help: u32,
        specials: Vec<u32>,
    ) -> Result<Self, DistillError> {
        let batches = Batches::new(pairs, config.batch_tokens, teacher.spec().pad, Seed(config.seed))?;
        let usage = vec![[0.0; 3]; config.constraint.levels.len()];
        let replay = ReplayBuffer::new(config.replay_bytes);
        Ok(Self { config, batches, pairs, teacher, prompt, help, specials, replay, step: 0, prices: None, usage })
    }

    /// Starts with the prices that a student has learned before, in place of those that its first lessons suggest.
    #[must_use]
    pub fn with_prices(self, prices: &Prices) -> Self {
        Self { prices: Some(prices.at_levels(&self.config.constraint.levels)), ..self }
    }

    /// The prices as they are now; none before the first step.
    pub fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// Writes new lessons, one for each of `count` micro-batches.
    fn write<M: Learner + Sync>(
        &mut self,
        model: &M,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<Arc<Lesson>>, DistillError> {
        let (student, teacher) = (model.spec().vocab_size, self.teacher.spec().vocab_size);
        if student != teacher {
            return Err(DistillError::Vocabularies { student, teacher });
        }
        let seed = Seed(self.config.seed).stream("practice").nth(self.step as u64);
        let plans: Vec<(Seed, Vec<u32>)> =
            (0..count).map(|index| (seed.nth(index as u64), self.batches.next_indices())).collect();
        let this = &*self;
        let shares = workers.share(&plans, |plans| {
            let lesson = |(seed, pairs): &(Seed, Vec<u32>)| this.lesson(model, pairs, *seed).map(Arc::new);
            plans.iter().map(lesson).collect::<Result<Vec<_>, _>>()
        });
        Ok(shares.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn lesson<M: Learner>(&self, model: &M, pairs: &[u32], seed: Seed) -> Result<Lesson, DistillError> {
        let mut rng = seed.rng();
        let mut rows = Vec::with_capacity(pairs.len());
        let mut authors = Vec::with_capacity(pairs.len());
        for index in pairs.iter().map(|&index| index as usize) {
            let target = self.pairs[index].target.clone();
            let (prompt, share) = self.draw_prompt(index, &mut rng)?;
            let helped = flags(&mut rng, target.len(), share);
            authors.push(self.config.mixture.draw(&mut rng));
            rows.push(LessonRow { prompt, target, helped, share, deployed: false, ended: true });
        }
        for author in [Author::Teacher, Author::Greedy, Author::Sampled] {
            let chosen: Vec<&mut LessonRow> =
                rows.iter_mut().zip(&authors).filter_map(|(row, &wrote)| (wrote == author).then_some(row)).collect();
            if !chosen.is_empty() {
                self.rewrite(model, author, chosen, seed)?;
            }
        }
        Ok(self.with_law(Lesson { rows, teacher: None }))
    }

    /// The prompt of a pair under a budget that is drawn, in a wording that is drawn, and the budget as a share.
    fn draw_prompt(&self, index: usize, rng: &mut impl Rng) -> Result<(Prompt, f64), DistillError> {
        let length = self.pairs[index].target.len();
        let budget = draw_budget(rng, length, &self.config.held_out);
        let wording = self.config.wordings[rng.random_range(0..self.config.wordings.len())];
        Ok((self.make_prompt(index, budget, wording)?, budget.share(length)))
    }

    /// Prompts of pairs that are drawn, and what help costs under their budgets.
    fn rehearsal(&self, prices: &Prices, rng: &mut impl Rng) -> Result<Rehearsal, DistillError> {
        let drawn = (0..self.config.rehearsal).map(|_| self.draw_prompt(rng.random_range(0..self.pairs.len()), rng));
        let drawn = drawn.collect::<Result<Vec<_>, _>>()?;
        let prompts: Vec<&[u32]> = drawn.iter().map(|(prompt, _)| prompt.student.as_slice()).collect();
        Ok(Rehearsal {
            prompts: TokenBatch::new(&prompts, self.teacher.spec().pad),
            prices: drawn.iter().map(|(_, share)| prices.price(*share) as f32).collect(),
        })
    }

    fn make_prompt(&self, index: usize, budget: HelpBudget, wording: usize) -> Result<Prompt, DistillError> {
        (self.prompt)(index, budget, wording).map_err(|source| DistillError::Prompt { index, source })
    }

    /// Replaces the texts of rows by those of their author.
    fn rewrite<M: Learner>(
        &self,
        model: &M,
        author: Author,
        rows: Vec<&mut LessonRow>,
        seed: Seed,
    ) -> Result<(), DistillError> {
        let longest = rows.iter().map(|row| row.target.len()).max().unwrap_or(0);
        let decoder = match author {
            Author::Teacher => {
                let policy = Policy::greedy(self.teacher).asking(Asking::Never).reading(Side::Expert);
                self.writing(policy, HelpDesk::new().closed(self.help))
            }
            Author::Sampled => self.decoder(model, Sampler::plain(), Asking::Learned),
            _ => self.decoder(model, Sampler::Greedy, Asking::Learned),
        };
        let decoder = decoder.max_tokens(room(longest)).batch_size(rows.len());
        let prompts: Vec<Prompt> = rows.iter().map(|row| row.prompt.clone()).collect();
        let decoded = decoder.decode(&prompts, seed)?;
        let mut rng = seed.stream("flags").rng();
        for (row, trajectory) in rows.into_iter().zip(&decoded.trajectories) {
            row.target = trajectory.steps.iter().map(|step| step.token).collect();
            row.ended = trajectory.end == End::Eos;
            row.deployed = author == Author::Greedy;
            row.helped = match author {
                Author::Teacher => flags(&mut rng, row.target.len(), row.share),
                _ => trajectory.steps.iter().map(|step| step.source != Source::Student).collect(),
            };
        }
        Ok(())
    }

    /// A student with the teacher at its desk.
    fn decoder<'m, M: Learner>(&'m self, model: &'m M, sampler: Sampler, asking: Asking) -> BudgetedDecoder<'m> {
        let desk = HelpDesk::new().with(self.help, Teacher::new(self.teacher));
        self.writing(Policy::new(model, sampler).asking(asking), desk)
    }

    /// How texts are written here: without a ledger.
    fn writing<'m>(&self, policy: Policy<'m>, desk: HelpDesk<'m>) -> BudgetedDecoder<'m> {
        let size = self.config.no_repeat_ngram_size;
        BudgetedDecoder::new(policy, desk).enforcement(Enforcement::Off).no_repeat_ngram_size(size)
    }

    fn with_law(&self, lesson: Lesson) -> Lesson {
        Lesson { teacher: Some(self.law(&lesson)), ..lesson }
    }

    /// The teacher's law along the texts of a lesson, `[batch, time, vocab]` in half precision.
    fn law(&self, lesson: &Lesson) -> TensorData {
        let spec = self.teacher.spec();
        let (prompts, targets) = (lesson.ids(spec.pad, |row| &row.prompt.expert), lesson.targets(spec.pad));
        let logits = forced(self.teacher, &prompts, &targets).logits;
        let mut closed = vec![0.0_f32; spec.vocab_size];
        for &special in &self.specials {
            closed[special as usize] = -1e9;
        }
        let closed = Tensor::<3>::from_data(TensorData::new(closed, [1, 1, spec.vocab_size]), &logits.device());
        let law = log_softmax((logits + closed) / self.config.teacher_temperature, 2);
        // Half precision has no numbers below e^-16.6, but their logarithms are plain.
        law.clamp_min(LEAST).into_data().convert_dtype(DType::F16)
    }

    /// The first prices: quantiles of the distances at the tokens of the first lessons.
    fn first_prices<M: Learner>(&self, model: &M, lessons: &[Arc<Lesson>]) -> Prices {
        let readings = lessons.iter().flat_map(|lesson| self.readings(model, lesson));
        Prices::from_distances(&self.config.constraint, readings.map(|reading| reading.distance).collect())
    }

    /// A lesson as a batch, with help at these prices.
    fn batch(&self, lesson: &Lesson, prices: &Prices) -> TrainingBatch {
        let pad = self.teacher.spec().pad;
        let row = |row: &LessonRow| GuidedRow {
            helped: row.helped.clone(),
            price: prices.price(row.share) as f32,
            deployed: row.deployed,
            ended: row.ended,
        };
        TrainingBatch {
            prompts: lesson.ids(pad, |row| &row.prompt.student),
            targets: lesson.targets(pad),
            read: None,
            guidance: Some(Guidance {
                rehearsal: None,
                teacher: lesson.teacher.clone().expect("a lesson has a teacher's law"),
                help: Some(self.help),
                rows: lesson.rows.iter().map(row).collect(),
            }),
        }
    }

    /// Moves prices by what the deployed rows of new lessons used.
    fn learn_prices(&mut self, lessons: &[Arc<Lesson>]) {
        let rows = lessons.iter().flat_map(|lesson| &lesson.rows).filter(|row| row.deployed);
        let usage: Vec<Usage> = rows
            .map(|row| Usage {
                budget: row.share,
                helped: row.helped.iter().filter(|helped| **helped).count(),
                tokens: row.target.len(),
            })
            .collect();
        let levels = &self.config.constraint.levels;
        for text in &usage {
            let nearest = (0..levels.len())
                .min_by(|&a, &b| (levels[a] - text.budget).abs().total_cmp(&(levels[b] - text.budget).abs()))
                .expect("there are levels");
            let tokens = text.tokens as f64;
            let seen = [text.helped as f64, text.budget * tokens, tokens];
            for (sum, seen) in self.usage[nearest].iter_mut().zip(seen) {
                *sum = *sum * FADE + seen;
            }
        }
        if self.step >= self.config.constraint.frozen_steps
            && let Some(prices) = &mut self.prices
        {
            let progress = self.step as f64 / self.config.steps.max(1) as f64;
            prices.ascend(&usage, &self.config.constraint, progress);
        }
    }
}

/// What a running sum keeps at each new text.
const FADE: f64 = 0.98;

/// The least log-probability that is kept of a teacher's law, nats.
const LEAST: f64 = -30.0;

impl<M: Learner + Sync, T: LanguageModel + Sync> Lessons<M> for Practice<'_, T> {
    fn next_batches(&mut self, model: &M, count: usize, workers: &Workers) -> Result<Vec<TrainingBatch>, DistillError> {
        let lessons = if self.step.is_multiple_of(self.config.uses.max(1)) {
            let lessons = self.write(model, count, workers)?;
            if self.step == 0 && self.config.constraint.settled_on > 0 {
                self.prices = Some(self.settled_prices(model, workers)?);
            } else if self.prices.is_none() {
                self.prices = Some(self.first_prices(model, &lessons));
            }
            self.learn_prices(&lessons);
            lessons.iter().for_each(|lesson| self.replay.push(lesson.clone()));
            lessons
        } else {
            let mut rng = Seed(self.config.seed).stream("replay").nth(self.step as u64).rng();
            (0..count).map(|_| self.replay.get(rng.random_range(0..self.replay.len())).clone()).collect()
        };
        let seed = Seed(self.config.seed).stream("rehearsal").nth(self.step as u64);
        self.step += 1;
        let prices = self.prices.as_ref().expect("the first lessons set them");
        let batch = |(index, lesson): (usize, &Arc<Lesson>)| {
            let mut batch = self.batch(lesson, prices);
            if self.config.rehearsal > 0 {
                let guidance = batch.guidance.as_mut().expect("a lesson has a teacher");
                guidance.rehearsal = Some(self.rehearsal(prices, &mut seed.nth(index as u64).rng())?);
            }
            Ok(batch)
        };
        lessons.iter().enumerate().map(batch).collect()
    }

    fn report(&self, report: &mut StepReport) {
        let Some(prices) = &self.prices else { return };
        for (multiplier, &[helped, budgeted, tokens]) in prices.levels().iter().zip(&self.usage) {
            let name = format!("{:.0}%", 100.0 * multiplier.budget);
            report.parts.insert(format!("price {name}"), multiplier.price);
            if tokens > 0.0 {
                // Rows near a level have budgets of their own: what counts is by how much they miss them.
                report.parts.insert(format!("used {name}"), multiplier.budget + (helped - budgeted) / tokens);
            }
        }
    }

    fn place(&self) -> String {
        Lessons::<M>::place(&self.batches)
    }

    fn state(&self) -> serde_json::Value {
        let saved = Saved {
            config: self.config.clone(),
            batches: Lessons::<M>::state(&self.batches),
            replay: self.replay.iter().map(|lesson| lesson.without_law()).collect(),
            step: self.step,
            prices: self.prices.clone(),
            usage: self.usage.clone(),
        };
        serde_json::to_value(saved).expect("ids and numbers are JSON")
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), String> {
        let saved: Saved = serde_json::from_value(state).map_err(|error| error.to_string())?;
        if saved.config != self.config {
            return Err(format!("it practised with {:?}, this run with {:?}", saved.config, self.config));
        }
        Lessons::<M>::restore(&mut self.batches, saved.batches)?;
        self.replay = ReplayBuffer::new(self.config.replay_bytes);
        for lesson in saved.replay {
            self.replay.push(self.with_law(lesson).into());
        }
        (self.step, self.prices, self.usage) = (saved.step, saved.prices, saved.usage);
        Ok(())
    }
}

/// Flags that are set with this probability each.
fn flags(rng: &mut impl Rng, count: usize, share: f64) -> Vec<bool> {
    (0..count).map(|_| rng.random::<f64>() < share).collect()
}
