//! Measures decoders on a data set: quality against help, teacher calls and latency.
//!
//!     cargo run --release --example evaluate
//!     cargo run --release --example evaluate -- --task summary --devices cpu,wgpu:cpu --limit 20
//!
//! `--out` gets results.json, table.csv, table.md, the figures as SVG and PNG, and report.html, a page with the figures
//! and all texts. Decoded texts are kept there too. If a run was killed, the same command goes on, and a command with
//! more decoders or budgets adds them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cache;
mod figures;
#[path = "../support/font.rs"]
mod font;
mod measure;
#[path = "../support/program.rs"]
mod program;
mod progress;
mod report;
mod suite;
mod systems;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgAction::Set;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use training_wheels::eval::statistics::spearman;
use training_wheels::eval::{CallCost, PairCost, Results};
use training_wheels::prelude::*;
use training_wheels::text::{BudgetPlacement, write_atomically};
use wheels_embedded::{EmbeddedPair, SUMMARY, TRANSLATION};

use cache::Settings;
use measure::DeviceRuns;
use progress::Progress;
use suite::{Case, Suite};
use systems::System;

/// Measures decoders on a data set. If a flag is given twice, the last one counts.
#[derive(Parser)]
#[command(args_override_self = true, after_help = systems::DESCRIPTIONS)]
struct Flags {
    /// Decoders, see below. The student alone and the teacher alone are always measured.
    #[arg(long, action = Set, value_delimiter = ',', default_value = "calibrated,random,verify:1,draft:4,adaptive:4")]
    decoders: Vec<System>,
    /// Budgets, percent of the tokens.
    #[arg(long, action = Set, value_delimiter = ',', default_values_t = [5, 10, 20, 30, 50],
        value_parser = clap::value_parser!(u8).range(1..100))]
    budgets: Vec<u8>,
    /// The task of the embedded models and texts.
    #[arg(long, value_enum, default_value = "translation")]
    task: Task,
    /// The data: JSON lines, a JSON list, CSV or TSV. The embedded sample if absent.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    fields: program::DataFlags,
    /// The data on which thresholds are found.
    #[arg(long)]
    valid: Option<PathBuf>,
    /// The number of validation texts to use.
    #[arg(long, default_value_t = 300)]
    valid_texts: usize,
    /// Use only this many texts of the data, from the start.
    #[arg(long)]
    limit: Option<usize>,
    /// The folder of your own student, in place of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// The folder of your own teacher.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
    /// State this budget in all prompts, such as "20%" or "3 tokens", instead of the real one. The student's thresholds
    /// then move by the difference of its learned prices.
    #[arg(long, value_name = "BUDGET")]
    stated_budget: Option<HelpBudget>,
    /// The index of the wording that states budgets. 7 is the one that no student was trained with.
    #[arg(long, value_name = "N",
        value_parser = RangedU64ValueParser::<usize>::new().range(..HelpBudget::WORDINGS as u64))]
    wording: Option<usize>,
    /// Devices to compare: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ... The figures show the first one.
    #[arg(long, action = Set, value_delimiter = ',', default_value = "auto")]
    devices: Vec<DeviceSpec>,
    /// The score in the figures. BLEU for translation and ROUGE-L for summaries if absent.
    #[arg(long, value_enum)]
    metric: Option<Metric>,
    /// The number of texts that are decoded together.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    batch: usize,
    /// Seed of random help.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The number of texts in report.html.
    #[arg(long, default_value_t = 200)]
    browse: usize,
    /// The folder of the results.
    #[arg(long, default_value = "evaluation")]
    out: PathBuf,
    /// Print one JSON object per row in place of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Task {
    /// English to Italian.
    Translation,
    /// Package descriptions to one line.
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

/// The number of texts at whose tokens the log-odds of asking are compared with the divergence from the teacher.
const SAMPLED_TEXTS: usize = 200;
/// The budget that the prompts of these texts have, percent.
const SAMPLED_PERCENT: u8 = 20;

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let job = Job::new(flags)?;
    let progress = Progress::new(job.texts_to_decode());
    let mut devices: Vec<DeviceRuns> = Vec::new();
    for spec in &flags.devices {
        let runs = job.run_on(spec, devices.first(), &progress)?;
        devices.push(runs);
    }
    progress.finish();

    let (mut points, mut costs) = (Vec::new(), BTreeMap::new());
    for on in &devices {
        points.extend(measure::measurements(&job.plan, on, &job.data)?);
        costs.insert(on.device.clone(), on.cost);
    }
    let results = Results {
        command: std::iter::once("evaluate".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" "),
        texts: job.data.len(),
        costs,
        points,
        devices: measure::agreements(&devices),
        log_odds: devices[0].log_odds.clone(),
    };
    job.save(&results, &devices[0])?;
    print(flags, &results)
}

