//! Measures decoders on a data set: quality against help, teacher calls and latency, with tables, figures and a page to browse.
//!
//!     cargo run --release --example evaluate
//!     cargo run --release --example evaluate -- --task summary --devices cpu,wgpu:cpu --limit 20
//!
//! `--out` gets results.json, table.csv, table.md, report.html, and the figures as SVG and PNG. What is decoded is kept there,
//! too: killed at any moment, the same command goes on, and one with more decoders or budgets adds them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod figures;
#[path = "../support/font.rs"]
mod font;
#[path = "../support/program.rs"]
mod program;
mod report;
mod run;
mod systems;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::distill::{Pair, Practice, PracticeConfig};
use training_wheels::embedded;
use training_wheels::eval::{
    Agreement, CallCost, Evaluation, Judged, PairCost, Point, Results, Sweep, differing, help_by_kind,
    help_by_position, spearman,
};
use training_wheels::prelude::*;
use training_wheels::text::{BudgetPlace, Dataset, write_atomically};

use run::{Measured, Outcomes, Run, Settings};
use systems::System;

/// Measures decoders on a data set. Of a flag that is given twice, the last counts.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Flags {
    /// Decoders: learned, as-trained, ledger, random, max-prob, margin, entropy, oracle, bild:NATS, rollback:NATS,
    /// hindsight:NATS, draft:TOKENS, adaptive:TOKENS. The student and the teacher alone are always among them.
    #[arg(long, value_delimiter = ',', default_value = "learned,random,hindsight:1,draft:4,adaptive:4")]
    decoders: Vec<System>,
    /// Budgets, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [5, 10, 20, 30, 50],
        value_parser = clap::value_parser!(u8).range(1..100))]
    budgets: Vec<u8>,
    /// The task of the embedded models and sample.
    #[arg(long, value_enum, default_value = "translation")]
    task: Task,
    /// JSON lines with `source` and `target`; the embedded sample where this is absent.
    #[arg(long)]
    data: Option<PathBuf>,
    /// JSON lines on which thresholds are found; max-prob, margin, entropy, oracle and bild need them.
    #[arg(long)]
    valid: Option<PathBuf>,
    /// How many of those are used.
    #[arg(long, default_value_t = 300)]
    valid_texts: usize,
    /// Only the first texts of the data, for a quick look.
    #[arg(long)]
    limit: Option<usize>,
    /// A student's folder, in place of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// A teacher's folder, in place of the embedded one.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
    /// Devices to compare; figures and times of texts are the first one's.
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    devices: Vec<DeviceSpec>,
    /// The score of the figures; BLEU for translation and ROUGE-L for summaries where this is absent.
    #[arg(long, value_enum)]
    metric: Option<Metric>,
    /// Texts at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    batch: usize,
    /// Seed of random asking.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Texts that the page shows.
    #[arg(long, default_value_t = 200)]
    browse: usize,
    /// The folder of the results.
    #[arg(long, default_value = "evaluation")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Task {
    /// English to Italian.
    Translation,
    /// Descriptions to one line.
    Summary,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Metric {
    /// BLEU.
    Bleu,
    /// chrF.
    Chrf,
    /// ROUGE-L.
    RougeL,
}

