//! Trains a student to write like its teacher, and to ask it for help within a budget.
//!
//!     cargo run --release --example distill -- --teacher DIR --student DIR --data FILE --valid FILE --out DIR
//!
//! Without flags it trains the embedded student on the embedded sample, a smoke test of a minute. The same command
//! resumes a run that was killed. `curves.svg` in the folder of the run shows the losses, the prices, and the help used
//! for each budget.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/calibration_bar.rs"]
mod calibration_bar;
#[path = "support/curves.rs"]
mod curves;
#[path = "support/program.rs"]
mod program;
#[path = "support/progress.rs"]
mod progress;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use burn::config::Config;
use clap::Parser;
use training_wheels::prelude::*;
use training_wheels::{Method, TrainingData};
use wheels_embedded::TRANSLATION;

/// Distils a teacher into a student that asks it for help.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Flags {
    /// The folder of the teacher, or a model of the hub (owner/name). If absent: the embedded teacher.
    #[arg(long)]
    teacher: Option<PathBuf>,
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
    /// The folder for the checkpoints and the trained student.
    #[arg(long, default_value = "distilled")]
    out: PathBuf,
    /// The method: supervised, forward-kl, sequence, gkd, gkd:BETA, path, all-action or constrained. If absent:
    /// constrained, with the mixture of texts in --config.
    #[arg(long)]
    method: Option<Method>,
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
    /// Save the weights in half precision.
    #[arg(long)]
    half: bool,
    /// Show burn-train's dashboard instead of a progress bar. The build needs the feature `dashboard`.
    #[arg(long)]
    dashboard: bool,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let device = device::open(&flags.device)?;
    let open = |folder: &Option<PathBuf>, files| match folder {
        Some(folder) => program::model_folder(folder).and_then(|folder| Ok(TextModel::open(folder, &device.device)?)),
        None => Ok(TextModel::from_files("the embedded model", files, &device.device)?),
    };
    let student = open(&flags.student, TRANSLATION.student)?.with_help_token("teacher")?;
    let teacher = open(&flags.teacher, TRANSLATION.teacher)?;
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "the sample")?;
    let train: TrainingData<'_> = match &flags.data {
        Some(path) => flags.fields.stream(path)?.into(),
        None => (&sample).into(),
    };
    let valid = flags.valid.as_ref().map_or(Ok(sample.clone()), |path| flags.fields.open(path))?;

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
    config.heads_only |= flags.heads_only;
    config.half_precision |= flags.half;
    program::save_command(&flags.out, "Give this command again, and the run goes on where it stopped.")?;
    let (steps, levels) = (config.trainer.steps, config.rollout.constraint.levels.clone());
    let mut progress = progress::Progress::new(flags.dashboard, steps, "chrF")?;
    let bar = calibration_bar::new(config.calibration.rates.len())?;
    let distillation = Distillation::new(student, &teacher).config(config);
    let distillation = flags.method.into_iter().fold(distillation, Distillation::method);
    let distilled = distillation
        .on_step(|report| progress.show(report))
        .on_trial(|trial| calibration_bar::show(&bar, trial, |line| eprintln!("{line}")))
        .run(train, &valid, &flags.out)?;

    if let Some((step, score)) = distilled.outcome.best {
        eprintln!("the best validation was that of step {step}, with chrF {score:.2}");
    }
    curves::draw(&flags.out.join("metrics.jsonl"), &flags.out.join("curves.svg"), &levels)?;
    if !distilled.budgets.is_empty() {
        println!("Validation texts, budgets not enforced. V_C: predicted help; z: log-odds of asking; D: divergence");
        println!("budget  price   used  uncalibrated  chrF  error of V_C  r(V_C, used)  rho(z, D)");
    }
    for row in &distilled.budgets {
        print!("{:>5}% {:>6.2} {:>5.1}% ", row.budget, row.price.unwrap_or(f64::NAN), row.used);
        print!("{:>12.1}% {:>5.1} {:>13.2} ", row.used_uncalibrated, row.chrf, row.forecast_error);
        println!("{:>13.2} {:>10.2}", row.forecast_correlation, row.ask_correlation);
    }
    eprintln!("the model is in {}", flags.out.display());
    Ok(())
}