/// What is to be evaluated.
struct Job<'a> {
    flags: &'a Flags,
    /// The folders of the student and of the teacher. None for the embedded models.
    folders: Option<[PathBuf; 2]>,
    data: Dataset,
    /// Texts to find thresholds on.
    valid: Option<Dataset>,
    settings: Settings,
    plan: Vec<Case>,
}

impl<'a> Job<'a> {
    /// # Errors
    /// If there are no texts, or no texts to find a threshold on.
    fn new(flags: &'a Flags) -> Result<Self, Box<dyn Error>> {
        let data = match &flags.data {
            Some(path) => flags.fields.open(path)?,
            None => Dataset::from_reader(flags.task.embedded().sample.as_bytes(), "the embedded sample")?,
        };
        let data = data.take(flags.limit.unwrap_or(usize::MAX));
        if data.is_empty() {
            return Err("there are no texts to evaluate on: --limit is 0".into());
        }
        let valid = match &flags.valid {
            Some(path) => Some(flags.fields.open(path)?.shuffled(Seed(1)).take(flags.valid_texts.max(1))),
            None => None,
        };
        let plan = suite::plan(&flags.decoders, &flags.budgets);
        // Without this check, a long run could end in the middle.
        let searches = plan.iter().find(|case| case.system.max_trials() > 0);
        if let (Some(case), None) = (searches, &valid) {
            return Err(suite::needs_validation(case.system).into());
        }
        let name = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => format!("the embedded {}", flags.task.name()),
        };
        let folders = match flags.student.as_ref().zip(flags.teacher.as_ref()) {
            Some((student, teacher)) => Some([program::model_folder(student)?, program::model_folder(teacher)?]),
            None => None,
        };
        let settings = Settings {
            student: name(&flags.student),
            teacher: name(&flags.teacher),
            models: folders.as_ref().map(|folders| cache::hash_folders(folders)).transpose()?,
            data: name(&flags.data),
            source_field: flags.fields.source_field.clone(),
            target_field: flags.fields.target_field.clone(),
            texts: data.len(),
            valid: flags.valid.clone(),
            valid_texts: flags.valid_texts,
            batch: flags.batch,
            seed: flags.seed,
            stated_budget: flags.stated_budget,
            wording: flags.wording,
        };
        Ok(Self { flags, folders, data, valid, settings, plan })
    }

    /// The largest number of texts that can be decoded, on all devices together.
    fn texts_to_decode(&self) -> usize {
        let valid_texts = self.valid.as_ref().map_or(0, Dataset::len);
        let searched: usize = self.plan.iter().map(|case| case.system.max_trials() * valid_texts).sum();
        searched + self.flags.devices.len() * self.plan.len() * self.data.len()
    }

    /// Decodes and times everything on one device that is not in the folder yet.
    fn run_on(
        &self,
        spec: &DeviceSpec,
        first: Option<&DeviceRuns>,
        progress: &Progress,
    ) -> Result<DeviceRuns, Box<dyn Error>> {
        let accelerator = device::open(spec)?;
        let pair = self.open_pair(&accelerator.device)?;
        let policy = self.policy(&pair)?;
        self.settings.open_folder(&self.flags.out)?;
        let device = accelerator.adapter.spec.to_string();
        let folder = self.flags.out.join("outputs").join(device.replace(':', "-"));
        let evaluation = |dataset| Evaluation::new(dataset, &pair.student.tokenizer, &pair.student.template);
        let suite = Suite {
            plan: &self.plan,
            pair: &pair,
            policy,
            evaluation: evaluation(&self.data),
            valid: self.valid.as_ref().map(|valid| (evaluation(valid), valid.len())),
            settings: &self.settings,
            folder: folder.clone(),
            first: first.map(|on| on.runs.as_slice()),
        };
        let runs = suite.run(progress)?;
        progress.say("log-odds of asking".into());
        let log_odds = match first {
            Some(_) => vec![],
            None => cache::read_or_make(&folder.join("log-odds.json"), || self.log_odds(&pair))?,
        };
        progress.say("cost of model calls".into());
        let cost = cache::read_or_make(&folder.join("costs.json"), || {
            let prompt = pair.teacher.tokenizer.encode_prompt(&self.data.examples()[0].source)?;
            let [student, teacher] = [&pair.student, &pair.teacher].map(|side| CallCost::measure(&side.model, &prompt));
            Ok(PairCost { student, teacher })
        })?;
        Ok(DeviceRuns { device, runs, cost, log_odds, tokenizer: pair.student.tokenizer.clone() })
    }

    fn open_pair(&self, device: &burn::tensor::Device) -> Result<Pair, Box<dyn Error>> {
        let Flags { wording, task, .. } = self.flags;
        let embedded = task.embedded();
        let mut pair = match &self.folders {
            Some([student, teacher]) => Pair::open(student, teacher, device)?,
            None => Pair::from_files(embedded.student, embedded.teacher, device)?,
        };
        let template = &mut pair.student.template;
        template.wording = wording.unwrap_or(template.wording);
        Ok(pair)
    }

    /// The calibrated policy of the student.
    fn policy<'p>(&self, pair: &'p Pair) -> Result<Policy<'p>, Box<dyn Error>> {
        let Flags { stated_budget, wording, .. } = self.flags;
        let policy = match stated_budget {
            Some(stated) => pair.policy_with_stated_budget(*stated)?,
            None => pair.policy(),
        };
        let unstated = pair.student.template.budget == BudgetPlacement::None;
        if unstated && (stated_budget.is_some() || wording.is_some()) {
            return Err("the prompts of this student state no budget (prompt.json has \"budget\": \"none\"), so \
                        --stated-budget and --wording have no effect: leave them out, or distil the student"
                .into());
        }
        Ok(policy)
    }

    /// The student's log-odds of asking and its divergence from the teacher, at the tokens of some of its texts.
    fn log_odds(&self, pair: &Pair) -> Result<Vec<[f64; 2]>, Box<dyn Error>> {
        let texts = self.data.clone().take(SAMPLED_TEXTS);
        let samples = pair.ask_samples(&texts, HelpBudget::percent(SAMPLED_PERCENT))?;
        Ok(samples.iter().map(|sample| [sample.log_odds, sample.divergence]).collect())
    }

    /// Writes the results, the tables, the figures and the page.
    fn save(&self, results: &Results, first: &DeviceRuns) -> Result<(), Box<dyn Error>> {
        let Self { flags, data, plan, .. } = self;
        let metric = flags.metric.unwrap_or(flags.task.metric());
        let mut drawn = Vec::new();
        for figure in figures::figures(results, &first.device, metric) {
            drawn.push(figure.save(&flags.out)?);
        }
        let texts = report::texts(plan, first, data, flags.browse)?;
        write_atomically(flags.out.join("results.json"), results.to_json())?;
        write_atomically(flags.out.join("table.csv"), results.to_csv())?;
        write_atomically(flags.out.join("table.md"), results.to_markdown())?;
        write_atomically(flags.out.join("report.html"), report::page(results, drawn, &texts)?)?;
        Ok(())
    }
}

/// Prints the table, or a JSON object for each of its rows.
fn print(flags: &Flags, results: &Results) -> Result<(), Box<dyn Error>> {
    if flags.json {
        for point in &results.points {
            println!("{}", serde_json::to_string(point)?);
        }
    } else {
        println!("{}", results.to_markdown());
        if !results.log_odds.is_empty() {
            let (log_odds, divergences): (Vec<f64>, Vec<f64>) = results.log_odds.iter().map(|&[z, d]| (z, d)).unzip();
            println!(
                "Spearman's correlation of the log-odds of asking and the divergence from the teacher, at a budget of \
                 {SAMPLED_PERCENT}%: {:.2}",
                spearman(&log_odds, &divergences)
            );
        }
    }
    eprintln!("the figures and report.html are in {}", flags.out.display());
    Ok(())
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::Summary => "summary",
        }
    }

    fn embedded(self) -> EmbeddedPair {
        match self {
            Self::Translation => TRANSLATION,
            Self::Summary => SUMMARY,
        }
    }

    fn metric(self) -> Metric {
        match self {
            Self::Translation => Metric::Bleu,
            Self::Summary => Metric::RougeL,
        }
    }
}
