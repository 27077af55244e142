//! Practice: texts that the student writes with its teacher at hand, and texts that others wrote.

use burn::config::Config;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wheels_decode::{
    Asking, BudgetedDecoder, Decoder, End, Enforcement, HelpDesk, Policy, Sampler, Side, Source, Teacher,
};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed, TextError};

use crate::replay::{Lesson, LessonRow, ReplayBuffer};
use crate::scored::shifted;
use crate::{
    Batches, ConstraintConfig, DistillError, Guidance, GuidedRow, Learner, Lessons, Pair, Prices, StepReport,
    TrainingBatch, Usage, Workers,
};

/// Configuration of [`Practice`].
#[derive(Config, Debug, PartialEq)]
pub struct PracticeConfig {
    /// Steps of the whole run, over which prices settle.
    pub steps: usize,
    /// Largest number of source plus target tokens in a micro-batch, padding counted, budgets not.
    #[config(default = 2048)]
    pub batch_tokens: usize,
    /// Whose texts are practised on.
    #[config(default = "Mixture::new()")]
    pub mixture: Mixture,
    /// The temperature of the teacher's law: below 1 it takes off the tail that label smoothing left.
    #[config(default = 0.7)]
    pub teacher_temperature: f64,
    /// How often a lesson is used, once when it is new and then from the replay buffer.
    #[config(default = 3)]
    pub uses: usize,
    /// The most bytes of lessons that are kept for replay.
    #[config(default = 134_217_728)]
    pub replay_bytes: usize,
    /// The wordings of budgets that are practised ([`HelpBudget::words`]): the others are left for tests.
    #[config(default = "(0..HelpBudget::WORDINGS - 1).collect()")]
    pub wordings: Vec<usize>,
    /// The prices of help.
    #[config(default = "ConstraintConfig::new()")]
    pub constraint: ConstraintConfig,
    /// Seed of the order of the data, of budgets and of sampled texts.
    #[config(default = 7)]
    pub seed: u64,
}

/// Whose texts are practised on, as shares.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct Mixture {
    /// References, off-policy. Flags of help are drawn at the budget's rate, and the reference stands for the teacher.
    #[config(default = 0.5)]
    pub demonstration: f64,
    /// The teacher's own likeliest texts, off-policy, with flags drawn likewise (sequence-level distillation; Kim and
    /// Rush 2016, arXiv 1606.07947, section 3.2).
    #[config(default = 0.0)]
    pub teacher: f64,
    /// The student's, on-policy, with help as it asks for it.
    #[config(default = 0.5)]
    pub student: f64,
    /// The share of the student's texts that are greedy, as deployed; the others are sampled.
    #[config(default = 0.5)]
    pub greedy: f64,
}

/// Makes the prompt of a pair, by its index, under a budget in one of its wordings.
pub type MakePrompt<'a> = dyn Fn(usize, HelpBudget, usize) -> Result<Prompt, TextError> + Sync + 'a;

/// Lessons with a teacher in the loop.
///
/// Each lesson is a micro-batch of pairs of like lengths. Every row draws a budget and a wording for it and is written
/// by whom the [`Mixture`] says; the teacher's law is then read along all rows at once. Budgets are all whole
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

#[derive(Clone, Copy, PartialEq)]
enum Author {
    Demonstration,
    Teacher,
    Greedy,
    Sampled,
}

