//! `wheels train`: supervised training on pairs of texts, from scratch or from a model.

mod flags;
mod start;

use std::error::Error;
use std::ops::ControlFlow;

use serde_json::json;
use training_wheels::decode::PromptSide;
use training_wheels::device::{Accelerator, PlatformName};
use training_wheels::distill::{Decay, MemoryPlan, SupervisedBatches, TokenizedDataset, Trainer, TrainerConfig};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use wheels_distill::{FolderContent, PlannedModel, TokenPairs};

pub(crate) use flags::Flags;

use super::Outcome;
use crate::command_line::App;
use crate::run::{self, interrupt};
use crate::screen::{console, training};

/// What a run starts from, and its configuration.
struct Job<'f> {
    flags: &'f Flags,
    accelerator: Accelerator,
    start: TextModel,
    config: TrainerConfig,
}

/// The memory that the run needs.
pub(crate) fn plan(flags: &Flags) -> Result<MemoryPlan, Box<dyn Error>> {
    run::check_out(&flags.out, FolderContent::Training)?;
    let job = Job::new(flags)?;
    let pairs = job.pairs()?;
    let plan = job.plan(&job.batches(&pairs)?);
    run::remove_if_empty(&flags.out);
    Ok(plan)
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let _lock = run::FolderLock::new(&flags.out, FolderContent::Training)?;
    let job = Job::new(flags)?;
    let Job { accelerator, start, config, .. } = &job;
    // A wrong path is noticed before a large file is tokenised.
    let valid = flags.fields.open(&flags.valid)?;
    let pairs = job.pairs()?;
    // Validation and training see the same kind of texts.
    let max_tokens = start.text_limit(flags.max_tokens);
    let valid = TokenizedDataset::new(&valid, &start.tokenizer, &start.template, max_tokens)?;
    let valid = valid.kept()?.take(flags.valid_texts);
    let evaluation = Evaluation::new(&valid, &start.tokenizer, &start.template);
    let prompts = evaluation.prompts(HelpBudget::percent(0))?;
    console::say(format_args!("{} pairs, {} workers, {}", pairs.count(), config.workers, accelerator.adapter));

    let objective = CrossEntropy { label_smoothing: flags.label_smoothing };
    let batches = job.batches(&pairs)?;
    training_wheels::check_memory(&job.plan(&batches), &accelerator.device)?;
    let mut trainer = Trainer::resume(config.clone(), &objective, start.model.clone(), batches, &flags.out)?;
    start::same_settings(flags, trainer.step() == 0)?;
    app.invocation.save(&flags.out, None)?;
    start.tokenizer.save(&flags.out)?;
    let mut progress = training::Progress::new(flags.dashboard, flags.steps, "chrF")?;
    let mut validate = |model: &Student<Pretrained>| {
        let policy = Policy::greedy(model).with_help_rule(HelpRule::Never).with_prompt_side(PromptSide::Expert);
        let decoder = BudgetedDecoder::new(policy, Experts::new()).with_generation(&start.generation);
        let output = evaluation.run(&decoder, &prompts, Seed(0))?;
        Ok(evaluation.stats(&output).scores().chrf)
    };
    interrupt::enter(interrupt::Phase::Training);
    let mut printed = Ok(());
    let outcome = trainer.train(&mut validate, &mut |report| {
        printed = app.output.json(&json!({ "event": "step", "report": report }));
        if interrupt::stops() || printed.is_err() { ControlFlow::Break(()) } else { progress.show(report) }
    })?;
    progress.finish();
    if interrupt::stops() && !trainer.is_finished() {
        interrupt::end(&flags.out, outcome.steps, flags.steps);
    }
    printed?;
    if let Some((step, score)) = outcome.best {
        let steps = outcome.steps;
        console::say(format_args!("{steps} steps; the best validation was that of step {step}, with chrF {score:.2}"));
    }
    let format = if flags.half { FloatFormat::F16 } else { FloatFormat::F32 };
    TextModel { model: trainer.best()?, ..start.clone() }.save(&flags.out, format)?;
    console::say(format_args!("the model is in {}", flags.out.display()));
    app.output.json(&training::end(&flags.out, &outcome))?;
    Ok(())
}

impl<'f> Job<'f> {
    fn new(flags: &'f Flags) -> Result<Self, Box<dyn Error>> {
        let earlier = TrainerConfig::of_run(&flags.out)?;
        let accelerator = device::open(&flags.device)?;
        let device = accelerator.device.clone().autodiff();
        device.seed(flags.seed);
        let start = start::start(flags, earlier.is_some(), &device)?;
        let workers = match flags.workers.or(earlier.map(|config| config.workers)) {
            Some(workers) => workers,
            None if accelerator.adapter.platform == PlatformName::Cpu => std::thread::available_parallelism()?.get(),
            None => 1,
        };
        let config = TrainerConfig::new(flags.steps)
            .with_accumulate(flags.accumulate)
            .with_workers(workers)
            .with_gradient_checkpointing(Some(flags.gradient_checkpointing))
            .with_learning_rate(flags.learning_rate)
            .with_warmup_steps(flags.warmup)
            .with_decay(Decay::Linear)
            .with_dropout(true)
            .with_seed(flags.seed)
            .with_checkpoint_every(flags.checkpoint_every)
            .with_validate_every(flags.validate_every)
            .with_patience(flags.patience);
        Ok(Self { flags, accelerator, start, config })
    }

    /// The training data as tokens.
    fn pairs(&self) -> Result<TokenizedDataset<'_>, Box<dyn Error>> {
        let Self { flags, start, .. } = self;
        let stream = flags.fields.stream(&flags.data, "tokenising")?;
        let max_tokens = start.text_limit(flags.max_tokens);
        let pairs = TokenizedDataset::on_disk(stream, &start.tokenizer, &start.template, max_tokens, &flags.out)?;
        Ok(pairs.with_target_start(start.generation.forced_bos_token_id()))
    }

    fn batches<'p>(&self, pairs: &'p TokenizedDataset<'p>) -> Result<SupervisedBatches<'p>, Box<dyn Error>> {
        let Self { flags, start, .. } = self;
        let batches = SupervisedBatches::new(pairs, flags.batch_tokens, start.tokenizer.pad(), Seed(flags.seed))?;
        Ok(batches.with_noise(flags.noise))
    }

    fn plan(&self, batches: &SupervisedBatches<'_>) -> MemoryPlan {
        MemoryPlan::new(&self.config, &PlannedModel::new(&self.start.model), None, &batches.shapes())
    }
}
