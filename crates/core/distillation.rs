//! Training in one call: from a student, a teacher and two datasets to a calibrated pair.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::config::Config as _;
use burn::module::{Module, ModuleDisplay};

use crate::decode::PromptSide;
use crate::default_workers::default_workers;
use crate::distill::objective::{ConstrainedPath, Objective};
use crate::distill::{
    BatchSource, DistillError, Rollouts, StepReport, TokenPairs, TokenizedDataset, Trainer, TrainerConfig,
    TrainingOutcome,
};
use crate::eval::Evaluation;
use crate::lm::{FloatFormat, LanguageModel, LoraConfig, Pretrained};
use crate::student::{Prices, Student};
use crate::teacher_input::TeacherInput;
use crate::text::{Dataset, HelpBudget, Seed};
use crate::text_model::{read_json, save_json, save_or_remove};
use crate::{BudgetReport, CalibrationTrial, DistillationConfig, Error, Method, Pair, TextModel, TrainingData};

/// The name of the file with the configuration of a run.
const SETTINGS: &str = "distillation.json";

/// The name of the file with the budget reports, which a finished run has.
const BUDGETS: &str = "budgets.json";

/// Trains a student to write like its teacher, and to ask it for help within a budget.
///
/// [`run`](Self::run) does everything: it tokenises the data, adds heads to a student without them, trains the student
/// on references and on its own texts, validates, writes checkpoints, finds the prices of help, saves the student, and
/// calibrates it on the validation texts. A second run with the same folder and configuration goes on where the first one
/// stopped, and a finished run is not repeated.
///
/// With a cache of the teacher's distributions ([`Pair::cache_teacher`]), no teacher is needed for training:
/// [`from_cache`](Self::from_cache) and [`train`](Self::train). All texts are then references.
pub struct Distillation<'a> {
    student: TextModel,
    teacher: Option<&'a TextModel>,
    cache: Option<PathBuf>,
    objective: Box<dyn Objective + 'a>,
    config: DistillationConfig,
    on_step: Box<OnStep<'a>>,
    on_trial: Box<OnTrial<'a>>,
    on_report: Box<OnReport<'a>>,
}

/// A callback after each step, which can stop the run.
type OnStep<'a> = dyn FnMut(&StepReport) -> ControlFlow<()> + 'a;

/// A callback after each trial of the calibration.
type OnTrial<'a> = dyn FnMut(&CalibrationTrial) + 'a;

/// A callback after each budget report.
type OnReport<'a> = dyn FnMut(&BudgetReport) + 'a;

/// The result of [`Distillation::train`].
#[derive(Debug)]
pub struct Trained {
    /// The trained student. It has a calibration only if it was calibrated after an earlier call.
    pub student: TextModel,
    /// How the training ended.
    pub outcome: TrainingOutcome,
}

/// The result of [`Distillation::run`].
#[derive(Debug)]
pub struct Distilled {
    /// The trained student with its teacher.
    pub pair: Pair,
    /// How the training ended.
    pub outcome: TrainingOutcome,
    /// How well the student keeps its budgets. Empty if it cannot ask, or if `on_step` stopped the run.
    pub budgets: Vec<BudgetReport>,
}

impl<'a> Distillation<'a> {
    /// A distillation of `teacher` into `student` with the objective [`ConstrainedPath`] and the default configuration.
    pub fn new(student: TextModel, teacher: &'a TextModel) -> Self {
        Self::with_teacher(student, Some(teacher))
    }

    /// A distillation without a teacher, from the cache of its distributions in a folder. [`train`](Self::train) trains
    /// the student. It is calibrated later, with the teacher.
    pub fn from_cache(student: TextModel, cache: impl Into<PathBuf>) -> Self {
        Self::with_teacher(student, None).cache(cache)
    }

    fn with_teacher(student: TextModel, teacher: Option<&'a TextModel>) -> Self {
        Self {
            student,
            teacher,
            cache: None,
            objective: Box::new(ConstrainedPath::new()),
            config: DistillationConfig::new(),
            on_step: Box::new(|_| ControlFlow::Continue(())),
            on_trial: Box::new(|_| ()),
            on_report: Box::new(|_| ()),
        }
    }

    /// Takes the teacher's distributions in training from the cache in a folder. The teacher itself is used for validation
    /// and for the calibration only.
    #[must_use]
    pub fn cache(self, folder: impl Into<PathBuf>) -> Self {
        Self { cache: Some(folder.into()), ..self }
    }

