//! The memory traffic of a run, by formulas, before it starts.

use std::fmt;

use serde::Serialize;

use crate::plan::{BatchShape, F32, LOGIT_TENSORS, write_table};
use crate::{PlannedModel, RolloutConfig, TrainerConfig};

/// About how many bytes a training step reads from memory and writes to it, on the average of a run's micro-batches. Each
/// number counts once for each operation that needs it, as if caches were too small for it. With the bandwidth of the
/// memory, this gives a time that a step cannot go below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepTraffic {
    /// The student's weights in the forward and the backward pass, and their gradients.
    pub student: usize,
    /// The teacher's weights while it scores texts.
    pub teacher: usize,
    /// The update of the weights.
    pub optimizer: usize,
    /// The activations that are kept for the backward pass.
    pub activations: usize,
    /// The logits and everything of their size.
    pub logits: usize,
    /// The weights and caches of both models while texts are written.
    pub rollouts: usize,
}

impl StepTraffic {
    /// The traffic of a step of a run on micro-batches of these sizes. The arguments are those of
    /// [`MemoryPlan::new`](crate::MemoryPlan::new).
    pub(crate) fn new(
        config: &TrainerConfig,
        student: &PlannedModel,
        teacher: Option<(&PlannedModel, &RolloutConfig)>,
        batches: &[BatchShape],
    ) -> Self {
        let micro_batches = config.workers.max(1) * config.accumulate.max(1);
        let of_batches = |numbers: &dyn Fn(&BatchShape) -> usize| {
            let sum: usize = batches.iter().map(numbers).sum();
            micro_batches * F32 * sum / batches.len().max(1)
        };
        let trained = F32 * student.trained;
        // With gradient checkpointing there are two forward passes.
        let passes = 2 + usize::from(config.checkpoints_gradients());
        let tensors = LOGIT_TENSORS[usize::from(teacher.is_some())];
        let kept = |&BatchShape { rows, source, target }: &BatchShape| {
            student.footprint.activations(rows, source, target, config.dropout)
        };
        Self {
            // A gradient is written, and added to the sum of the others.
            student: micro_batches * (passes * student.bytes + 3 * trained),
            teacher: teacher.map_or(0, |(teacher, _)| micro_batches * teacher.bytes),
            // Reads weights, gradients and two moments, and writes all but the gradients.
            optimizer: 7 * trained,
            activations: 2 * of_batches(&kept),
            logits: 2 * of_batches(&|batch| tensors * student.vocab_size * batch.rows * batch.target),
            rollouts: teacher.map_or(0, |(teacher, rollout)| {
                let of_batch = |batch: &BatchShape| writing(student, teacher, rollout, batch) / F32;
                of_batches(&of_batch) / rollout.uses.max(1)
            }),
        }
    }

    /// The traffic of all parts, bytes.
    pub fn total(&self) -> usize {
        self.student + self.teacher + self.optimizer + self.activations + self.logits + self.rollouts
    }
}

/// The traffic of writing the texts of a micro-batch once, on the average of the sources of texts, bytes. Some text of a
/// batch asks for help at nearly every step, so that every step reads both models.
fn writing(
    student: &PlannedModel,
    teacher: &PlannedModel,
    rollout: &RolloutConfig,
    &BatchShape { rows, source, target }: &BatchShape,
) -> usize {
    let mixture = &rollout.mixture;
    // A step reads the caches of the prompt and of half the text.
    let step = |model: &PlannedModel| model.bytes + F32 * model.footprint.caches(rows, source, target.div_ceil(2));
    let steps = mixture.teacher_fraction * step(teacher) as f64
        + mixture.on_policy_fraction * (step(student) + step(teacher)) as f64;
    (target as f64 * steps / mixture.total()) as usize
}

impl fmt::Display for StepTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("student", self.student),
            ("teacher", self.teacher),
            ("optimizer", self.optimizer),
            ("activations", self.activations),
            ("logits", self.logits),
            ("rollouts", self.rollouts),
        ];
        write_table(f, &rows, ("total", self.total()))
    }
}

#[cfg(test)]
mod tests {
    use wheels_lm::T5Config;

    use super::*;
    use crate::Mixture;

    const BATCH: [BatchShape; 1] = [BatchShape { rows: 4, source: 10, target: 20 }];

    fn model(parameters: usize) -> PlannedModel {
        let config = T5Config { vocab_size: 1000, ..T5Config::default() };
        let footprint = config.footprint();
        PlannedModel { parameters, trained: parameters, vocab_size: 1000, bytes: 4 * parameters, footprint }
    }

    #[test]
    fn every_pass_over_the_weights_is_counted() {
        let (student, teacher) = (model(1000), model(5000));
        let rollout = RolloutConfig::new(10);
        let config = TrainerConfig::new(10).with_workers(2).with_accumulate(3);
        let references = rollout.clone().with_mixture(Mixture::references());
        let plan = StepTraffic::new(&config, &student, Some((&teacher, &references)), &BATCH);
        assert_eq!((plan.student, plan.teacher, plan.optimizer), (6 * 4000 * (2 + 3), 6 * 20_000, 7 * 4000));
        assert_eq!((plan.rollouts, plan.logits), (0, 6 * 4 * 2 * 7 * 1000 * 80));
        let checkpointed = config.clone().with_gradient_checkpointing(Some(true));
        let checkpointed = StepTraffic::new(&checkpointed, &student, Some((&teacher, &references)), &BATCH);
        assert_eq!(checkpointed.student - plan.student, 6 * 4000);
        // Half of the texts are the student's. Each of 20 steps reads 24,000 bytes of weights, besides the caches.
        let written = StepTraffic::new(&config, &student, Some((&teacher, &rollout)), &BATCH);
        let caches = 2 * 4 * student.footprint.caches(4, 10, 10);
        let expected = (6 * 20 * (24_000 + caches) / 2) as f64 / rollout.uses as f64;
        assert!((written.rollouts as f64 - expected).abs() < 30.0, "{} and {expected}", written.rollouts);
        let alone = StepTraffic::new(&config, &student, None, &BATCH);
        assert_eq!((alone.teacher, alone.rollouts), (0, 0));
        assert_eq!(alone.total(), alone.student + alone.optimizer + alone.activations + alone.logits);
    }
}