/// Texts whose tokens tell how asking goes with the distance to the teacher, and how many of them are read at once.
const SURVEYED: usize = 200;
const AT_ONCE: usize = 50;

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let embedded = match flags.task {
        Task::Translation => embedded::TRANSLATION,
        Task::Summary => embedded::SUMMARY,
    };
    let data = flags.data.as_ref().map_or_else(|| Ok(embedded.sample()), Dataset::from_jsonl)?;
    let data = data.take(flags.limit.unwrap_or(usize::MAX));
    if data.is_empty() {
        return Err("there is no text to evaluate on".into());
    }
    let valid = flags.valid.as_ref().map(Dataset::from_jsonl).transpose()?;
    let valid = valid.map(|valid| valid.shuffled(Seed(1)).take(flags.valid_texts));
    let name = |path: &Option<PathBuf>| {
        path.as_ref().map_or_else(|| format!("the embedded {}", flags.task.name()), |path| path.display().to_string())
    };
    let settings = Settings {
        student: name(&flags.student),
        teacher: name(&flags.teacher),
        data: name(&flags.data),
        texts: data.len(),
        valid: flags.valid.clone(),
        valid_texts: flags.valid_texts,
        batch: flags.batch,
        seed: flags.seed,
    };
    run::start(&flags.out, &settings)?;

    let mut plan = vec![(System::Student, 0), (System::Teacher, 100)];
    for &system in &flags.decoders {
        let budgets = if system.has_budget() { flags.budgets.as_slice() } else { &[100] };
        plan.extend(budgets.iter().map(|&budget| (system, budget)));
    }
    let bar = ProgressBar::new((plan.len() * flags.devices.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}<{eta}")?);

    let mut found: Vec<(String, Outcomes)> = Vec::new();
    let mut costs = BTreeMap::new();
    let mut log_odds = Vec::new();
    let mut tokenizer = None;
    for spec in &flags.devices {
        let accelerator = device::open(spec)?;
        let folders = flags.student.as_deref().zip(flags.teacher.as_deref());
        let models = Models::open(folders, &embedded, &accelerator.device)?;
        let device = accelerator.adapter.spec.to_string();
        let folder = flags.out.join("outcomes").join(device.replace(':', "-"));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let evaluation = |data| Evaluation::new(data, &models.student.tokenizer, &models.student.format);
        let valid = valid.as_ref().map(evaluation);
        let run = Run {
            models: &models,
            evaluation: &evaluation(&data),
            valid: valid.as_ref(),
            settings: &settings,
            folder,
            first: found.first().map(|(_, outcomes)| outcomes),
        };
        let outcomes = run.measure(&plan, &bar)?;
        if found.is_empty() {
            bar.set_message("log-odds of asking");
            log_odds = run::kept(&run.folder.join("log-odds.json"), || survey(&models, &data))?;
        }
        let cost = run::kept(&run.folder.join("costs.json"), || {
            let prompt = models.teacher.tokenizer.encode_with_end(&data.examples()[0].source)?;
            Ok(PairCost {
                student: CallCost::measure(&models.student.model, &prompt),
                teacher: CallCost::measure(&models.teacher.model, &prompt),
            })
        })?;
        costs.insert(device.clone(), cost);
        found.push((device, outcomes));
        tokenizer = Some(models.student.tokenizer);
    }
    bar.finish_and_clear();

    let tokenizer = tokenizer.expect("clap gives at least one device");
    let mut points = Vec::new();
    for (device, outcomes) in &found {
        points.extend(measure(device, &plan, outcomes, &data, &tokenizer, costs[device])?);
    }
    let devices = agreements(&found, plan.len() * data.len());
    let command = std::iter::once("evaluate".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
    let results = Results { command, texts: data.len(), costs, points, devices, log_odds };
    save(flags, &results, &data, &found[0], &tokenizer)
}

/// How far each device agrees with the first one, over so many texts.
fn agreements(found: &[(String, Outcomes)], texts: usize) -> Vec<Agreement> {
    let (first, outcomes) = &found[0];
    let agree = |(device, others): &(String, Outcomes)| Agreement {
        device: device.clone(),
        with: first.clone(),
        texts: texts as u64,
        differing: others.iter().map(|(key, other)| differing(&other.outcome, &outcomes[key].outcome)).sum(),
    };
    found[1..].iter().map(agree).collect()
}

/// Writes results, tables, figures and the page, and prints the table.
fn save(
    flags: &Flags,
    results: &Results,
    data: &Dataset,
    (first, outcomes): &(String, Outcomes),
    tokenizer: &Tokenizer,
) -> Result<(), Box<dyn Error>> {
    let metric = flags.metric.unwrap_or(if flags.task == Task::Summary { Metric::RougeL } else { Metric::Bleu });
    let drawn = figures::figures(results, first, metric);
    let drawn = drawn.iter().map(|figure| figure.save(&flags.out)).collect::<Result<Vec<_>, _>>()?;
    let page = report::page(results, drawn, data, outcomes, tokenizer, flags.browse)?;
    write_atomically(flags.out.join("results.json"), serde_json::to_string(results)?)?;
    write_atomically(flags.out.join("table.csv"), results.to_csv())?;
    write_atomically(flags.out.join("table.md"), results.to_markdown())?;
    write_atomically(flags.out.join("report.html"), page)?;
    println!("{}", results.to_markdown());
    if !results.log_odds.is_empty() {
        let (odds, distances): (Vec<f64>, Vec<f64>) = results.log_odds.iter().map(|&[z, d]| (z, d)).unzip();
        println!("Spearman's rho of the log-odds of asking and D, at 20%: {:.2}", spearman(&odds, &distances));
    }
    eprintln!("{} holds the figures and report.html", flags.out.display());
    Ok(())
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::Summary => "summary",
        }
    }
}