    /// Sets the objective, such as [`ForwardKl`](crate::distill::objective::ForwardKl), and keeps the mixture of texts.
    /// With an objective that does not train help, the student does not learn to ask.
    #[must_use]
    pub fn objective(self, objective: impl Objective + 'a) -> Self {
        Self { objective: Box::new(objective), ..self }
    }

    /// Sets the objective and the mixture of texts to those of a method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.objective = method.objective();
        self.config.rollout.mixture = method.mixture();
        self
    }

    /// Sets the number of optimizer steps.
    #[must_use]
    pub fn steps(self, steps: usize) -> Self {
        Self { config: self.config.with_steps(steps), ..self }
    }

    /// Replaces the whole configuration, including the mixture of an earlier [`method`](Self::method).
    #[must_use]
    pub fn config(self, config: DistillationConfig) -> Self {
        Self { config, ..self }
    }

    /// Calls `on_step` after each step, to show progress or to stop the run. A stopped run can be resumed.
    #[must_use]
    pub fn on_step(self, on_step: impl FnMut(&StepReport) -> ControlFlow<()> + 'a) -> Self {
        Self { on_step: Box::new(on_step), ..self }
    }

    /// Calls `on_trial` after each threshold that the calibration tries, to show progress: see [`Pair::calibrate`].
    #[must_use]
    pub fn on_trial(self, on_trial: impl FnMut(&CalibrationTrial) + 'a) -> Self {
        Self { on_trial: Box::new(on_trial), ..self }
    }

    /// Calls `on_report` after the student was measured under each of the budgets of [`Distilled::budgets`].
    #[must_use]
    pub fn on_report(self, on_report: impl FnMut(&BudgetReport) + 'a) -> Self {
        Self { on_report: Box::new(on_report), ..self }
    }

    /// Trains on `train`, validates and calibrates on `valid`, and writes the run and its model into `folder`. `train` is
    /// a [`Dataset`] in memory, or the stream of a file that may be larger than memory ([`Dataset::stream`]).
    ///
    /// # Errors
    /// [`Error`] if student and teacher do not fit together, a text cannot be used, a number is not finite, or the
    /// folder cannot be written or belongs to another run. [`Error::NoTeacher`] if there is only a cache. Checkpoints that
    /// were saved remain.
    pub fn run<'d>(
        self,
        train: impl Into<TrainingData<'d>>,
        valid: &Dataset,
        folder: impl AsRef<Path>,
    ) -> Result<Distilled, Error> {
        if self.teacher.is_none() {
            return Err(Error::NoTeacher);
        }
        let (trained, pair, budgets) = self.complete(train.into(), valid, folder.as_ref(), true)?;
        Ok(Distilled { pair: pair.ok_or(Error::NoTeacher)?, outcome: trained.outcome, budgets })
    }

    /// As [`run`](Self::run), but without the calibration at the end, so that a cache is enough. Without a teacher,
    /// validations decode the student alone.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if the cache does not fit the data, the configuration or the teacher.
    pub fn train<'d>(
        self,
        train: impl Into<TrainingData<'d>>,
        valid: &Dataset,
        folder: impl AsRef<Path>,
    ) -> Result<Trained, Error> {
        Ok(self.complete(train.into(), valid, folder.as_ref(), false)?.0)
    }

    /// Trains, and calibrates if `calibrates` is set. The pair is that of the trained student with the teacher, if there
    /// is one.
    fn complete(
        self,
        train: TrainingData<'_>,
        valid: &Dataset,
        folder: &Path,
        calibrates: bool,
    ) -> Result<(Trained, Option<Pair>, Vec<BudgetReport>), Error> {
        let Self { student, teacher, cache, objective, mut config, mut on_step, mut on_trial, mut on_report } = self;
        let earlier = TrainerConfig::of_run(folder)?;
        let (student, teacher) = TeacherInput { model: teacher.cloned(), cache }.paired_with(student)?;
        let teacher = &teacher;
        teacher.limit(&mut config.rollout);
        let needs = objective.requirements();
        let help_token = student.tokenizer.help_token("teacher").ok();
        if needs.help_token && help_token.is_none() {
            return Err(Error::NoHelpToken);
        }
        let asks = help_token.is_some() && objective.trains_help();
        if config.heads_only && !asks {
            return Err(Error::HeadsOnly);
        }
        let mut base = student;
        if let Some(lora) = &config.lora {
            if config.heads_only {
                return Err(Error::HeadsOnlyLora);
            }
            base = base.with_lora(lora)?;
            config.trainer.dropout |= lora.dropout > 0.0;
        }
        same_adapters(folder, config.lora.as_ref())?;
        if asks {
            base.template = base.template.stating_budget();
        }
        if !(needs.help_token && needs.value_heads) {
            // Only `ConstrainedPath` trains the price head.
            config.rollout.price_prompts = 0;
        }
        config.rollout.no_repeat_ngram_size = base.generation.no_repeat_ngram_size;
        config.rollout.forced_bos_token_id = base.generation.forced_bos_token_id();

        // The price head must see the whole budget, also if a chat template writes something before it.
        let budget_end = base.template.budget_end(&base.tokenizer)?;
        config.student.budget_tokens = config.student.budget_tokens.max(budget_end);

        let (tokenizer, template) = (&base.tokenizer, &base.template);
        let max_tokens = base.text_limit(config.max_tokens);
        let max_tokens = teacher.model.as_ref().map_or(max_tokens, |teacher| teacher.text_limit(max_tokens));
        let pairs = match train {
            TrainingData::Memory(data) => TokenizedDataset::new(data, tokenizer, template, max_tokens)?,
            TrainingData::Stream(stream) => {
                TokenizedDataset::on_disk(*stream, tokenizer, template, max_tokens, folder)?
            }
        };
        let pairs = pairs.with_target_start(config.rollout.forced_bos_token_id);
        // Validation and training see the same kind of texts.
        let valid = TokenizedDataset::new(valid, tokenizer, template, max_tokens)?.kept()?;
        log::info!("training on {} pairs; {} validation texts", pairs.count(), valid.len());
        let cache = teacher.open_cache(&pairs, &base)?;
        let mut rollouts = Rollouts::new(teacher.sampler(cache.as_ref(), &config.rollout, &pairs, &base)?)?;
        if let Some(prices) = &base.prices {
            rollouts = rollouts.with_prices(prices)?;
        }
        if let Some(TrainerConfig { warmup_steps, .. }) = earlier
            && warmup_steps != config.trainer.warmup_steps
        {
            // `with_steps` gives short runs a shorter warm-up, so that more steps would be another configuration.
            log::info!("the run keeps the warm-up of {warmup_steps} steps that it was started with");
            config.trainer.warmup_steps = warmup_steps;
        }
        if config.trainer.workers == 0 {
            config.trainer.workers = match earlier {
                Some(earlier) => earlier.workers,
                None => default_workers(&LanguageModel::device(&base.model.valid())),
            };
        }
        let model = prepare(base.model.clone(), &config, help_token.filter(|_| asks));
        let mut trainer = Trainer::resume(config.trainer.clone(), objective.as_ref(), model, rollouts, folder)?;

        let run = Run { base: &base, teacher: teacher.model.as_ref(), help_token, asks, config, folder };
        // An interrupted calibration is not repeated from its start.
        let calibration = match trainer.is_finished() && run.has_saved_settings() {
            true => TextModel::read_calibration(folder)?,
            false => None,
        };
        run.save_settings()?;
        let mut broken_off = false;
        let outcome = run.train(&mut trainer, &valid, &mut |report| {
            let flow = on_step(report);
            broken_off |= flow.is_break();
            flow
        })?;
        let prices = trainer.source().prices().filter(|_| asks).cloned();
        let mut student = run.student(&trainer.best()?, prices);
        if calibration.is_none() {
            // The student is there, also if its calibration is interrupted.
            let format = if run.config.half_precision { FloatFormat::F16 } else { FloatFormat::F32 };
            student.save(folder, format)?;
        }
        student.calibration = calibration;
        let mut pair = run.pair(student.clone());
        let budgets = match pair.as_mut().filter(|_| calibrates && asks && !broken_off) {
            Some(pair) => run.calibrate(pair, &valid, &mut on_trial, &mut on_report)?,
            None => Vec::new(),
        };
        Ok((Trained { student, outcome }, pair, budgets))
    }
}

