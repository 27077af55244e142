//! `wheels distill`: a student that writes like its teacher, and asks it for help within a budget.

use std::cell::RefCell;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use training_wheels::distill::MemoryPlan;
use training_wheels::prelude::*;
use training_wheels::{Method, TrainingData};
use wheels_distill::FolderContent;
use wheels_embedded::TRANSLATION;

use super::Outcome;
use crate::command_line::App;
use crate::flags::{DataFlags, at_least_1};
use crate::run::{self, curves, interrupt};
use crate::screen::calibration_bar::CalibrationBar;
use crate::screen::work_bar::WorkBar;
use crate::screen::{budget_table, console, training};
use crate::settings::{self, SettingsError};

const EXAMPLES: &str = "\
Examples:
  wheels distill --teacher T --student S --data train.jsonl --valid valid.jsonl --out distilled
  wheels distill --teacher T --student S --data train.jsonl --valid valid.jsonl --lora 16
  wheels distill --config distilled/run.toml --steps 4000
  wheels distill --out tried --set trainer.learning_rate=3e-4

The third one goes on with a run, here to more steps. Without models and data, the sample models are trained on the sample
texts: a smoke test of a minute.";

/// Distils a teacher into a student that asks it for help.
///
/// The same command again goes on with a run that was stopped. Ctrl-C stops a run after its step, with a checkpoint.
///
/// The folder of the run has its checkpoints, metrics.jsonl (a line for each step), curves.svg (losses, prices, help used),
/// budgets.json, distillation.json (all settings), run.toml (this command) and the trained student.
#[derive(clap::Args)]
#[command(args_override_self = true,
    after_help = format!("{EXAMPLES}\n\n{}\n\n{}", training::TERMS, budget_table::TERMS))]
pub(crate) struct Flags {
    /// The teacher: a folder or a model of the hub. If absent: the embedded teacher, or none with --teacher-cache.
    #[arg(long, value_name = "MODEL", help_heading = "Models")]
    teacher: Option<PathBuf>,
    /// The folder of a teacher's cache (`wheels cache-teacher`), from which the student learns without the teacher. With
    /// --teacher as well, it is calibrated at the end.
    #[arg(long, value_name = "DIR", help_heading = "Models")]
    teacher_cache: Option<PathBuf>,
    /// The student to start from, which gets a help token if it has none. If absent: the embedded one.
    #[arg(long, value_name = "MODEL", help_heading = "Models")]
    student: Option<PathBuf>,
    /// The data to train on: JSON lines, a JSON list, CSV or TSV, of any size. If absent: the embedded sample.
    #[arg(long, value_name = "FILE", requires = "valid", help_heading = "Data")]
    data: Option<PathBuf>,
    /// The data to validate and to calibrate on. If absent: the embedded sample.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    valid: Option<PathBuf>,
    #[command(flatten)]
    fields: DataFlags,
    /// The largest number of tokens on either side of a pair. Longer pairs are left out. If absent: as --settings, or else
    /// 128.
    #[arg(long, value_name = "N", help_heading = "Data")]
    max_tokens: Option<usize>,
    /// The folder of the run. A run that is there goes on.
    #[arg(long, value_name = "DIR", default_value = "distilled", help_heading = "Run")]
    out: PathBuf,
    /// The method: supervised, forward-kl, sequence, gkd, gkd:BETA, path, all-action or constrained. If absent:
    /// constrained, with the mixture of texts in --settings.
    #[arg(long, help_heading = "Run")]
    method: Option<Method>,
    /// The number of optimizer steps. If absent: that of --settings; without it 2000, or 40 on the embedded sample.
    #[arg(long, value_name = "N", help_heading = "Run")]
    steps: Option<usize>,
    /// Train only the heads, which decide when to ask. The tokens that the student writes by itself stay the same. At the end,
    /// the help head is fitted to 50,000 tokens (`help_head.tokens`).
    #[arg(long, help_heading = "Run")]
    heads_only: bool,
    /// Train adapters (LoRA) of this rank, not the weights of --student, and save only them.
    #[arg(long, value_name = "RANK", conflicts_with = "heads_only", help_heading = "Run")]
    lora: Option<usize>,
    /// The number of micro-batches whose gradients each worker adds up before a step.
    #[arg(long, value_name = "N", value_parser = at_least_1(), help_heading = "Run")]
    accumulate: Option<usize>,
    /// Keep only the inputs of blocks in the forward pass, and compute the blocks again in the backward pass. It takes less
    /// memory and more time, and a run that goes on may change it.
    #[arg(long, help_heading = "Run")]
    gradient_checkpointing: bool,
    /// The number of validation texts on which prices of help are found, the student is calibrated, and its budgets are
    /// measured. If absent: as --settings, or else 600 for the prices and 300 for the rest.
    #[arg(long, value_name = "N", value_parser = at_least_1(), help_heading = "Run")]
    calibration_texts: Option<usize>,
    /// Save the weights in half precision.
    #[arg(long, help_heading = "Run")]
    half: bool,
    /// Show burn-train's dashboard instead of a progress bar. The build needs the feature `dashboard`.
    #[arg(long, help_heading = "Run")]
    dashboard: bool,
    /// All other settings, as JSON: the distillation.json of an earlier run. A file for --config has them in its table
    /// `settings`.
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    settings: Option<PathBuf>,
    /// One of the settings, such as trainer.learning_rate=0.0003. It wins over --settings; other flags win over it.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Settings")]
    set: Vec<String>,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto", help_heading = "Hardware")]
    device: DeviceSpec,
    /// The format of the teacher's matrices in memory: f32, with half the memory f16 or bf16, or on CPUs int8.
    #[arg(long, value_name = "FORMAT", default_value_t, help_heading = "Hardware")]
    teacher_dtype: WeightFormat,
}

