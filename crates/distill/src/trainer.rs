//! The training loop.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, Transaction};

use crate::checkpoint::{Best, State};
use crate::{
    Checkpoints, DistillError, Learner, Lessons, MetricsLog, Objective, Scored, StepReport, TrainerConfig,
    TrainingBatch, Workers,
};

/// Trains a model by an objective on lessons.
///
/// The batches of a step are computed by [`Workers`] side by side. Gradients are added in a fixed order, so a run gives
/// the same bits whenever it is repeated with as many workers.
pub struct Trainer<'a, M, L> {
    config: TrainerConfig,
    objective: &'a dyn Objective,
    model: M,
    optimizer: ModuleOptimizer,
    /// The target network, which tracks no gradients.
    target: Option<M>,
    lessons: L,
    workers: Workers,
    checkpoints: Checkpoints,
    metrics: MetricsLog,
    step: usize,
    best: Option<Best>,
    stale_validations: usize,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Steps that were made.
    pub steps: usize,
    /// The best validation score and its step; the last step without validation.
    pub best: Option<(usize, f64)>,
    /// Whether validation stopped the run before its last step.
    pub stopped_early: bool,
}

/// A validation: a score of the model without gradients, higher is better.
pub type Validate<'v, M> = dyn FnMut(&M) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> + 'v;

