//! Training in one call: from a student, a teacher and two datasets to a calibrated pair.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::config::Config as _;

use crate::callbacks::{Callbacks, OnStep};
use crate::decode::PromptSide;
use crate::distill::objective::{ConstrainedPath, Objective};
use crate::distill::{
    BatchSource, MemoryPlan, StepReport, TokenPairs, TokenizedDataset, Trainer, TrainingOutcome, WorkProgress, Workers,
};
use crate::eval::Evaluation;
use crate::host::check_memory;
use crate::lm::{FloatFormat, LanguageModel, Pretrained};
use crate::setup::{SETTINGS, Setup};
use crate::student::{Prices, Student};
use crate::teacher_input::TeacherInput;
use crate::text::{Dataset, HelpBudget, Seed};
use crate::text_model::{read_json, save_json, save_or_remove};
use crate::{BudgetReport, CalibrationTrial, DistillationConfig, Error, Method, Pair, TextModel, TrainingData};

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
    callbacks: Callbacks<'a>,
}

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
            callbacks: Callbacks::default(),
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

    /// Sets the number of micro-batches whose gradients each worker adds up before a step.
    #[must_use]
    pub fn accumulate(mut self, micro_batches: usize) -> Self {
        self.config.trainer.accumulate = micro_batches;
        self
    }

    /// Sets whether the student is trained with gradient checkpointing, which takes less memory and more time
    /// ([`TrainerConfig::gradient_checkpointing`](crate::distill::TrainerConfig)). A run that goes on may change it.
    #[must_use]
    pub fn gradient_checkpointing(mut self, checkpointing: bool) -> Self {
        self.config.trainer.gradient_checkpointing = Some(checkpointing);
        self
    }

    /// Replaces the whole configuration, including the mixture of an earlier [`method`](Self::method).
    #[must_use]
    pub fn config(self, config: DistillationConfig) -> Self {
        Self { config, ..self }
    }

    /// Calls `on_step` after each step, to show progress or to stop the run. A stopped run can be resumed.
    #[must_use]
    pub fn on_step(mut self, on_step: impl FnMut(&StepReport) -> ControlFlow<()> + 'a) -> Self {
        self.callbacks.step = Box::new(on_step);
        self
    }

    /// Calls `on_trial` after each threshold that the calibration tries, to show progress: see [`Pair::calibrate`].
    #[must_use]
    pub fn on_trial(mut self, on_trial: impl FnMut(&CalibrationTrial) + 'a) -> Self {
        self.callbacks.trial = Box::new(on_trial);
        self
    }

    /// Calls `on_report` after the student was measured under each of the budgets of [`Distilled::budgets`].
    #[must_use]
    pub fn on_report(mut self, on_report: impl FnMut(&BudgetReport) + 'a) -> Self {
        self.callbacks.report = Box::new(on_report);
        self
    }

    /// Calls `on_progress` during long work that makes no steps: the search for prices
    /// ([`search_texts`](crate::distill::ConstraintConfig::search_texts)) and the measurements of a budget report.
    #[must_use]
    pub fn on_progress(mut self, on_progress: impl FnMut(WorkProgress) + 'a) -> Self {
        *self.callbacks.progress.get_mut() = Box::new(on_progress);
        self
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

    /// The memory that the run needs, without running it. The numbers do not count the program and the data.
    ///
    /// # Errors
    /// As [`run`](Self::run), before training.
    pub fn plan<'d>(self, train: impl Into<TrainingData<'d>>, folder: impl AsRef<Path>) -> Result<MemoryPlan, Error> {
        let Self { student, teacher, cache, objective, config, .. } = self;
        let folder = folder.as_ref();
        let (student, teacher) = TeacherInput { model: teacher.cloned(), cache }.paired_with(student)?;
        let setup = Setup::new(student, &teacher, objective.as_ref(), config, folder)?;
        let pairs = setup.tokenise(train.into(), &teacher, folder)?;
        let cache = teacher.open_cache(&pairs, &setup.base)?;
        let rollouts = setup.rollouts(&teacher, cache.as_ref(), &pairs)?;
        setup.plan(&setup.trainable(), &teacher, &rollouts)
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
        let Self { student, teacher, cache, objective, config, mut callbacks } = self;
        let (student, teacher) = TeacherInput { model: teacher.cloned(), cache }.paired_with(student)?;
        let setup = Setup::new(student, &teacher, objective.as_ref(), config, folder)?;
        let base = &setup.base;
        let pairs = setup.tokenise(train, &teacher, folder)?;
        // Validation and training see the same kind of texts. Often texts that follow each other belong together, so that the
        // first ones do not stand for all.
        let max_tokens = setup.max_tokens(&teacher);
        let valid = TokenizedDataset::new(valid, &base.tokenizer, &base.template, max_tokens)?.kept()?;
        let valid = valid.shuffled(Seed(1));
        log::info!("training on {} pairs; {} validation texts", pairs.count(), valid.len());
        let cache = teacher.open_cache(&pairs, base)?;
        let rollouts = setup.rollouts(&teacher, cache.as_ref(), &pairs)?;
        let rollouts = rollouts.on_progress(|progress| (callbacks.progress.borrow_mut())(progress));
        let model = setup.trainable();
        check_memory(&setup.plan(&model, &teacher, &rollouts)?, &LanguageModel::device(&model))?;
        let mut trainer = Trainer::resume(setup.config.trainer.clone(), objective.as_ref(), model, rollouts, folder)?;

        let run = Run { setup: &setup, teacher: teacher.model.as_ref(), folder };
        // A finished run is not repeated, and its price head was fitted before it was calibrated.
        let (calibration, fitted) = match trainer.is_finished() && run.has_saved_settings() {
            true => TextModel::help_files(folder)?,
            false => (None, None),
        };
        run.save_settings()?;
        let mut broken_off = false;
        let outcome = run.train(&mut trainer, &valid, &mut |report| {
            let flow = (callbacks.step)(report);
            broken_off |= flow.is_break();
            flow
        })?;
        let prices = trainer.source().prices().filter(|_| setup.asks).cloned();
        let mut student = run.student(&trainer.best()?, prices);
        // Nothing below needs the optimizer and the replay buffer.
        drop(trainer);
        let calibrates = calibrates && setup.asks && !broken_off;
        if calibration.is_some() {
            student = run.with_saved_help(student, fitted)?;
        } else {
            // The student is there, also if the work below is interrupted.
            student.save(folder, run.format())?;
            if calibrates && setup.config.prices.texts > 0 {
                student = run.fit_prices(student, &teacher, &valid, &mut callbacks)?;
                student.save(folder, run.format())?;
            }
        }
        student.calibration = calibration;
        let mut pair = run.pair(student.clone());
        let budgets = match pair.as_mut().filter(|_| calibrates) {
            Some(pair) => run.calibrate(pair, &valid, &mut callbacks)?,
            None => Vec::new(),
        };
        Ok((Trained { student, outcome }, pair, budgets))
    }
}