/// The points of one device, in the order of the plan.
fn measure(
    device: &str,
    plan: &[(System, u8)],
    outcomes: &Outcomes,
    data: &Dataset,
    tokenizer: &Tokenizer,
    cost: PairCost,
) -> Result<Vec<Point>, Box<dyn Error>> {
    let key = |system: System, percent| (system.to_string(), percent);
    let references = data.iter().map(|example| example.target.as_str());
    let judge = |measured: &Measured| Judged::new(measured.outcome.texts(), references.clone());
    let judged: BTreeMap<_, Judged> = outcomes.iter().map(|(key, measured)| (key.clone(), judge(measured))).collect();
    let (alone, unaided) = (key(System::Teacher, 100), key(System::Student, 0));
    let teacher = &outcomes[&alone].outcome;
    let sweep = Sweep { student: &judged[&unaided], teacher: &judged[&alone], teacher_outcome: teacher };
    let pace = |stats: &training_wheels::decode::DecodeStats| stats.elapsed.as_secs_f64() / stats.tokens.max(1) as f64;
    let point = |&(system, percent): &(System, u8)| {
        let measured = &outcomes[&key(system, percent)];
        let (outcome, mine) = (&measured.outcome, &judged[&key(system, percent)]);
        let over = |other: System| {
            let other = judged.get(&key(other, percent)).filter(|_| system != other && system.has_budget());
            other.map(|other| mine.over(other))
        };
        let mut row = sweep.row(&system.to_string(), f64::from(percent) / 100.0, outcome, mine);
        row.over_random = over(System::Random);
        Ok(Point {
            device: device.into(),
            row,
            intervals: mine.intervals(),
            over_max_prob: over(System::Confidence(Measure::MaxProb)),
            threshold: measured.threshold,
            asked_rate: outcome.stats.asked_rate(),
            latency: pace(&outcome.stats) / pace(&teacher.stats),
            latency_modelled: cost.latency(&outcome.stats),
            by_position: help_by_position(outcome),
            by_kind: help_by_kind(outcome, tokenizer)?,
        })
    };
    plan.iter().map(point).collect()
}

/// The student's log-odds of asking beside its distance to the teacher, at the tokens of some of its texts at 20%.
fn survey(models: &Models, data: &Dataset) -> Result<Vec<[f64; 2]>, Box<dyn Error>> {
    let Bundle { model, tokenizer, format, .. } = &models.student;
    if !model.has_heads() {
        return Ok(vec![]);
    }
    let format = PromptFormat { budget: BudgetPlace::Before, ..format.clone() };
    let data = data.clone().take(SURVEYED);
    let pair = |text: &training_wheels::text::Example| {
        Ok(Pair { source: tokenizer.encode_with_end(&text.source)?, target: tokenizer.encode_with_end(&text.target)? })
    };
    let pairs = data.iter().map(pair).collect::<Result<Vec<_>, training_wheels::Error>>()?;
    let prompt = |index: usize, budget, wording| {
        PromptFormat { wording, ..format.clone() }.prompt(tokenizer, &data.examples()[index].source, budget)
    };
    let longest = pairs.iter().map(|pair| pair.source.len() + pair.target.len()).max().unwrap_or(0);
    let config =
        PracticeConfig::new(1).with_batch_tokens(longest).with_no_repeat_ngram_size(format.no_repeat_ngram_size);
    let exam = Practice::new(config, &pairs, &prompt, &models.teacher.model, models.help, tokenizer.unwritten_ids())?;
    let texts: Vec<u32> = (0..pairs.len() as u32).collect();
    let mut read = Vec::new();
    for texts in texts.chunks(AT_ONCE) {
        let readings = exam.survey(model, texts, HelpBudget::percent(20), format.wording)?;
        read.extend(readings.iter().map(|reading| [reading.log_odds, reading.distance]));
    }
    Ok(read)
}
