//! `wheels evaluate`: quality against help, teacher calls and latency.

mod asked;
mod baselines;
mod cache;
mod figures;
mod flags;
mod measure;
mod progress;
mod report;
mod suite;
mod systems;
mod table;
mod timing;
mod token_budgets;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use training_wheels::prelude::*;
use training_wheels::text::BudgetPlacement;
use wheels_distill::FolderContent;
use wheels_eval::{CallCost, PairCost, Results};
use wheels_text::write_atomically;

use asked::Asked;
use cache::Settings;
pub(crate) use flags::Flags;
use measure::DeviceRuns;
use progress::Progress;
use suite::{Case, Suite};
use systems::{SEARCHING, System};

use super::Outcome;
use crate::command_line::App;
use crate::run::{self, interrupt};
use crate::screen::console;

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let _lock = run::FolderLock::new(&flags.folder(), FolderContent::Evaluation)?;
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
        command: std::iter::once("wheels".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" "),
        texts: job.data.len(),
        costs,
        points,
        devices: measure::agreements(&devices),
        log_odds: devices[0].asked.log_odds.clone(),
        regret_caught: devices[0].asked.regret_caught.clone(),
        token_budgets: devices[0].token_budgets.clone(),
        no_repeat_ngram_size: Some(devices[0].no_repeat_ngram_size),
    };
    job.save(&results, &devices[0])?;
    app.invocation.save(&job.out, None)?;
    for point in &results.points {
        app.output.json(point)?;
    }
    app.output.part(table::text(&results, flags.chosen_metric()))?;
    let out = job.out.display();
    console::say(format_args!("all scores are in {out}/table.md, the figures and the texts in {out}/report.html"));
    Ok(())
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
    /// The folder of the results.
    out: PathBuf,
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
        let plan = suite::plan(&flags.decoders, &flags.budgets);
        let valid = validation(flags, &plan)?;
        let name = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => format!("the embedded {}", flags.task.name()),
        };
        let folders = match flags.student.as_ref().zip(flags.teacher.as_ref()) {
            Some((student, teacher)) => {
                Some([run::trained_model_folder(student)?, run::trained_model_folder(teacher)?])
            }
            None => None,
        };
        let settings = Settings {
            student: name(&flags.student),
            teacher: name(&flags.teacher),
            models: folders.as_ref().map(|folders| run::hash_folders(folders)).transpose()?,
            data: name(&flags.data),
            source_field: flags.fields.source_field.clone(),
            target_field: flags.fields.target_field.clone(),
            texts: data.len(),
            valid: valid.as_ref().and(flags.valid.clone()),
            valid_texts: valid.as_ref().map(|_| flags.valid_texts),
            batch: flags.batch,
            help_batch: (flags.batching.help_batch > 1).then_some(flags.batching.help_batch),
            refill: flags.batching.refill,
            seed: flags.seed,
            stated_budget: flags.stated_budget,
            wording: flags.wording,
            dtype: (flags.dtype != WeightFormat::F32).then(|| flags.dtype.to_string()),
        };
        Ok(Self { flags, folders, data, valid, settings, plan, out: flags.folder() })
    }

    /// The largest number of texts that can be decoded, on all devices together.
    fn texts_to_decode(&self) -> usize {
        let valid_texts = self.valid.as_ref().map_or(0, Dataset::len);
        let searched: usize = self.plan.iter().map(|case| case.system.max_trials() * valid_texts).sum();
        let has_random = self.plan.iter().any(|case| case.system == System::Random);
        let compared = self.plan.iter().filter(|case| has_random && baselines::is_compared(**case)).count();
        let token_budgets = token_budgets::DECODERS.len() * self.flags.token_budgets.len() * self.data.len();
        searched + token_budgets + self.flags.devices.len() * (self.plan.len() + compared) * self.data.len()
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
        if self.plan.iter().any(|case| case.system == System::Uncalibrated) || !self.flags.token_budgets.is_empty() {
            pair.check_help_token()?;
        }
        if self.plan.iter().any(|case| case.system.asks_as_calibrated()) {
            pair.check_asks()?;
        }
        self.settings.open_folder(&self.out)?;
        interrupt::enter(interrupt::Phase::Evaluation);
        let device = accelerator.adapter.spec.to_string();
        let folder = self.out.join("outputs").join(device.replace(':', "-"));
        let evaluation = |dataset| Evaluation::new(dataset, &pair.student.tokenizer, &pair.student.template);
        let suite = Suite {
            plan: &self.plan,
            pair: &pair,
            policy,
            evaluation: evaluation(&self.data),
            valid: self.valid.as_ref().map(|valid| (evaluation(valid), valid.len())),
            settings: &self.settings,
            batching: &self.flags.batching,
            folder: folder.clone(),
            first: first.map(|on| on.runs.as_slice()),
        };
        let runs = suite.run(progress)?;
        let baselines = suite.baselines(&runs, progress)?;
        let latencies = suite.latencies(&runs, progress)?;
        progress.say("where the student asks".into());
        let asked = match first {
            Some(_) => Asked::default(),
            None => cache::read_or_make(&folder.join("asked.json"), || Asked::measure(&pair, &self.data))?,
        };
        let token_budgets = match first {
            Some(_) => vec![],
            None => suite.token_budgets(&self.flags.token_budgets, progress)?,
        };
        progress.say("cost of model calls".into());
        let cost = cache::read_or_make(&folder.join("costs.json"), || {
            let mut sources: Vec<&str> = self.data.iter().map(|example| example.source.as_str()).collect();
            sources.sort_by_key(|source| source.len());
            let prompt = pair.teacher.tokenizer.encode_prompt(sources[sources.len() / 2])?;
            let [student, teacher] = [&pair.student, &pair.teacher].map(|side| CallCost::measure(&side.model, &prompt));
            Ok(PairCost { student, teacher })
        })?;
        let no_repeat_ngram_size = pair.student.generation.no_repeat_ngram_size;
        let tokenizer = pair.student.tokenizer.clone();
        Ok(DeviceRuns {
            device,
            runs,
            baselines,
            latencies,
            cost,
            asked,
            token_budgets,
            tokenizer,
            no_repeat_ngram_size,
        })
    }

    fn open_pair(&self, device: &burn::tensor::Device) -> Result<Pair, Box<dyn Error>> {
        let Flags { wording, task, dtype, .. } = self.flags;
        let embedded = task.embedded();
        let mut pair = match &self.folders {
            Some([student, teacher]) => Pair::open(student, teacher, (device, *dtype))?,
            None => Pair::from_files(embedded.student, embedded.teacher, (device, *dtype))?,
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
            return Err(
                "the prompts of this student state no budget (\"none\" in prompt.json), so --stated-budget and \
                        --wording have no effect: leave them out, or distil it"
                    .into(),
            );
        }
        Ok(policy)
    }

    /// Writes the results, the tables, the figures and the page.
    fn save(&self, results: &Results, first: &DeviceRuns) -> Result<(), Box<dyn Error>> {
        let Self { flags, data, plan, out, .. } = self;
        let mut drawn = Vec::new();
        for figure in figures::figures(results, &first.device, flags.chosen_metric()) {
            drawn.push(figure.save(out)?);
        }
        let texts = report::texts(plan, first, data, flags.browse)?;
        write_atomically(out.join("results.json"), results.to_json())?;
        write_atomically(out.join("table.csv"), results.to_csv())?;
        write_atomically(out.join("table.md"), results.to_markdown())?;
        write_atomically(out.join("report.html"), report::page(results, drawn, &texts)?)?;
        Ok(())
    }
}

/// The texts to find thresholds on. None if no decoder needs them.
///
/// # Errors
/// If a decoder needs them and they are not given: otherwise, a long run could end in the middle.
fn validation(flags: &Flags, plan: &[Case]) -> Result<Option<Dataset>, Box<dyn Error>> {
    let searching = plan.iter().find(|case| case.system.max_trials() > 0);
    match (searching, &flags.valid) {
        (Some(_), Some(path)) => Ok(Some(flags.fields.open(path)?.shuffled(Seed(1)).take(flags.valid_texts.max(1)))),
        (Some(case), None) => Err(suite::needs_validation(case.system).into()),
        (None, Some(path)) => {
            console::say(format_args!(
                "--valid {} is not used: only {SEARCHING} find thresholds on it, and none of them is in --decoders",
                path.display()
            ));
            Ok(None)
        }
        (None, None) => Ok(None),
    }
}
