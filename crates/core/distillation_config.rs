//! The configuration of a distillation.

use burn::config::Config;
use wheels_distill::{Decay, HelpHeadConfig, PriceFitConfig, RolloutConfig, TrainerConfig};
use wheels_lm::LoraConfig;
use wheels_student::StudentConfig;

use crate::CalibrationConfig;

/// The configuration of a [`Distillation`](crate::Distillation). It is saved as distillation.json in the run's folder.
#[derive(Config, Debug)]
pub struct DistillationConfig {
    /// The optimizer and its schedule. 0 workers (the default) stands for one per core on the CPU, and for one on other
    /// devices. A resumed run keeps the number that it was started with.
    #[config(
        default = "TrainerConfig::new(2_000).with_workers(0).with_learning_rate(1e-3).with_warmup_steps(100).with_decay(Decay::Linear).with_checkpoint_every(100).with_validate_every(250)"
    )]
    pub trainer: TrainerConfig,
    /// The mixture of texts to train on, and how the prices of help are found.
    #[config(default = "RolloutConfig::new(2_000)")]
    pub rollout: RolloutConfig,
    /// The sizes of the heads of a student that has none yet. `budget_tokens` grows to the end of the budget in the
    /// prompts.
    #[config(default = "StudentConfig::new()")]
    pub student: StudentConfig,
    /// The largest number of tokens on either side of a pair. Longer pairs are left out.
    #[config(default = 128)]
    pub max_tokens: usize,
    /// The number of texts that each validation decodes.
    #[config(default = 100)]
    pub valid_texts: usize,
    /// The budget in each validation, percent of the tokens.
    #[config(default = 20)]
    pub valid_budget: u8,
    /// The budgets in the report at the end, percent of the tokens.
    #[config(default = "vec![0, 5, 10, 20, 30, 50]")]
    pub report_budgets: Vec<u8>,
    /// How the help head is fitted to the finished student, before the prices are found. The better head on held-out texts is
    /// kept. None fits it if only the heads are trained, with the default configuration: a model that is trained with its
    /// heads learns hidden states that say when to ask. With prices of 0 texts it is never fitted.
    pub help_head: Option<HelpHeadConfig>,
    /// The prices of help at the end, from the validation texts. They are found before the calibration. The steps for the price
    /// head are at most ten times those of the run, unless the run has none.
    #[config(default = "PriceFitConfig::new()")]
    pub prices: PriceFitConfig,
    /// The calibration at the end.
    #[config(default = "CalibrationConfig::new()")]
    pub calibration: CalibrationConfig,
    /// Whether only the heads are trained, with the language model frozen.
    #[config(default = false)]
    pub heads_only: bool,
    /// The adapters to train instead of the weights of the student's language model, which are then frozen. None trains
    /// the weights, or the adapters of a student that has some. Dropout of adapters also turns on `trainer.dropout`.
    pub lora: Option<LoraConfig>,
    /// Whether the weights are saved in half precision.
    #[config(default = false)]
    pub half_precision: bool,
}

impl DistillationConfig {
    /// The same configuration with another number of optimizer steps. The warm-up of a new run takes at most a fifth of
    /// them, and a run that goes on keeps the warm-up that it was started with.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.trainer.steps = steps;
        self.rollout.steps = steps;
        self.trainer.warmup_steps = self.trainer.warmup_steps.min(steps / 5);
        self
    }
}
