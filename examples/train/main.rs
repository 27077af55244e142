//! Trains a T5 on JSON lines with `source` and `target`, from scratch, or another model as a whole or by adapters (LoRA).
//!
//!     cargo run --release --example train -- --data train.jsonl --valid valid.jsonl --out model
//!
//! Hugging Face's transformers opens the resulting folder, and its PEFT that of adapters (`--init MODEL --lora RANK`).
//! Give the same command again to continue a run that was stopped. The result is the same, bit for bit, as without the
//! interruption.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod flags;
#[path = "../support/interrupt.rs"]
mod interrupt;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/progress.rs"]
mod progress;
mod start;

use std::error::Error;
use std::ops::ControlFlow;
use std::process::ExitCode;

use training_wheels::decode::PromptSide;
use training_wheels::device::PlatformName;
use training_wheels::distill::{
    Decay, FolderContent, MemoryPlan, PlannedModel, SupervisedBatches, TokenPairs, TokenizedDataset, Trainer,
    TrainerConfig,
};
use training_wheels::prelude::*;
use training_wheels::student::Student;

use flags::Flags;

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    interrupt::install()?;
    program::check_out(&flags.out, FolderContent::Training)?;
    let earlier = TrainerConfig::of_run(&flags.out)?;
    let accelerator = device::open(&flags.device)?;
    let device = accelerator.device.clone().autodiff();
    device.seed(flags.seed);
    let start = start::start(flags, earlier.is_some(), &device)?;
    // A wrong path is noticed before a large file is tokenised.
    let valid = flags.fields.open(&flags.valid)?;
    let stream = flags.fields.stream(&flags.data, "tokenising")?;
    let max_tokens = start.text_limit(flags.max_tokens);
    let pairs = TokenizedDataset::on_disk(stream, &start.tokenizer, &start.template, max_tokens, &flags.out)?
        .with_target_start(start.generation.forced_bos_token_id());
    // Validation and training see the same kind of texts.
    let valid = TokenizedDataset::new(&valid, &start.tokenizer, &start.template, max_tokens)?;
    let valid = valid.kept()?.take(flags.valid_texts);
    let evaluation = Evaluation::new(&valid, &start.tokenizer, &start.template);
    let prompts = evaluation.prompts(HelpBudget::percent(0))?;

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
    eprintln!("{} pairs, {workers} workers, {}", pairs.count(), accelerator.adapter);

    let objective = CrossEntropy { label_smoothing: flags.label_smoothing };
    let batches = SupervisedBatches::new(&pairs, flags.batch_tokens, start.tokenizer.pad(), Seed(flags.seed))?
        .with_noise(flags.noise);
    let student = start.model.clone();
    let plan = MemoryPlan::new(&config, &PlannedModel::new(&student), None, &batches.shapes());
    if flags.plan {
        println!("{plan}");
        program::remove_if_empty(&flags.out);
        return Ok(());
    }
    training_wheels::check_memory(&plan, &accelerator.device)?;
    let mut trainer = Trainer::resume(config, &objective, student, batches, &flags.out)?;
    start::same_settings(flags, trainer.step() == 0)?;
    program::save_command(&flags.out)?;
    start.tokenizer.save(&flags.out)?;
    let mut progress = progress::Progress::new(flags.dashboard, flags.steps, "chrF")?;
    let mut validate = |model: &Student<Pretrained>| {
        let policy = Policy::greedy(model).with_help_rule(HelpRule::Never).with_prompt_side(PromptSide::Expert);
        let decoder = BudgetedDecoder::new(policy, Experts::new()).with_generation(&start.generation);
        let output = evaluation.run(&decoder, &prompts, Seed(0))?;
        Ok(evaluation.stats(&output).scores().chrf)
    };
    interrupt::enter(interrupt::Phase::Training);
    let outcome = trainer.train(&mut validate, &mut |report| match interrupt::stops() {
        true => ControlFlow::Break(()),
        false => progress.show(report),
    })?;
    progress.finish();
    if interrupt::stops() && !trainer.is_finished() {
        interrupt::end(&flags.out, outcome.steps, flags.steps);
    }
    if let Some((step, score)) = outcome.best {
        eprintln!("{} steps; the best validation was that of step {step}, with chrF {score:.2}", outcome.steps);
    }
    let format = if flags.half { FloatFormat::F16 } else { FloatFormat::F32 };
    TextModel { model: trainer.best()?, ..start.clone() }.save(&flags.out, format)?;
    eprintln!("the model is in {}", flags.out.display());
    Ok(())
}