impl<'a, M, L> Trainer<'a, M, L>
where
    M: Learner + Module + Clone + Send + Sync,
    L: Lessons<M>,
{
    /// A run in `folder`, from the start or, with `resume`, from the last checkpoint there if there is one.
    ///
    /// `model` lives on an autodiff device.
    ///
    /// # Errors
    /// [`DistillError`] for data that cannot be batched, a folder that cannot be written and a checkpoint that cannot
    /// be used.
    pub fn new(
        config: TrainerConfig,
        objective: &'a dyn Objective,
        model: M,
        mut lessons: L,
        folder: impl AsRef<Path>,
        resume: bool,
    ) -> Result<Self, DistillError> {
        let optimizer =
            AdamWConfig::new().with_beta_2(0.98).with_epsilon(1e-9).with_weight_decay(config.weight_decay).init();
        let workers = Workers::new(config.workers)?;
        let checkpoints = Checkpoints::new(folder)?;
        let saved = if resume { checkpoints.load(&config, model.clone(), optimizer.clone())? } else { None };
        let step = saved.as_ref().map_or(0, |(state, _, _)| state.step);
        let metrics = MetricsLog::open(checkpoints.metrics(), step)?;
        let (model, optimizer, best, stale_validations) = match saved {
            None => (model, optimizer, None, 0),
            Some((state, model, optimizer)) => {
                lessons.restore(state.lessons).map_err(|reason| checkpoints.unusable(step, reason))?;
                (model, optimizer, state.best, state.stale_validations)
            }
        };
        let target = match config.target_decay {
            None => None,
            Some(_) if step > 0 => Some(checkpoints.load_target(step, model.valid())?),
            Some(_) => Some(model.valid()),
        };
        Ok(Self {
            config,
            objective,
            model,
            optimizer,
            target,
            lessons,
            workers,
            checkpoints,
            metrics,
            step,
            best,
            stale_validations,
        })
    }

    /// Steps made so far.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Where the batches come from.
    pub fn lessons(&self) -> &L {
        &self.lessons
    }

    /// The model as it is now, without gradients.
    pub fn model(&self) -> M {
        self.model.valid()
    }

    /// The weights of the best validation, or those of now where there was none.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] where they cannot be read back.
    pub fn best(&self) -> Result<M, DistillError> {
        match self.best {
            Some(_) => self.checkpoints.load_best(self.model()),
            None => Ok(self.model()),
        }
    }

    /// Trains to the last step, until validation does not improve any more, or until `on_step` breaks off; the run can go
    /// on from there.
    ///
    /// # Errors
    /// [`DistillError::NotFinite`] where a number is not finite, and whatever writing and validation return. What was
    /// saved stays.
    pub fn train(
        &mut self,
        validate: &mut Validate<'_, M>,
        on_step: &mut dyn FnMut(&StepReport) -> ControlFlow<()>,
    ) -> Result<Outcome, DistillError> {
        let (mut stopped_early, mut broken_off) = (false, false);
        while self.step < self.config.steps && !stopped_early && !broken_off {
            let mut report = self.train_step()?;
            let last = self.step == self.config.steps;
            if self.step.is_multiple_of(self.config.validate_every.max(1)) || last {
                report.validation = Some(self.validate(validate)?);
                let patience = self.config.patience;
                stopped_early = patience > 0 && self.stale_validations >= patience;
            }
            self.metrics.write(&report)?;
            broken_off = on_step(&report).is_break();
            let due = self.step.is_multiple_of(self.config.checkpoint_every.max(1));
            if due || last || stopped_early || broken_off {
                self.save()?;
            }
        }
        Ok(Outcome {
            steps: self.step,
            best: self.best.map(|best| (best.step, best.score)),
            stopped_early: stopped_early && self.step < self.config.steps,
        })
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// [`DistillError::NotFinite`], and what making lessons can run into; the weights are then those before the step.
    pub fn train_step(&mut self) -> Result<StepReport, DistillError> {
        let start = Instant::now();
        let count = self.workers.count() * self.config.accumulate.max(1);
        let batches = self.lessons.next_batches(&self.model.valid(), count, &self.workers)?;
        let tokens: usize = batches.iter().map(|batch| batch.targets.tokens()).sum();

        let (mut gradients, sums) = self.gradients(&batches, tokens);
        let grad_norm = square_norm(&self.model, &gradients).sqrt();
        let step = self.step + 1;
        let mut parts: BTreeMap<String, f64> =
            sums.into_iter().map(|(name, sum)| (name.into(), sum / tokens as f64)).collect();
        let [loss, nll] = [LOSS, NLL].map(|name| parts.remove(name).unwrap_or(f64::NAN));
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                return Err(DistillError::NotFinite { what, value, step, place: self.lessons.place() });
            }
        }
        if grad_norm > self.config.clip_norm {
            gradients = scale(&self.model, gradients, self.config.clip_norm / grad_norm);
        }
        let learning_rate = self.config.learning_rate_at(step);
        self.model = self.optimizer.step(learning_rate, self.model.clone(), gradients);
        if let (Some(decay), Some(target)) = (self.config.target_decay, self.target.take()) {
            self.target = Some(blend(target, &self.model.valid(), decay));
        }
        self.step = step;
        let mut report = StepReport {
            step,
            loss,
            nll,
            grad_norm,
            learning_rate,
            tokens,
            seconds: start.elapsed().as_secs_f64(),
            validation: None,
            parts,
        };
        self.lessons.report(&mut report);
        Ok(report)
    }

    /// Writes a checkpoint of this step.
    ///
    /// # Errors
    /// [`DistillError::Io`] and [`DistillError::Checkpoint`].
    pub fn save(&self) -> Result<(), DistillError> {
        let state = State {
            config: self.config.clone(),
            step: self.step,
            lessons: self.lessons.state(),
            best: self.best,
            stale_validations: self.stale_validations,
        };
        self.checkpoints.save(&state, &self.model, &self.optimizer, self.target.as_ref())
    }

    fn validate(&mut self, validate: &mut Validate<'_, M>) -> Result<f64, DistillError> {
        let step = self.step;
        let score = validate(&self.model()).map_err(|source| DistillError::Validation { step, source })?;
        if self.best.is_none_or(|best| score > best.score) {
            self.best = Some(Best { step, score });
            self.stale_validations = 0;
            self.checkpoints.save_best(&self.model())?;
        } else {
            self.stale_validations += 1;
        }
        Ok(score)
    }

    /// The gradient of the mean loss over `tokens` target tokens, and the sums of the loss, the nll and all parts.
    fn gradients(&self, batches: &[TrainingBatch], tokens: usize) -> (GradientsParams, BTreeMap<&'static str, f64>) {
        let (device, model, objective) = (wheels_lm::LanguageModel::device(&self.model), &self.model, self.objective);
        let target = self.target.as_ref();
        let results = self.workers.share(batches, |batches| {
            let model = model.clone().fork(&device);
            let mut sum = GradientsAccumulator::new();
            let mut values = Vec::new();
            for batch in batches {
                let mut scored = Scored::new(&model, batch);
                scored.target = target.map(|target| Box::new(Scored::new(target, batch)));
                let loss = objective.loss(&scored);
                let gradients = (loss.total / tokens as f32).backward();
                sum.accumulate(&model, GradientsParams::from_grads(gradients, &model));
                values.extend([(LOSS, loss.value), (NLL, loss.nll)]);
                values.extend(loss.parts);
            }
            (sum.grads(), values)
        });
        let mut sum = GradientsAccumulator::new();
        let (mut names, mut read) = (Vec::new(), Transaction::default());
        for (gradients, values) in results {
            sum.accumulate(&self.model, gradients);
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

const LOSS: &str = "loss";
const NLL: &str = "nll";

/// The square of the norm of all gradients together, read from the device once.
fn square_norm<M: Module>(model: &M, gradients: &GradientsParams) -> f64 {
    struct Squares<'g>(&'g GradientsParams, Vec<Tensor<1>>);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(self.0.get::<D>(param.id).map(|gradient| gradient.square().sum()));
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    model.visit(&mut squares);
    Tensor::cat(squares.1, 0).into_data().iter::<f64>().sum()
}

/// `decay` of the weights of one model and the rest of another's.
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

/// All gradients, times `factor`.
fn scale<M: Module>(model: &M, gradients: GradientsParams, factor: f64) -> GradientsParams {
    struct Scale(GradientsParams, GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.1.register::<D>(param.id, gradient * self.2);
            }
        }
    }
    let mut scale = Scale(gradients, GradientsParams::new(), factor);
    model.visit(&mut scale);
    scale.1
}
