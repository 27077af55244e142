//! Trains a student to write like its teacher, and to ask it for help within a budget.
//!
//!     cargo run --release --example distill -- --teacher DIR --student DIR --data FILE --valid FILE --out DIR
//!
//! With `--teacher-cache DIR` it trains from the files that the example `cache-teacher` wrote. Then no teacher is needed. If
//! `--teacher` is given as well, it calibrates the student at the end.
//!
//! Without flags it trains the embedded student on the embedded sample, a smoke test of a minute. Give the same command
//! again to continue a run that was stopped.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/budget_table.rs"]
mod budget_table;
#[path = "support/calibration_bar.rs"]
mod calibration_bar;
#[path = "support/curves.rs"]
mod curves;
#[path = "support/interrupt.rs"]
mod interrupt;
#[path = "support/program.rs"]
mod program;
#[path = "support/progress.rs"]
mod progress;
#[path = "support/work_bar.rs"]
mod work_bar;

use std::cell::RefCell;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use burn::config::Config;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use training_wheels::distill::FolderContent;
use training_wheels::prelude::*;
use training_wheels::{Method, TrainingData};
use wheels_embedded::TRANSLATION;

/// Distils a teacher into a student that asks it for help.
#[derive(Parser)]
#[command(args_override_self = true, after_help = format!("{}\n\n{}", progress::TERMS, budget_table::TERMS))]
struct Flags {
    /// The folder of the teacher, or a model of the hub (owner/name). If absent: the embedded teacher, or none with --teacher-cache.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// The folder of a teacher's cache (the example cache-teacher), from which the student learns without the teacher.
    #[arg(long, value_name = "DIR")]
    teacher_cache: Option<PathBuf>,
    /// The folder or hub name of the student to start from, which gets a help token if it has none. If absent: the embedded one.
    #[arg(long)]
    student: Option<PathBuf>,
    /// The data to train on: JSON lines, a JSON list, CSV or TSV, of any size. If absent: the embedded sample.
    #[arg(long, requires = "valid")]
    data: Option<PathBuf>,
    /// The data to validate and to calibrate on. If absent: the embedded sample.
    #[arg(long)]
    valid: Option<PathBuf>,
    #[command(flatten)]
    fields: program::DataFlags,
    /// The folder of the run: its checkpoints, metrics.jsonl (a line for each step), curves.svg (losses, prices, help used),
    /// budgets.json, distillation.json (the settings), command.txt (the command that goes on after an interruption), and
    /// the trained student. A run that is there goes on.
    #[arg(long, default_value = "distilled")]
    out: PathBuf,
    /// The method: supervised, forward-kl, sequence, gkd, gkd:BETA, path, all-action or constrained. If absent:
    /// constrained, with the mixture of texts in --config.
    #[arg(long)]
    method: Option<Method>,
    /// The largest number of tokens on either side of a pair. Longer pairs are left out. If absent: as --config, or else 128.
    #[arg(long)]
    max_tokens: Option<usize>,
    /// The number of validation texts on which the student is calibrated and its budgets are measured. If absent: as
    /// --config, or else 300.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    calibration_texts: Option<usize>,
    /// The number of optimizer steps. If absent: that of --config; without it 2000, or 40 on the embedded sample.
    #[arg(long)]
    steps: Option<usize>,
    /// All other settings: a DistillationConfig as JSON, such as the distillation.json of an earlier run.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Train only the heads, which decide when to ask. The tokens that the student writes by itself stay the same.
    #[arg(long)]
    heads_only: bool,
    /// Train adapters (LoRA) of this rank, not the weights of --student, and save only them. --config has all settings.
    #[arg(long, value_name = "RANK", conflicts_with = "heads_only")]
    lora: Option<usize>,
    /// The number of micro-batches whose gradients each worker adds up before a step.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    accumulate: Option<usize>,
    /// Keep only the inputs of blocks in the forward pass, and compute the blocks again in the backward pass. It takes less
    /// memory and more time, and a run that goes on may change it.
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Save the weights in half precision.
    #[arg(long)]
    half: bool,
    /// Print the memory that the run needs, by formulas, and stop. The peak is the largest sum of parts that exist at once.
    #[arg(long)]
    plan: bool,
    /// Show burn-train's dashboard instead of a progress bar. The build needs the feature `dashboard`.
    #[arg(long)]
    dashboard: bool,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// The format of the teacher's matrices in memory: f32, or with half the memory f16 or bf16.
    #[arg(long, default_value_t)]
    teacher_dtype: FloatFormat,
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

/// Checks that `--teacher-cache` is not the folder of something else, such as the teacher.
fn check_cache(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let Some(cache) = &flags.teacher_cache else { return Ok(()) };
    let has = match FolderContent::of(cache)? {
        // The error of a folder without a cache names the missing file.
        FolderContent::Free | FolderContent::TeacherCache => return Ok(()),
        FolderContent::File => "is a file",
        FolderContent::Evaluation => "has an evaluation",
        _ => "has a model",
    };
    Err(format!(
        "--teacher-cache {} {has} and no cache: give a folder that `cache-teacher` wrote, or a model as --teacher",
        cache.display()
    )
    .into())
}

/// The configuration: that of `--config` or the default, with the other flags.
fn configuration(flags: &Flags) -> Result<DistillationConfig, Box<dyn Error>> {
    let mut config = match &flags.config {
        Some(path) => DistillationConfig::load(path).map_err(|error| format!("--config {path:?}: {error}"))?,
        None => DistillationConfig::new(),
    };
    let smoke_test = flags.data.is_none() && flags.config.is_none();
    let steps = flags.steps.or(smoke_test.then_some(40));
    config = steps.into_iter().fold(config, DistillationConfig::with_steps);
    config.lora = flags.lora.map(LoraConfig::new).or(config.lora);
    if let (Some(lora), Some(student)) = (&mut config.lora, &flags.student) {
        lora.base_model.get_or_insert_with(|| student.display().to_string());
    }
    config.max_tokens = flags.max_tokens.unwrap_or(config.max_tokens);
    config.calibration.texts = flags.calibration_texts.unwrap_or(config.calibration.texts);
    config.heads_only |= flags.heads_only;
    config.half_precision |= flags.half;
    config.trainer.accumulate = flags.accumulate.unwrap_or(config.trainer.accumulate);
    if flags.gradient_checkpointing {
        config.trainer.gradient_checkpointing = Some(true);
    }
    Ok(config)
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    program::check_out(&flags.out, FolderContent::Distillation)?;
    check_cache(flags)?;
    interrupt::install()?;
    let device = device::open(&flags.device)?;
    let open = |folder: &Option<PathBuf>, files, dtype| -> Result<TextModel, Box<dyn Error>> {
        let options = (&device.device, dtype);
        Ok(match folder {
            Some(folder) => TextModel::open(program::trained_model_folder(folder)?, options)?,
            None => TextModel::from_files("the embedded model", files, options)?,
        })
    };
    let student = open(&flags.student, TRANSLATION.student, FloatFormat::F32)?.with_help_token("teacher")?;
    let has_teacher = flags.teacher.is_some() || flags.teacher_cache.is_none();
    let teacher = has_teacher.then(|| open(&flags.teacher, TRANSLATION.teacher, flags.teacher_dtype)).transpose()?;
    for (flag, is_absent) in [
        ("--teacher", has_teacher && flags.teacher.is_none()),
        ("--student", flags.student.is_none()),
        ("--data", flags.data.is_none()),
    ] {
        if is_absent {
            log::info!("no {flag}: the embedded one is used (English to Italian)");
        }
    }
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "the sample")?;
    let train: TrainingData<'_> = match &flags.data {
        Some(path) => flags.fields.stream(path, "tokenising")?.into(),
        None => (&sample).into(),
    };
    let valid = flags.valid.as_ref().map_or(Ok(sample.clone()), |path| flags.fields.open(path))?;

    let config = configuration(flags)?;
    let (steps, levels) = (config.trainer.steps, config.rollout.constraint.levels.clone());
    let progress = RefCell::new(progress::Progress::new(flags.dashboard, steps, "chrF")?);
    let bar = calibration_bar::new(config.calibration.rates.len())?;
    let distillation = match (&teacher, &flags.teacher_cache) {
        (Some(teacher), None) => Distillation::new(student, teacher),
        (Some(teacher), Some(cache)) => Distillation::new(student, teacher).cache(cache),
        (None, cache) => Distillation::from_cache(student, cache.clone().unwrap_or_default()),
    };
    let distillation = flags.method.into_iter().fold(distillation.config(config), Distillation::method);
    if flags.plan {
        println!("{}", distillation.plan(train, &flags.out)?);
        program::remove_if_empty(&flags.out);
        return Ok(());
    }
    let mut work_bar = work_bar::WorkBar::default();
    let (mut command, mut header) = (Some(program::save_command), Some(budget_table::print_header));
    let distillation = distillation
        .on_step(|report| {
            // The run has passed its checks, so that no other command is replaced.
            if let Some(Err(error)) = command.take().map(|save| save(&flags.out)) {
                log::warn!("command.txt is not written: {}", training_wheels::report(&error));
            }
            interrupt::enter(interrupt::Phase::Training);
            if interrupt::stops() { ControlFlow::Break(()) } else { progress.borrow_mut().show(report) }
        })
        .on_trial(|trial| {
            interrupt::enter(interrupt::Phase::Calibration);
            progress.borrow().finish();
            calibration_bar::show(&bar, trial, |line| eprintln!("{line}"));
        })
        .on_progress(|progress| work_bar.show(progress))
        .on_report(|row| {
            program::console::print(|| {
                header.take().into_iter().for_each(|print| print());
                budget_table::print_row(row);
            });
        });
    let (outcome, budgets, can_ask) = if has_teacher {
        let distilled = distillation.run(train, &valid, &flags.out)?;
        (distilled.outcome, distilled.budgets, false)
    } else {
        let trained = distillation.train(train, &valid, &flags.out)?;
        (trained.outcome, vec![], trained.student.model.has_heads())
    };

    progress.borrow().finish();
    curves::draw(&flags.out.join("metrics.jsonl"), &flags.out.join("curves.svg"), &levels)?;
    if interrupt::stops() && budgets.is_empty() {
        interrupt::end(&flags.out, outcome.steps, steps);
    }
    if let Some((step, score)) = outcome.best {
        eprintln!("the best validation was that of step {step}, with chrF {score:.2}");
    }
    let out = flags.out.display();
    eprintln!("the model is in {out}");
    if can_ask {
        eprintln!("it is not calibrated yet: calibrate --student {out} --teacher DIR --data FILE");
    }
    Ok(())
}