/// Tokens that a text may have beyond twice its reference.
const ROOM: usize = 8;

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

    /// The prices as they are now; none before the first step.
    pub fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// Writes new lessons, one for each of `count` micro-batches.
    pub(crate) fn write<M: Learner + Sync>(
        &mut self,
        model: &M,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<Lesson>, DistillError> {
        let (student, teacher) = (model.spec().vocab_size, self.teacher.spec().vocab_size);
        if student != teacher {
            return Err(DistillError::Vocabularies { student, teacher });
        }
        let seed = Seed(self.config.seed).stream("practice").nth(self.step as u64);
        let plans: Vec<(Seed, Vec<u32>)> =
            (0..count).map(|index| (seed.nth(index as u64), self.batches.next_indices())).collect();
        let this = &*self;
        let shares = workers.share(&plans, |plans| {
            plans.iter().map(|(seed, pairs)| this.lesson(model, pairs, *seed)).collect::<Result<Vec<_>, _>>()
        });
        Ok(shares.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn lesson<M: Learner>(&self, model: &M, pairs: &[u32], seed: Seed) -> Result<Lesson, DistillError> {
        let mut rng = seed.rng();
        let mut rows = Vec::with_capacity(pairs.len());
        let mut prompts = Vec::with_capacity(pairs.len());
        let mut authors = Vec::with_capacity(pairs.len());
        for &index in pairs {
            let target = &self.pairs[index as usize].target;
            let (budget, fraction) = draw_budget(&mut rng, target.len());
            let wording = self.config.wordings[rng.random_range(0..self.config.wordings.len())];
            let prompt = (self.prompt)(index as usize, budget, wording)
                .map_err(|source| DistillError::Prompt { index: index as usize, source })?;
            authors.push(self.config.mixture.draw(&mut rng));
            rows.push(LessonRow {
                student: prompt.student.clone(),
                expert: prompt.expert.clone(),
                target: target.clone(),
                helped: target.iter().map(|_| rng.random::<f64>() < fraction).collect(),
                budget: fraction,
                deployed: false,
                ended: true,
            });
            prompts.push(prompt);
        }
        for author in [Author::Teacher, Author::Greedy, Author::Sampled] {
            let chosen: Vec<usize> = (0..rows.len()).filter(|&row| authors[row] == author).collect();
            if !chosen.is_empty() {
                self.rewrite(model, author, &chosen, &prompts, &mut rows, seed)?;
            }
        }
        let mut lesson = Lesson { rows, teacher: None };
        lesson.teacher = Some(self.law(&lesson));
        Ok(lesson)
    }

    /// Replaces the texts of the chosen rows by those of their author.
    fn rewrite<M: Learner>(
        &self,
        model: &M,
        author: Author,
        chosen: &[usize],
        prompts: &[Prompt],
        rows: &mut [LessonRow],
        seed: Seed,
    ) -> Result<(), DistillError> {
        let sampler = if author == Author::Sampled { Sampler::plain() } else { Sampler::Greedy };
        let (policy, desk) = match author {
            Author::Teacher => {
                let policy = Policy::greedy(self.teacher).asking(Asking::Never).reading(Side::Expert);
                (policy, HelpDesk::new().closed(self.help))
            }
            _ => (Policy::new(model, sampler), HelpDesk::new().with(self.help, Teacher::new(self.teacher))),
        };
        let longest = chosen.iter().map(|&row| rows[row].target.len()).max().unwrap_or(0);
        let decoder = BudgetedDecoder::new(policy, desk)
            .enforcement(Enforcement::Off)
            .max_tokens(2 * longest + ROOM)
            .batch_size(chosen.len());
        let prompts: Vec<Prompt> = chosen.iter().map(|&row| prompts[row].clone()).collect();
        let decoded = decoder.decode(&prompts, seed)?;
        for (&row, trajectory) in chosen.iter().zip(&decoded.trajectories) {
            let row = &mut rows[row];
            row.target = trajectory.steps.iter().map(|step| step.token).collect();
            row.ended = trajectory.end == End::Eos;
            row.deployed = author == Author::Greedy;
            match author {
                Author::Teacher => {
                    let mut rng = seed.stream("flags").rng();
                    row.helped = row.target.iter().map(|_| rng.random::<f64>() < row.budget).collect();
                }
                _ => row.helped = trajectory.steps.iter().map(|step| step.source != Source::Student).collect(),
            }
        }
        Ok(())
    }

    /// The teacher's law along the texts of a lesson, `[batch, time, vocab]` in half precision.
    fn law(&self, lesson: &Lesson) -> TensorData {
        let spec = self.teacher.spec();
        let batch = |of: fn(&LessonRow) -> &Vec<u32>| {
            TokenBatch::new(&lesson.rows.iter().map(of).collect::<Vec<_>>(), spec.pad)
        };
        let mut context = self.teacher.prefill(&batch(|row| &row.expert), 0);
        let inputs = shifted(&context.starts(), &batch(|row| &row.target), spec.pad);
        let logits = self.teacher.forward(&inputs, &mut context).logits;
        let mut closed = vec![0.0_f32; spec.vocab_size];
        for &special in &self.specials {
            closed[special as usize] = -1e9;
        }
        let closed = Tensor::<3>::from_data(TensorData::new(closed, [1, 1, spec.vocab_size]), &logits.device());
        let law = log_softmax((logits + closed) / self.config.teacher_temperature, 2);
        // Half precision has no numbers below e^-16.6, but their logarithms are plain.
        law.clamp_min(LEAST).into_data().convert_dtype(DType::F16)
    }

    pub(crate) fn constraint(&self) -> &ConstraintConfig {
        &self.config.constraint
    }

    /// A lesson as a batch, with help at these prices.
    pub(crate) fn batch(&self, lesson: &Lesson, prices: &Prices) -> TrainingBatch {
        let pad = self.teacher.spec().pad;
        let ids =
            |of: fn(&LessonRow) -> &Vec<u32>| TokenBatch::new(&lesson.rows.iter().map(of).collect::<Vec<_>>(), pad);
        let row = |row: &LessonRow| GuidedRow {
            helped: row.helped.clone(),
            price: prices.price(row.budget) as f32,
            deployed: row.deployed,
            ended: row.ended,
        };
        TrainingBatch {
            prompts: ids(|row| &row.student),
            targets: ids(|row| &row.target),
            guidance: Some(Guidance {
                teacher: lesson.teacher.clone().expect("a lesson has a teacher's law"),
                help: Some(self.help),
                rows: lesson.rows.iter().map(row).collect(),
            }),
        }
    }

    /// Moves prices by what the deployed rows of new lessons used.
    fn learn_prices(&mut self, lessons: &[Lesson]) {
        let rows = lessons.iter().flat_map(|lesson| &lesson.rows).filter(|row| row.deployed);
        let usage: Vec<Usage> = rows
            .map(|row| Usage {
                budget: row.budget,
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
            if self.prices.is_none() {
                self.prices = Some(self.first_prices(model, &lessons));
            }
            self.learn_prices(&lessons);
            lessons.iter().for_each(|lesson| self.replay.push(lesson.clone()));
            lessons
        } else {
            let mut rng = Seed(self.config.seed).stream("replay").nth(self.step as u64).rng();
            (0..count).map(|_| self.replay.get(rng.random_range(0..self.replay.len())).clone()).collect()
        };
        self.step += 1;
        let prices = self.prices.as_ref().expect("the first lessons set them");
        Ok(lessons.iter().map(|lesson| self.batch(lesson, prices)).collect())
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
            replay: self.replay.iter().map(Lesson::ids).collect(),
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
        for mut lesson in saved.replay {
            lesson.teacher = Some(self.law(&lesson));
            self.replay.push(lesson);
        }
        (self.step, self.prices, self.usage) = (saved.step, saved.prices, saved.usage);
        Ok(())
    }
}

impl Mixture {
    fn draw(&self, rng: &mut impl Rng) -> Author {
        let total = self.demonstration + self.teacher + self.student;
        let at = rng.random::<f64>() * total;
        let greedy = rng.random::<f64>() < self.greedy;
        if at < self.demonstration {
            Author::Demonstration
        } else if at < self.demonstration + self.teacher {
            Author::Teacher
        } else if greedy {
            Author::Greedy
        } else {
            Author::Sampled
        }
    }
}

/// A budget, and the share that it is of a text of `length` tokens.
fn draw_budget(rng: &mut ChaCha8Rng, length: usize) -> (HelpBudget, f64) {
    let (kind, low): (f64, f64) = (rng.random(), rng.random());
    if kind < 1.0 / 7.0 {
        let tokens = rng.random_range(0..=length.div_ceil(2)) as u32;
        return (HelpBudget::tokens(tokens), (f64::from(tokens) / length as f64).min(1.0));
    }
    // Squared, so that half of all budgets lie below 25%.
    let percent = (low * low * 101.0).floor().min(100.0);
    (HelpBudget::percent(percent as u8), percent / 100.0)
}
