//! The memory of a run, by formulas, before it starts.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde::Serialize;
use wheels_lm::{Footprint, LanguageModel, Pretrained};
use wheels_student::Student;

use crate::traffic::StepTraffic;
use crate::{RolloutConfig, TrainerConfig};

/// The size of a number in f32, bytes.
pub(crate) const F32: usize = 4;

/// The number of tensors of the size of the logits that a loss and its gradient need at once, without a teacher and with
/// one.
pub(crate) const LOGIT_TENSORS: [usize; 2] = [4, 7];

/// A model in a [`MemoryPlan`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedModel {
    /// The number of parameters.
    pub parameters: usize,
    /// The number of parameters that are trained.
    pub trained: usize,
    /// The number of columns of the logits.
    pub vocab_size: usize,
    /// The memory of the parameters, bytes.
    pub bytes: usize,
    /// What decides the memory of activations and caches.
    pub footprint: Footprint,
}

/// The size of a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// The number of texts.
    pub rows: usize,
    /// The number of tokens of the longest prompt.
    pub source: usize,
    /// The number of tokens of the longest target.
    pub target: usize,
}

impl BatchShape {
    fn positions(self) -> usize {
        self.rows * self.target
    }
}

/// The largest memory of each part of a training run, bytes. It has no more than the tensors: the program, the tokenizer
/// and the data are not counted.
///
/// The parts up to `replay` exist all the time. The others exist in one of three phases: the gradients of a step, with
/// activations and logits; the rollouts; and a checkpoint. With gradient checkpointing, logits and `recomputed` do not exist
/// at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// The weights of the student.
    pub student: usize,
    /// The weights of the target network.
    pub target_network: usize,
    /// The weights of the teacher.
    pub teacher: usize,
    /// The moments of the optimizer.
    pub optimizer: usize,
    /// The replay buffer.
    pub replay: usize,
    /// The gradients of all workers.
    pub gradients: usize,
    /// What the forward passes of all workers keep for their backward passes.
    pub activations: usize,
    /// The activations of one block of each worker, which gradient checkpointing computes again. 0 without it.
    pub recomputed: usize,
    /// The logits of all workers and everything of their size.
    pub logits: usize,
    /// The caches of student and teacher and their activations while texts are written and scored.
    pub rollouts: usize,
    /// The copies of the optimizer's state while a checkpoint is written. The update of the weights needs less.
    pub checkpoint: usize,
    /// What a step reads and writes.
    pub traffic: StepTraffic,
}

impl PlannedModel {
    /// A model that is open.
    pub fn new(model: &Student<Pretrained>) -> Self {
        let spec = model.spec();
        let [parameters, trained, bytes] = count(model);
        let (vocab_size, footprint) = (spec.vocab_size, model.model.footprint());
        Self { parameters, trained, vocab_size, bytes, footprint }
    }
}