/// What a run starts from.
struct Start {
    student: TextModel,
    teacher: Option<TextModel>,
    sample: Dataset,
    /// The settings without the flags that stand for some of them. run.toml has both, and so a flag can be turned off.
    settings: DistillationConfig,
    /// The settings with these flags.
    config: DistillationConfig,
}

/// The memory that the run needs.
pub(crate) fn plan(flags: &Flags, app: &App) -> Result<MemoryPlan, Box<dyn Error>> {
    run::check_out(&flags.out, FolderContent::Distillation)?;
    let Start { student, teacher, sample, config, .. } = Start::new(flags, app)?;
    let train = train_data(flags, &sample)?;
    let plan = distillation(flags, student, teacher.as_ref(), config).plan(train, &flags.out)?;
    run::remove_if_empty(&flags.out);
    Ok(plan)
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let _lock = run::FolderLock::new(&flags.out, FolderContent::Distillation)?;
    let Start { student, teacher, sample, settings, config } = Start::new(flags, app)?;
    let train = train_data(flags, &sample)?;
    let valid = flags.valid.as_ref().map_or(Ok(sample.clone()), |path| flags.fields.open(path))?;
    let (steps, levels) = (config.trainer.steps, config.rollout.constraint.levels.clone());

    let display = RefCell::new(training::Progress::new(flags.dashboard, steps, "chrF")?);
    let bar = CalibrationBar::new(config.calibration.rates.len());
    let mut work_bar = WorkBar::default();
    let (mut is_saved, mut has_header) = (false, false);
    // The first error of standard output stops the run after its step.
    let printed = RefCell::new(Ok(()));
    let print = |print: &dyn Fn() -> std::io::Result<()>| {
        let mut printed = printed.borrow_mut();
        if printed.is_ok() {
            *printed = print();
        }
        printed.is_ok()
    };
    let output = app.output;
    let distillation = distillation(flags, student, teacher.as_ref(), config)
        .on_step(|report| {
            // The run has passed its checks, so that the file of no other run is replaced.
            if !std::mem::replace(&mut is_saved, true) {
                app.invocation.save_or_warn(&flags.out, Some(&settings));
            }
            interrupt::enter(interrupt::Phase::Training);
            let goes_on = print(&|| output.json(&json!({ "event": "step", "report": report })));
            if interrupt::stops() || !goes_on { ControlFlow::Break(()) } else { display.borrow_mut().show(report) }
        })
        .on_trial(|trial| {
            interrupt::enter(interrupt::Phase::Calibration);
            display.borrow().finish();
            if let Some(line) = bar.show(trial) {
                console::say(format_args!("{line}"));
            }
        })
        .on_progress(|progress| work_bar.show(progress))
        .on_report(|report| {
            print(&|| {
                if !has_header {
                    output.line(budget_table::header())?;
                }
                output.line(budget_table::row(report))?;
                output.json(&json!({ "event": "budget", "report": report }))
            });
            has_header = true;
        });
    let (outcome, budgets, can_ask) = if teacher.is_some() {
        let distilled = distillation.run(train, &valid, &flags.out)?;
        (distilled.outcome, distilled.budgets, false)
    } else {
        let trained = distillation.train(train, &valid, &flags.out)?;
        (trained.outcome, vec![], trained.student.model.has_heads())
    };

    display.borrow().finish();
    curves::draw(&flags.out.join("metrics.jsonl"), &flags.out.join("curves.svg"), &levels)?;
    if interrupt::stops() && budgets.is_empty() {
        interrupt::end(&flags.out, outcome.steps, steps);
    }
    printed.into_inner()?;
    if let Some((step, score)) = outcome.best {
        console::say(format_args!("the best validation was that of step {step}, with chrF {score:.2}"));
    }
    let out = flags.out.display();
    console::say(format_args!("the model is in {out}"));
    if can_ask {
        console::say(format_args!(
            "it is not calibrated yet: wheels calibrate --student {out} --teacher MODEL --data FILE"
        ));
    }
    output.json(&training::end(&flags.out, &outcome))?;
    Ok(())
}

