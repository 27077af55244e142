//! A run with all parts of the objective, and its reports.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use wheels_distill::objective::ConstrainedPath;
use wheels_distill::{StepReport, Trainer, TrainerConfig};
use wheels_lm::T5;
use wheels_student::Student;

use crate::support::{MODELS, rollout_config, rollouts};

/// A run of 12 steps with [`ConstrainedPath`].
pub(crate) struct Run {
    pub(crate) student: Student<T5>,
    pub(crate) target_decay: Option<f64>,
    /// The seed of dropout; None trains without dropout.
    pub(crate) dropout: Option<u64>,
}

static OBJECTIVE: LazyLock<ConstrainedPath> = LazyLock::new(ConstrainedPath::new);

impl Run {
    /// A run of the student with heads, without a target network.
    pub(crate) fn new() -> Self {
        Self { student: MODELS.student.clone(), target_decay: None, dropout: None }
    }

    /// Starts or resumes the run in `folder`, and trains up to step `last`. Returns the reports of these steps, without
    /// their durations, and the student.
    pub(crate) fn train_to(&self, last: usize, folder: &Path) -> (Vec<StepReport>, Student<T5>) {
        let config = TrainerConfig::new(12)
            .with_workers(2)
            .with_warmup_steps(2)
            .with_learning_rate(1e-2)
            .with_target_decay(self.target_decay)
            .with_dropout(self.dropout.is_some())
            .with_seed(self.dropout.unwrap_or_default())
            .with_checkpoint_every(1)
            .with_validate_every(usize::MAX);
        let (student, rollouts) = (self.student.clone(), rollouts(rollout_config()));
        let is_new = fs::read_dir(folder).expect("a folder").next().is_none();
        let mut trainer = if is_new {
            Trainer::new(config, &*OBJECTIVE, student, rollouts, folder).expect("a new run")
        } else {
            Trainer::resume(config, &*OBJECTIVE, student, rollouts, folder).expect("an earlier run")
        };
        let mut reports = Vec::new();
        while trainer.step() < last {
            let report = trainer.train_step().expect("finite numbers");
            trainer.save().expect("the disk has room");
            reports.push(StepReport { seconds: 0.0, ..report });
        }
        (reports, trainer.student())
    }
}