impl MemoryPlan {
    /// The plan of a run on micro-batches of these sizes. With a teacher, the targets are the references of rollouts, and
    /// texts that a model writes are taken to be as long as their limit.
    ///
    /// Each worker is taken to have the largest micro-batch at the same time.
    pub fn new(
        config: &TrainerConfig,
        student: &PlannedModel,
        teacher: Option<(&PlannedModel, &RolloutConfig)>,
        batches: &[BatchShape],
    ) -> Self {
        let max_positions = config.max_positions(student.vocab_size);
        let written = |&shape: &BatchShape| match teacher {
            Some((_, rollout)) if rollout.mixture.writes_texts() => {
                BatchShape { target: rollout.max_new_tokens(shape.target), ..shape }
            }
            _ => shape,
        };
        let batches: Vec<BatchShape> = batches.iter().map(written).collect();
        let activations = |&BatchShape { rows, source, target }: &BatchShape| match config.checkpoints_gradients() {
            true => student.footprint.checkpointed(rows, source, target, config.dropout),
            false => [student.footprint.activations(rows, source, target, config.dropout), 0],
        };
        let logits = |batch: &BatchShape| {
            let tensors = LOGIT_TENSORS[usize::from(teacher.is_some())];
            tensors * student.vocab_size * batch.positions().min(max_positions)
        };
        let largest = batches.iter().max_by_key(|batch| {
            let [kept, recomputed] = activations(batch);
            kept + recomputed.max(logits(batch))
        });
        let [kept, recomputed] = largest.map_or([0, 0], activations);
        let workers = config.workers.max(1);
        let trained = student.trained * F32;
        // The gradient of a chunk or of a micro-batch is added to those before it.
        let sums = 1 + usize::from(config.accumulate > 1 || batches.iter().any(|b| b.positions() > max_positions));
        let rollouts = |(teacher, _): (&PlannedModel, &RolloutConfig)| {
            batches.iter().map(|batch| rollout_numbers(student, teacher, batch)).max().unwrap_or(0)
        };
        Self {
            student: student.bytes,
            target_network: config.target_decay.map_or(0, |_| student.bytes),
            teacher: teacher.map_or(0, |(teacher, _)| teacher.bytes),
            optimizer: 2 * trained,
            replay: teacher.map_or(0, |(_, rollout)| rollout.replay_bytes),
            gradients: workers * sums * trained,
            activations: workers * F32 * kept,
            recomputed: workers * F32 * recomputed,
            logits: workers * F32 * largest.map_or(0, logits),
            rollouts: workers * F32 * teacher.map_or(0, rollouts),
            checkpoint: 4 * trained,
            traffic: StepTraffic::new(config, student, teacher, &batches),
        }
    }

    /// The largest memory at any time, bytes.
    pub fn peak(&self) -> usize {
        let constant = self.student + self.target_network + self.teacher + self.optimizer + self.replay;
        let step = self.gradients + self.activations + self.logits.max(self.recomputed);
        constant + step.max(self.rollouts).max(self.checkpoint)
    }

    /// The options that lower the largest part.
    pub fn remedy(&self) -> &'static str {
        let smaller_batches = "lower `RolloutConfig::batch_tokens` or `TrainerConfig::workers`";
        let activations = match self.recomputed {
            0 => "set `TrainerConfig::gradient_checkpointing`, or lower `RolloutConfig::batch_tokens`",
            _ => smaller_batches,
        };
        let parts = [
            (self.activations.max(self.recomputed), activations),
            (self.rollouts, smaller_batches),
            (self.logits, "lower `TrainerConfig::logits_bytes` or `TrainerConfig::workers`"),
            (self.replay, "lower `RolloutConfig::replay_bytes`"),
            (self.teacher, "use a smaller teacher, or score the data with it once (`cache-teacher`)"),
            (
                self.student + self.optimizer + self.gradients,
                "train adapters (`DistillationConfig::lora`), or a smaller student",
            ),
        ];
        parts.into_iter().max_by_key(|(bytes, _)| *bytes).map_or("", |(_, remedy)| remedy)
    }
}

/// The numbers in the caches and logits of both models while the texts of a micro-batch are written, or in the activations
/// of the teacher while it reads them.
fn rollout_numbers(
    student: &PlannedModel,
    teacher: &PlannedModel,
    &BatchShape { rows, source, target }: &BatchShape,
) -> usize {
    let writing = |model: &PlannedModel| {
        model.footprint.caches(rows, source, target) + LOGIT_TENSORS[1] * rows * model.vocab_size
    };
    (writing(student) + writing(teacher)).max(teacher.footprint.forward(rows, source + target))
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("student", self.student),
            ("target network", self.target_network),
            ("teacher", self.teacher),
            ("optimizer", self.optimizer),
            ("replay buffer", self.replay),
            ("gradients", self.gradients),
            ("activations", self.activations),
            ("one block again", self.recomputed),
            ("logits", self.logits),
            ("rollouts", self.rollouts),
            ("checkpoint", self.checkpoint),
        ];
        write_table(f, &rows, ("peak", self.peak()))?;
        write!(f, "\n\nmemory traffic of a step, about:\n{}", self.traffic)
    }
}

/// Writes the parts that are not 0, and a last row, in megabytes.
pub(crate) fn write_table(f: &mut fmt::Formatter<'_>, parts: &[(&str, usize)], last: (&str, usize)) -> fmt::Result {
    for (name, bytes) in parts.iter().filter(|(_, bytes)| *bytes > 0) {
        writeln!(f, "{name:<16}{:>10.1} MB", *bytes as f64 / 1e6)?;
    }
    write!(f, "{:<16}{:>10.1} MB", last.0, last.1 as f64 / 1e6)
}