/// A run in its folder.
struct Run<'a> {
    setup: &'a Setup,
    /// None if there is only a cache.
    teacher: Option<&'a TextModel>,
    folder: &'a Path,
}

impl Run<'_> {
    /// A student of this run.
    fn student(&self, model: &Student<Pretrained>, prices: Option<Prices>) -> TextModel {
        TextModel { model: model.clone(), calibration: None, prices, ..self.setup.base.clone() }
    }

    /// A student of this run with its teacher.
    fn pair(&self, student: TextModel) -> Option<Pair> {
        Some(Pair { student, teacher: self.teacher?.clone(), help_token: self.setup.help_token })
    }

    /// Writes everything but the weights, so that the folder of an unfinished run shows its settings.
    fn save_settings(&self) -> Result<(), Error> {
        self.setup.base.tokenizer.save(self.folder)?;
        self.setup.base.template.save(self.folder)?;
        self.setup.base.generation.save(self.folder)?;
        save_json(&self.setup.config, self.folder.join(SETTINGS))
    }

    /// Whether the folder has the settings of this run.
    fn has_saved_settings(&self) -> bool {
        let json = |config: &DistillationConfig| serde_json::to_value(config).expect("a config serialises");
        DistillationConfig::load(self.folder.join(SETTINGS)).is_ok_and(|saved| json(&saved) == json(&self.setup.config))
    }

    /// Trains, with the chrF of the student under one budget as the validation score.
    fn train<B: BatchSource<Pretrained>>(
        &self,
        trainer: &mut Trainer<'_, Pretrained, B>,
        valid: &Dataset,
        on_step: &mut OnStep<'_>,
    ) -> Result<TrainingOutcome, Error> {
        let texts = valid.clone().take(self.setup.config.valid_texts);
        let evaluation = Evaluation::new(&texts, &self.setup.base.tokenizer, &self.setup.base.template);
        let helped = self.setup.asks && self.teacher.is_some();
        let budget = HelpBudget::percent(if helped { self.setup.config.valid_budget } else { 0 });
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

    /// The format of the student's weights in files.
    fn format(&self) -> FloatFormat {
        if self.setup.config.half_precision { FloatFormat::F16 } else { FloatFormat::F32 }
    }

    /// A student with the heads that the folder has, and with the prices to which they were fitted.
    fn with_saved_help(&self, student: TextModel, prices: Option<Prices>) -> Result<TextModel, Error> {
        let Some(help_token) = self.setup.help_token else { return Ok(student) };
        Ok(TextModel { model: student.model.with_heads_in(self.folder, help_token)?, prices, ..student })
    }

    /// Finds the prices of help on the validation texts, and fits the student's price head to them.
    fn fit_prices(
        &self,
        student: TextModel,
        teacher: &TeacherInput,
        valid: &Dataset,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<TextModel, Error> {
        let Setup { base, config, .. } = self.setup;
        let pairs = TokenizedDataset::new(valid, &base.tokenizer, &base.template, self.setup.max_tokens(teacher))?;
        let pairs = pairs.with_target_start(config.rollout.forced_bos_token_id);
        let sampler = teacher.sampler(None, &config.rollout, &pairs, base)?;
        let workers = Workers::new(config.trainer.workers)?;
        let mut fit = config.prices.clone();
        if config.trainer.steps > 0 {
            fit.steps = fit.steps.min(10 * config.trainer.steps);
        }
        let on_progress = callbacks.progress.get_mut();
        let (model, prices) = sampler.fit_prices(&student.model, &fit, &workers, on_progress)?;
        Ok(TextModel { model, prices: Some(prices), ..student })
    }

    /// Calibrates the student unless it has been calibrated, and reports how it uses its budgets.
    fn calibrate(
        &self,
        pair: &mut Pair,
        valid: &Dataset,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Vec<BudgetReport>, Error> {
        let Callbacks { trial, report: on_report, progress: on_progress, .. } = callbacks;
        let path = self.folder.join(BUDGETS);
        if pair.student.calibration.is_none() {
            save_or_remove(&None::<()>, path.clone())?;
            let calibration = pair.calibrate(valid, &self.setup.config.calibration, trial)?;
            TextModel::save_calibration(&calibration, self.folder)?;
            pair.student.calibration = Some(calibration);
        } else if let Some(budgets) = read_json::<Vec<BudgetReport>>(&path, "remove it, and it is made again")? {
            budgets.iter().for_each(on_report);
            return Ok(budgets);
        }
        let student = TextModel { calibration: None, ..pair.student.clone() };
        let uncalibrated = Pair { student, ..pair.clone() };
        let texts = valid.clone().take(self.setup.config.calibration.texts);
        let measured = &self.setup.config.report_budgets;
        log::info!("measuring the help used under {} budgets", measured.len());
        let on_progress = on_progress.get_mut();
        let total = BudgetReport::PARTS * measured.len();
        let mut progress = WorkProgress { work: "budget report", done: 0, total };
        on_progress(progress);
        let mut budgets = Vec::new();
        for &percent in measured {
            let report = BudgetReport::measure(pair, &uncalibrated, &texts, percent, &mut || {
                progress.done += 1;
                on_progress(progress);
            })?;
            on_report(&report);
            budgets.push(report);
        }
        save_json(&budgets, path)?;
        Ok(budgets)
    }
}
