//! The training loop.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::module::{Module, ModuleDisplay, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, Transaction};
use wheels_lm::LanguageModel;
use wheels_student::Student;
use wheels_text::Seed;

use crate::adamw::FastAdamW;
use crate::checkpoint::{Best, Checkpoints, State, TrainedPart};
use crate::clipping::{scale, square_norm};
use crate::gradients::{BatchGradients, LOSS, NLL, fast_positions};
use crate::objective::{Objective, Requirements};
use crate::read_batch::BatchModels;
use crate::report::MetricsLog;
use crate::{BatchSource, DistillError, StepReport, TrainerConfig, TrainingBatch, Workers};

/// Trains a student to minimise an objective on batches from a source. A student without heads trains as a plain model.
///
/// [`Workers`] compute the batches of a step in parallel. Gradients are added in a fixed order, so that on the CPU a
/// run with the same number of workers always gives the same bits.
pub struct Trainer<'a, M: Module, B> {
    config: TrainerConfig,
    objective: &'a dyn Objective,
    student: Student<M>,
    optimizer: ModuleOptimizer,
    /// The target network, which tracks no gradients.
    target: Option<Student<M>>,
    source: B,
    workers: Workers,
    checkpoints: Checkpoints,
    part: TrainedPart,
    metrics: MetricsLog,
    step: usize,
    best: Option<Best>,
    stale_validations: usize,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOutcome {
    /// The number of steps of the run, including those before it was resumed.
    pub steps: usize,
    /// The step of the best validation, and its score. None if no validation gave a finite score.
    pub best: Option<(usize, f64)>,
    /// Whether validation stopped the run before its last step.
    pub stopped_early: bool,
}

/// A validation closure. It returns the score of a student that tracks no gradients. Higher is better.
pub type Validate<'v, M> = dyn FnMut(&Student<M>) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> + 'v;