/// The number of parameters of a module, that of those which are trained, and the bytes of all.
fn count<M: Module>(module: &M) -> [usize; 3] {
    struct Count([usize; 3]);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let size = param.lazy_shape().num_elements();
            self.0[0] += size;
            let tensor = param.base();
            self.0[1] += if tensor.is_require_grad() { size } else { 0 };
            self.0[2] += size * tensor.dtype().size();
        }
    }
    let mut count = Count([0; 3]);
    module.visit(&mut count);
    count.0
}

#[cfg(test)]
mod tests {
    use wheels_lm::T5Config;

    use super::*;

    fn model(d_model: usize) -> PlannedModel {
        let config = T5Config { vocab_size: 1000, d_model, ..T5Config::default() };
        let [parameters, vocab_size, bytes] = [1_000_000, 1000, F32 * 1_000_000];
        let footprint = config.footprint();
        PlannedModel { parameters, trained: parameters, vocab_size, bytes, footprint }
    }

    const BATCHES: [BatchShape; 2] =
        [BatchShape { rows: 8, source: 20, target: 30 }, BatchShape { rows: 2, source: 40, target: 10 }];

    #[test]
    fn each_option_lowers_its_own_part() {
        let (student, teacher) = (model(64), model(128));
        let rollout = RolloutConfig::new(10);
        let plan = |config: &TrainerConfig| MemoryPlan::new(config, &student, Some((&teacher, &rollout)), &BATCHES);
        let config = TrainerConfig::new(10).with_workers(2);
        let whole = plan(&config);
        assert_eq!((whole.student, whole.optimizer, whole.gradients), (4_000_000, 8_000_000, 8_000_000));
        // The student may write twice the length of a reference and 8 tokens more.
        assert_eq!(whole.logits, 2 * 4 * 7 * (8 * 68) * 1000);
        // A quarter of the positions at a time. The gradient of a chunk exists beside the sum.
        let chunked = plan(&config.clone().with_logits_bytes(Some(4 * 1000 * 2 * 68)));
        assert_eq!((chunked.logits, chunked.gradients), (whole.logits / 4, 2 * whole.gradients));
        let alone = plan(&config.with_workers(1));
        assert_eq!((2 * alone.activations, 2 * alone.rollouts), (whole.activations, whole.rollouts));
        assert!(alone.peak() < whole.peak());
        let config = TrainerConfig::new(10).with_workers(2);
        let checkpointed = plan(&config.clone().with_gradient_checkpointing(Some(true)));
        assert!(2 * (checkpointed.activations + checkpointed.recomputed) < whole.activations);
        assert_eq!((whole.recomputed, whole.logits), (0, checkpointed.logits));
        let frozen = PlannedModel { trained: 1000, ..student };
        let adapters = MemoryPlan::new(&TrainerConfig::new(10), &frozen, None, &BATCHES);
        assert_eq!((adapters.student, adapters.optimizer, adapters.teacher), (4_000_000, 8000, 0));
    }

    #[test]
    fn the_largest_part_decides_the_remedy() {
        let plan = MemoryPlan { logits: 3, teacher: 2, ..MemoryPlan::default() };
        assert!(plan.remedy().contains("logits_bytes"));
        assert!(MemoryPlan { teacher: 4, ..plan }.remedy().contains("teacher"));
        let activations = MemoryPlan { activations: 4, ..plan };
        assert!(activations.remedy().contains("gradient_checkpointing"));
        let on = MemoryPlan { recomputed: 1, ..activations }.remedy();
        assert!(on.contains("batch_tokens") && !on.contains("gradient_checkpointing"), "{on}");
        assert_eq!(MemoryPlan { rollouts: 5, ..plan }.peak(), 2 + 5);
        // Blocks are computed again after the logits.
        assert_eq!(MemoryPlan { activations: 1, recomputed: 5, ..plan }.peak(), 2 + 1 + 5);
    }
}
