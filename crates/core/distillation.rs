//! Training in one call: from a student, a teacher and two datasets to a calibrated pair.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use wheels_distill::objective::{ConstrainedPath, Objective};
use wheels_distill::{MemoryPlan, StepReport, TokenPairs, TokenizedDataset, Trainer, TrainingOutcome, WorkProgress};
use wheels_lm::LanguageModel;
use wheels_text::{Dataset, Seed};

use crate::callbacks::Callbacks;
use crate::host::check_memory;
use crate::run::Run;
use crate::setup::Setup;
use crate::teacher_input::TeacherInput;
use crate::{BudgetReport, CalibrationTrial, DistillationConfig, Error, Method, Pair, TextModel, TrainingData};

/// Trains a student to write like its teacher, and to ask it for help within a budget.
///
/// [`run`](Self::run) does everything: it tokenises the data, adds heads to a student without them, trains the student
/// on references and on its own texts, validates, writes checkpoints, finds the prices of help, saves the student, and
/// calibrates it on the validation texts. If it trains only the heads, it also fits the help head to the regret of the
/// finished student ([`DistillationConfig::help_head`]). A second run with the same folder and configuration goes on where
/// the first one stopped, and a finished run is not repeated.
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

    /// Sets the objective, such as [`ForwardKl`](wheels_distill::objective::ForwardKl), and keeps the mixture of texts.
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
    /// ([`TrainerConfig::gradient_checkpointing`](wheels_distill::TrainerConfig)). A run that goes on may change it.
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
    /// ([`search_texts`](wheels_distill::ConstraintConfig::search_texts)) and the measurements of a budget report.
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
                student = run.fit_help_head(student, &teacher, cache.as_ref(), &pairs, &mut callbacks)?;
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