impl<'a, M, B> Trainer<'a, M, B>
where
    M: LanguageModel + Module + ModuleDisplay + Clone + Send + Sync,
    B: BatchSource<M>,
{
    /// A new run in `folder`. It replaces an earlier run there: its metrics at once, and its checkpoints when this run
    /// writes some. `student` must be on an autodiff device.
    ///
    /// # Errors
    /// [`DistillError::Requirement`] if the objective needs something that the batches or the student do not have,
    /// [`DistillError::Io`] if the folder cannot be written, and [`DistillError::Workers`].
    pub fn new(
        config: TrainerConfig,
        objective: &'a dyn Objective,
        student: Student<M>,
        source: B,
        folder: impl AsRef<Path>,
    ) -> Result<Self, DistillError> {
        Self::at_step(0, config, objective, student, source, Checkpoints::new(folder)?)
    }

    /// Resumes the run in `folder` from its last checkpoint, bit for bit. Without a checkpoint it starts a new run.
    ///
    /// The number of steps, the times of checkpoints and validations, and the patience may differ from the run so far. So may
    /// gradient checkpointing, which changes the numbers by rounding.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the checkpoint is damaged, or was made with another configuration, other data or
    /// other frozen weights.
    pub fn resume(
        config: TrainerConfig,
        objective: &'a dyn Objective,
        student: Student<M>,
        mut source: B,
        folder: impl AsRef<Path>,
    ) -> Result<Self, DistillError> {
        let folder = folder.as_ref();
        let checkpoints = Checkpoints::new(folder)?;
        let Some(state) = checkpoints.last_state()? else {
            return Self::at_step(0, config, objective, student, source, checkpoints);
        };
        let part = TrainedPart::of(&student);
        // Restoring the source can take long: the teacher reads the texts in the replay buffer.
        checkpoints.check(&state, &config, &student, &part)?;
        source
            .restore(state.source.clone())
            .map_err(|source| DistillError::Resume { folder: folder.into(), source: source.into() })?;
        let (student, optimizer) = checkpoints.load(state.step, student, optimizer(&config), &part)?;
        let load_target = |_| checkpoints.load_target(state.step, student.valid(), &part);
        let target = config.target_decay.map(load_target).transpose()?;
        let trainer = Self::at_step(state.step, config, objective, student, source, checkpoints)?;
        let State { best, stale_validations, .. } = state;
        let trainer = Self { optimizer, target, best, stale_validations, ..trainer };
        match trainer.is_finished() {
            true => log::info!("the run in {} has finished with step {}", folder.display(), trainer.step),
            false => log::info!("going on from step {} of {}", trainer.step, trainer.config.steps),
        }
        Ok(trainer)
    }

    /// A trainer that has made `step` steps and no validation, with a new optimizer.
    fn at_step(
        step: usize,
        config: TrainerConfig,
        objective: &'a dyn Objective,
        student: Student<M>,
        source: B,
        checkpoints: Checkpoints,
    ) -> Result<Self, DistillError> {
        check_requirements(objective.requirements(), source.provides(), student.has_heads())?;
        Ok(Self {
            workers: Workers::new(config.workers)?,
            metrics: MetricsLog::open(checkpoints.metrics(), step)?,
            optimizer: optimizer(&config),
            target: config.target_decay.map(|_| student.valid()),
            part: TrainedPart::of(&student),
            config,
            objective,
            student,
            source,
            checkpoints,
            step,
            best: None,
            stale_validations: 0,
        })
    }

    /// The number of steps so far.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Whether the run has made its last step, or its validations have stopped it.
    pub fn is_finished(&self) -> bool {
        let TrainerConfig { steps, patience, .. } = self.config;
        self.step >= steps || (patience > 0 && self.stale_validations >= patience)
    }

    /// The source of the batches.
    pub fn source(&self) -> &B {
        &self.source
    }

    /// The current student, which tracks no gradients.
    pub fn student(&self) -> Student<M> {
        self.student.valid()
    }

    /// The student of the best validation, or the current student if no validation gave a finite score.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] if its weights cannot be read.
    pub fn best(&self) -> Result<Student<M>, DistillError> {
        match self.best {
            Some(_) => self.checkpoints.load_best(self.student(), &self.part),
            None => Ok(self.student()),
        }
    }

    /// Trains until the last step, until validations stop improving, or until `on_step` returns [`ControlFlow::Break`].
    /// It then writes a checkpoint, from which the run can be resumed.
    ///
    /// # Errors
    /// [`DistillError::NotFinite`] if a loss or gradient is not finite, and any error of the source, of writing and of
    /// validation. Earlier checkpoints are kept.
    pub fn train(
        &mut self,
        validate: &mut Validate<'_, M>,
        on_step: &mut dyn FnMut(&StepReport) -> ControlFlow<()>,
    ) -> Result<TrainingOutcome, DistillError> {
        let mut broken_off = false;
        while !self.is_finished() && !broken_off {
            let mut report = self.train_step()?;
            let last = self.step == self.config.steps;
            if self.step.is_multiple_of(self.config.validate_every.max(1)) || last {
                report.validation = Some(self.validate(validate)?);
            }
            self.metrics.write(&report)?;
            broken_off = on_step(&report).is_break();
            let due = self.step.is_multiple_of(self.config.checkpoint_every.max(1));
            if due || broken_off || self.is_finished() {
                self.save()?;
            }
        }
        Ok(TrainingOutcome {
            steps: self.step,
            best: self.best.map(|best| (best.step, best.score)),
            stopped_early: self.is_finished() && self.step < self.config.steps,
        })
    }

    /// Makes one optimizer step.
    ///
    /// # Errors
    /// [`DistillError::NotFinite`], and any error of the source. The weights are then those before the step.
    pub fn train_step(&mut self) -> Result<StepReport, DistillError> {
        let start = Instant::now();
        let count = self.workers.count() * self.config.accumulate.max(1);
        let batches = self.source.next_batches(&self.student.valid(), count, &self.workers)?;
        let tokens: usize = batches.iter().map(|batch| batch.targets.tokens()).sum();

        let (mut gradients, sums) = self.gradients(&batches, tokens);
        let grad_norm = square_norm(&self.student, &gradients).sqrt();
        let step = self.step + 1;
        let mut parts: BTreeMap<String, f64> =
            sums.into_iter().map(|(name, sum)| (name.into(), sum / tokens as f64)).collect();
        let [loss, nll] = [LOSS, NLL].map(|name| parts.remove(name).unwrap_or(f64::NAN));
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                let position = self.source.position();
                return Err(DistillError::NotFinite { what, value, step, position });
            }
        }
        if grad_norm > self.config.clip_norm {
            gradients = scale(&self.student, gradients, self.config.clip_norm / grad_norm);
        }
        let learning_rate = self.config.learning_rate_at(step);
        self.student = self.optimizer.step(learning_rate, self.student.clone(), gradients);
        if let (Some(decay), Some(target)) = (self.config.target_decay, self.target.take()) {
            self.target = Some(blend(target, &self.student.valid(), decay));
        }
        self.step = step;
        let mut report = StepReport {
            step,
            steps: self.config.steps,
            loss,
            nll,
            grad_norm,
            learning_rate,
            tokens,
            seconds: start.elapsed().as_secs_f64(),
            validation: None,
            parts,
        };
        self.source.report(&mut report);
        Ok(report)
    }

    /// Writes a checkpoint of this step.
    ///
    /// # Errors
    /// [`DistillError::Io`] and [`DistillError::Save`].
    pub fn save(&self) -> Result<(), DistillError> {
        let state = State {
            config: self.config.clone(),
            step: self.step,
            parameters: Some(self.student.num_params()),
            frozen: Some(self.part.frozen.clone()),
            source: self.source.state(),
            best: self.best,
            stale_validations: self.stale_validations,
        };
        self.checkpoints.save(&state, &self.student, &self.optimizer, self.target.as_ref(), &self.part)
    }

    fn validate(&mut self, validate: &mut Validate<'_, M>) -> Result<f64, DistillError> {
        let step = self.step;
        let score = validate(&self.student()).map_err(|source| DistillError::Validation { step, source })?;
        if score.is_finite() && self.best.is_none_or(|best| score > best.score) {
            self.best = Some(Best { step, score });
            self.stale_validations = 0;
            self.checkpoints.save_best(&self.student(), &self.part)?;
        } else {
            self.stale_validations += 1;
        }
        Ok(score)
    }

    /// The gradient of the mean loss over `tokens` target tokens, and the sums of the loss, the negative log-likelihood
    /// (nll) and all parts.
    fn gradients(&self, batches: &[TrainingBatch], tokens: usize) -> (GradientsParams, BTreeMap<&'static str, f64>) {
        let (student, objective, target) = (&self.student, self.objective, self.target.as_ref());
        let device = LanguageModel::device(student);
        let teacher = self.source.teacher_head();
        let max_positions = self.config.max_positions(student.spec().vocab_size);
        let fast_positions = fast_positions(student.spec(), &device);
        let dropout = self.config.dropout.then(|| Seed(self.config.seed).stream("dropout").nth(self.step as u64));
        let checkpointing = self.config.checkpoints_gradients();
        let numbered: Vec<(u64, &TrainingBatch)> = (0..).zip(batches).collect();
        let results = self.workers.map_chunks(&numbered, |chunk| {
            let fork = student.clone().fork(&device);
            let mut sum = GradientsAccumulator::new();
            let mut values = Vec::new();
            for &(index, batch) in chunk {
                let student = match dropout {
                    Some(seed) => fork.clone().with_dropout(seed.nth(index).0),
                    None => fork.clone(),
                };
                let student = if checkpointing { student.with_gradient_checkpointing() } else { student };
                let models = BatchModels { student: &student, target_network: target, teacher };
                let gradients = BatchGradients { objective, models, max_positions, fast_positions, tokens };
                values.extend(gradients.add(batch, &mut sum));
            }
            (sum.grads(), values)
        });
        let mut sum = GradientsAccumulator::new();
        let (mut names, mut read) = (Vec::new(), Transaction::default());
        for (gradients, values) in results {
            sum.accumulate(&self.student, gradients);
            for (name, value) in values {
                names.push(name);
                read = read.register(value);
            }
        }
        let mut sums = BTreeMap::new();
        for (name, value) in names.into_iter().zip(read.execute()) {
            *sums.entry(name).or_default() += value.iter::<f64>().sum::<f64>();
        }
        (sum.grads(), sums)
    }
}