impl Start {
    /// Opens the models. Wrong settings are found before that.
    fn new(flags: &Flags, app: &App) -> Result<Self, Box<dyn Error>> {
        check_cache(flags)?;
        let settings = read_settings(flags, app)?;
        let config = configuration(flags, settings.clone());
        let device = device::open(&flags.device)?;
        let open = |folder: &Option<PathBuf>, files, dtype| -> Result<TextModel, Box<dyn Error>> {
            let options = (&device.device, dtype);
            Ok(match folder {
                Some(folder) => run::open_model(folder, options)?,
                None => TextModel::from_files("the embedded model", files, options)?,
            })
        };
        let student = open(&flags.student, TRANSLATION.student, WeightFormat::F32)?.with_help_token("teacher")?;
        let has_teacher = flags.teacher.is_some() || flags.teacher_cache.is_none();
        let teacher =
            has_teacher.then(|| open(&flags.teacher, TRANSLATION.teacher, flags.teacher_dtype)).transpose()?;
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
        Ok(Self { student, teacher, sample, settings, config })
    }
}

/// The data to train on: those of `--data`, or the sample.
fn train_data<'d>(flags: &Flags, sample: &'d Dataset) -> Result<TrainingData<'d>, Box<dyn Error>> {
    Ok(match &flags.data {
        Some(path) => flags.fields.stream(path, "tokenising")?.into(),
        None => sample.into(),
    })
}

fn distillation<'t>(
    flags: &Flags,
    student: TextModel,
    teacher: Option<&'t TextModel>,
    config: DistillationConfig,
) -> Distillation<'t> {
    let distillation = match (teacher, &flags.teacher_cache) {
        (Some(teacher), None) => Distillation::new(student, teacher),
        (Some(teacher), Some(cache)) => Distillation::new(student, teacher).cache(cache),
        (None, cache) => Distillation::from_cache(student, cache.clone().unwrap_or_default()),
    };
    flags.method.into_iter().fold(distillation.config(config), Distillation::method)
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

/// The settings: the default, the table of the file for `--config`, `--settings` and `--set`. Later ones win.
fn read_settings(flags: &Flags, app: &App) -> Result<DistillationConfig, Box<dyn Error>> {
    let table = &app.invocation.settings;
    let mut json = serde_json::to_value(DistillationConfig::new())?;
    overlay(&mut json, &serde_json::to_value(table)?, "the table `settings` of --config")?;
    if let Some(path) = &flags.settings {
        let origin = format!("--settings {}", path.display());
        overlay(&mut json, &read_json(path)?, &origin)?;
    }
    for text in &flags.set {
        overlay(&mut json, &settings::assignment(text)?, "--set")?;
    }
    let settings: DistillationConfig = serde_json::from_value(json)
        .map_err(|source| SettingsError::Settings { origin: "the settings do not fit together".into(), source })?;
    let smoke_test = flags.data.is_none() && flags.steps.is_none() && flags.settings.is_none() && table.is_empty();
    Ok(if smoke_test { settings.with_steps(40) } else { settings })
}

/// The settings with the flags that stand for some of them.
fn configuration(flags: &Flags, settings: DistillationConfig) -> DistillationConfig {
    let mut config = flags.steps.into_iter().fold(settings, DistillationConfig::with_steps);
    config.lora = flags.lora.map(LoraConfig::new).or(config.lora);
    if let (Some(lora), Some(student)) = (&mut config.lora, &flags.student) {
        lora.base_model.get_or_insert_with(|| student.display().to_string());
    }
    config.max_tokens = flags.max_tokens.unwrap_or(config.max_tokens);
    if let Some(texts) = flags.calibration_texts {
        (config.prices.texts, config.calibration.texts) = (texts, texts);
    }
    config.heads_only |= flags.heads_only;
    config.half_precision |= flags.half;
    config.trainer.accumulate = flags.accumulate.unwrap_or(config.trainer.accumulate);
    if flags.gradient_checkpointing {
        config.trainer.gradient_checkpointing = Some(true);
    }
    config
}

/// Replaces settings. Those of adapters, which a configuration need not have, are checked against their defaults.
fn overlay(json: &mut Value, fields: &Value, origin: &str) -> Result<(), SettingsError> {
    if json["lora"].is_null() && fields["lora"].is_object() {
        json["lora"] = serde_json::to_value(LoraConfig::new(8)).unwrap_or_default();
    }
    settings::overlay(json, fields, origin)
}

fn read_json(path: &Path) -> Result<Value, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read --settings {path:?}: {error}"))?;
    let origin = format!("--settings {}", path.display());
    Ok(serde_json::from_str(&text).map_err(|source| SettingsError::Settings { origin, source })?)
}