/// The parts of a run that do not change.
struct Run<'a> {
    /// The student as it was given, with the prompt template of the run.
    base: &'a TextModel,
    /// None if there is only a cache.
    teacher: Option<&'a TextModel>,
    help_token: Option<u32>,
    /// Whether the run trains the student to ask.
    asks: bool,
    config: DistillationConfig,
    folder: &'a Path,
}

impl Run<'_> {
    /// A student of this run.
    fn student(&self, model: &Student<Pretrained>, prices: Option<Prices>) -> TextModel {
        TextModel { model: model.clone(), calibration: None, prices, ..self.base.clone() }
    }

    /// A student of this run with its teacher.
    fn pair(&self, student: TextModel) -> Option<Pair> {
        Some(Pair { student, teacher: self.teacher?.clone(), help_token: self.help_token })
    }

    /// Writes everything but the weights, so that the folder of an unfinished run shows its settings.
    fn save_settings(&self) -> Result<(), Error> {
        self.base.tokenizer.save(self.folder)?;
        self.base.template.save(self.folder)?;
        self.base.generation.save(self.folder)?;
        save_json(&self.config, self.folder.join(SETTINGS))
    }

    /// Whether the folder has the settings of this run.
    fn has_saved_settings(&self) -> bool {
        let json = |config: &DistillationConfig| serde_json::to_value(config).expect("a config serialises");
        DistillationConfig::load(self.folder.join(SETTINGS)).is_ok_and(|saved| json(&saved) == json(&self.config))
    }

    /// Trains, with the chrF of the student under one budget as the validation score.
    fn train<B: BatchSource<Pretrained>>(
        &self,
        trainer: &mut Trainer<'_, Pretrained, B>,
        valid: &Dataset,
        on_step: &mut OnStep<'_>,
    ) -> Result<TrainingOutcome, Error> {
        let texts = valid.clone().take(self.config.valid_texts);
        let evaluation = Evaluation::new(&texts, &self.base.tokenizer, &self.base.template);
        let helped = self.asks && self.teacher.is_some();
        let budget = HelpBudget::percent(if helped { self.config.valid_budget } else { 0 });
        let mut validate = |model: &Student<Pretrained>| {
            let student = self.student(model, None);
            let pair = self.pair(student.clone()).filter(|_| helped);
            // With enforcement, a student that asks too often gains nothing by it.
            let decoder = pair.as_ref().map_or_else(|| student.decoder_for(PromptSide::Student), Pair::decoder);
            let output = evaluation.run(&decoder, &evaluation.prompts(budget)?, Seed(0))?;
            Ok(evaluation.stats(&output).scores().chrf)
        };
        Ok(trainer.train(&mut validate, on_step)?)
    }

    /// Calibrates the student unless it has been calibrated, and reports how it uses its budgets.
    fn calibrate(
        &self,
        pair: &mut Pair,
        valid: &Dataset,
        on_trial: &mut OnTrial<'_>,
        on_report: &mut OnReport<'_>,
    ) -> Result<Vec<BudgetReport>, Error> {
        let path = self.folder.join(BUDGETS);
        if pair.student.calibration.is_none() {
            save_or_remove(&None::<()>, path.clone())?;
            let calibration = pair.calibrate(valid, &self.config.calibration, on_trial)?;
            TextModel::save_calibration(&calibration, self.folder)?;
            pair.student.calibration = Some(calibration);
        } else if let Some(budgets) = read_json::<Vec<BudgetReport>>(&path, "remove it, and it is made again")? {
            budgets.iter().for_each(on_report);
            return Ok(budgets);
        }
        let student = TextModel { calibration: None, ..pair.student.clone() };
        let uncalibrated = Pair { student, ..pair.clone() };
        let texts = valid.clone().take(self.config.calibration.texts);
        log::info!("measuring the help used under {} budgets", self.config.report_budgets.len());
        let mut budgets = Vec::new();
        for &percent in &self.config.report_budgets {
            let report = BudgetReport::measure(pair, &uncalibrated, &texts, percent)?;
            on_report(&report);
            budgets.push(report);
        }
        save_json(&budgets, path)?;
        Ok(budgets)
    }
}

/// Checks that a run in the folder has the same adapters. Checkpoints have only their numbers.
fn same_adapters(folder: &Path, asked: Option<&LoraConfig>) -> Result<(), Error> {
    let path = folder.join(SETTINGS);
    let Ok(saved) = DistillationConfig::load(&path) else { return Ok(()) };
    if saved.lora.as_ref() == asked {
        return Ok(());
    }
    let [saved, asked] =
        [saved.lora.as_ref(), asked].map(|lora| serde_json::to_string(&lora).expect("a config serialises"));
    Err(DistillError::OtherConfig { path, field: "lora".into(), saved, asked }.into())
}

/// The student on an autodiff device, with heads for `help_token` if there is one.
fn prepare<M>(student: Student<M>, config: &DistillationConfig, help_token: Option<u32>) -> Student<M>
where
    M: LanguageModel + Module + ModuleDisplay,
{
    // The student may have been opened on an autodiff device or not; `valid` makes both cases equal.
    let mut student = student.valid().train();
    if let Some(token) = help_token
        && !student.has_heads()
    {
        student = student.with_heads(&config.student, token);
    }
    if config.heads_only { student.with_frozen_model() } else { student }
}