pub(crate) fn optimizer(config: &TrainerConfig) -> ModuleOptimizer {
    ModuleOptimizer::from(FastAdamW::new(config))
}

/// Checks that the data and the student have what an objective needs.
fn check_requirements(needed: Requirements, provided: Requirements, heads: bool) -> Result<(), DistillError> {
    for (needed, provided, missing, remedy) in [
        (needed.teacher, provided.teacher, "a teacher", "train on rollouts, or choose the objective cross-entropy"),
        (
            needed.help_token,
            provided.help_token,
            "a help token",
            "train on rollouts of a student with a help token (`with_help_token`)",
        ),
        (needed.value_heads, heads, "a student with heads", "add them with `Student::with_heads`"),
    ] {
        if needed && !provided {
            return Err(DistillError::Requirement { missing, remedy });
        }
    }
    Ok(())
}

/// One step of an exponential moving average: `decay` times the weights of `into` plus `1 - decay` times those of
/// `from`.
fn blend<M: Module>(into: M, from: &M, decay: f64) -> M {
    struct Weights(GradientsParams);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register::<D>(param.id, param.val());
        }
    }
    struct Blend(GradientsParams, f64);
    impl ModuleMapper for Blend {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let other = self.0.remove::<D>(param.id).expect("both models have the same parameters");
            let decay = self.1;
            param.map(|weights| weights * decay + other * (1.0 - decay))
        }
    }
    let mut weights = Weights(GradientsParams::new());
    from.visit(&mut weights);
    into.map(&mut Blend(weights.0, decay))
}
