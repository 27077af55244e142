//! The configuration of a training run.

use std::path::Path;

use burn::config::Config;
use wheels_text::HelpBudget;

use crate::checkpoint::Checkpoints;
use crate::price::{ConstraintConfig, check_levels};
use crate::rollout::Mixture;
use crate::{DistillError, FolderContent};

/// The default of [`TrainerConfig::logits_bytes`]: 64 MiB.
const LOGITS_BYTES: usize = 67_108_864;

/// The number of positions whose logits have at most the default of [`TrainerConfig::logits_bytes`].
pub(crate) fn default_positions(vocab_size: usize) -> usize {
    max_positions(LOGITS_BYTES, vocab_size)
}

fn max_positions(logits_bytes: usize, vocab_size: usize) -> usize {
    (logits_bytes / (4 * vocab_size)).max(1)
}

/// Configuration of a [`Trainer`](crate::Trainer). On the CPU, the same configuration and the same data give the same
/// weights, bit for bit.
#[derive(Config, Debug, PartialEq)]
pub struct TrainerConfig {
    /// The number of optimizer steps.
    pub steps: usize,
    /// The number of micro-batches that each worker computes in a step. Their gradients are added.
    #[config(default = 1)]
    pub accumulate: usize,
    /// The number of threads. Each computes micro-batches of its own. The best number on the CPU is the number of
    /// cores, and on a GPU 1.
    #[config(default = 1)]
    pub workers: usize,
    /// The largest size of one tensor of logits in training, `[positions, vocab]` in f32, bytes; None is 64 MiB.
    /// Micro-batches with more positions are computed in chunks, which takes less memory. On the CPU, chunks are smaller still,
    /// because that is faster. A worker needs about seven such tensors at once. The size is exceeded only by a single position, or by a single text if the objective
    /// depends on whole texts ([`LossScope`](crate::LossScope)).
    pub logits_bytes: Option<usize>,
    /// Whether each block of the student is computed again in the backward pass, and only the inputs of blocks are kept in the
    /// forward pass (gradient checkpointing); None is false. It takes less memory and about 1.4 times as long, and changes
    /// the gradients only by rounding. A model that does not implement
    /// [`with_gradient_checkpointing`](wheels_lm::LanguageModel::with_gradient_checkpointing) is trained without it.
    pub gradient_checkpointing: Option<bool>,
    /// The largest learning rate of the schedule.
    #[config(default = 2e-3)]
    pub learning_rate: f64,
    /// The number of steps in which the learning rate rises linearly from 0 to the largest.
    #[config(default = 400)]
    pub warmup_steps: usize,
    /// The learning rate after warm-up.
    #[config(default = "Decay::InverseSqrt")]
    pub decay: Decay,
    /// AdamW's decoupled weight decay.
    #[config(default = 0.01)]
    pub weight_decay: f32,
    /// AdamW's decay of the second moment.
    #[config(default = 0.98)]
    pub beta_2: f32,
    /// AdamW's epsilon.
    #[config(default = 1e-9)]
    pub epsilon: f32,
    /// The largest norm of the gradient over all weights together. A gradient with a larger norm is scaled down to this
    /// norm.
    #[config(default = 1.0)]
    pub clip_norm: f64,
    /// Whether the student trains with the dropout rates of its config. Its rollouts, its validations and the target
    /// network never use dropout.
    #[config(default = false)]
    pub dropout: bool,
    /// The seed of the dropout masks.
    #[config(default = 7)]
    pub seed: u64,
    /// The decay of a target network, such as 0.99; None trains without one. The target network is an exponential
    /// moving average of the weights. [`PathConsistency`](crate::objective::PathConsistency) reads the values at the
    /// ends of paths from it.
    pub target_decay: Option<f64>,
    /// The number of steps between checkpoints.
    #[config(default = 200)]
    pub checkpoint_every: usize,
    /// The number of steps between validations.
    #[config(default = 500)]
    pub validate_every: usize,
    /// Training stops after this number of validations in a row without a better score. 0 never stops early.
    #[config(default = 0)]
    pub patience: usize,
}

/// The learning rate after warm-up, as a fraction of the largest.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Decay {
    /// It stays the same.
    Constant,
    /// `sqrt(warmup / step)` (Vaswani et al. 2017, arXiv 1706.03762, equation 3).
    InverseSqrt,
    /// It falls linearly to 0 at the last step.
    Linear,
    /// It falls along half a cosine to 0 at the last step.
    Cosine,
}

impl Decay {
    /// Whether the learning rate depends on the number of steps of the whole run.
    pub(crate) fn depends_on_steps(self) -> bool {
        matches!(self, Self::Linear | Self::Cosine)
    }
}

impl TrainerConfig {
    /// The configuration of the run in a folder, from its last checkpoint. None if there is no checkpoint.
    ///
    /// A run can only be resumed with its own number of workers, also on a machine with more cores.
    ///
    /// # Errors
    /// [`DistillError::Io`] and [`DistillError::Checkpoint`] if the checkpoint cannot be read, and
    /// [`DistillError::NotAFolder`] or [`DistillError::NoRun`] if there is something that a run would replace.
    pub fn of_run(folder: impl AsRef<Path>) -> Result<Option<Self>, DistillError> {
        let folder = folder.as_ref();
        match FolderContent::of(folder)? {
            FolderContent::Free => Ok(None),
            FolderContent::File => Err(DistillError::NotAFolder { path: folder.into() }),
            FolderContent::Training | FolderContent::Distillation => Checkpoints::new(folder)?.last_config(),
            content => Err(DistillError::NoRun { folder: folder.into(), content }),
        }
    }

    /// Whether blocks are computed again in the backward pass.
    pub(crate) fn checkpoints_gradients(&self) -> bool {
        self.gradient_checkpointing.unwrap_or(false)
    }

    /// The largest number of positions in a chunk.
    pub(crate) fn max_positions(&self, vocab_size: usize) -> usize {
        max_positions(self.logits_bytes.unwrap_or(LOGITS_BYTES), vocab_size)
    }

    /// The learning rate of a step, counted from 1.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let warmup = self.warmup_steps.max(1);
        if step < warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / self.steps.saturating_sub(warmup).max(1) as f64;
        let fraction = match self.decay {
            Decay::Constant => 1.0,
            Decay::InverseSqrt => (warmup as f64 / step as f64).sqrt(),
            Decay::Linear => (1.0 - done).max(0.0),
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()),
        };
        self.learning_rate * fraction
    }
}

/// Configuration of [`Rollouts`](crate::Rollouts).
#[derive(Config, Debug, PartialEq)]
pub struct RolloutConfig {
    /// The number of steps of the whole run. The step size of dual ascent falls over these steps.
    pub steps: usize,
    /// The largest number of source and target tokens in a micro-batch, padding included. It counts the tokens of the
    /// training pairs, without the words that state budgets.
    #[config(default = 2048)]
    pub batch_tokens: usize,
    /// Who writes the texts.
    #[config(default = "Mixture::new()")]
    pub mixture: Mixture,
    /// The temperature of the teacher's distribution. A value below 1 shrinks the tail that label smoothing leaves.
    #[config(default = 0.7)]
    pub teacher_temperature: f64,
    /// The average number of times that a rollout is used: first when it is new, and later from the replay buffer.
    #[config(default = 3)]
    pub uses: usize,
    /// The largest size of the replay buffer, bytes. A rollout takes `d_model` numbers of the teacher in f32 for each
    /// position. If `d_model` is 192, the default holds about 20 micro-batches of the default size. A larger buffer has
    /// older texts, which the student would no longer write.
    #[config(default = 16_777_216)]
    pub replay_bytes: usize,
    /// The fraction of budgets that are a number of tokens, 0 to 1. The other budgets are percentages.
    #[config(default = "1.0 / 7.0")]
    pub token_budget_fraction: f64,
    /// The wordings in which prompts state budgets ([`HelpBudget::words`]), at least one. A wording that is not listed
    /// stays unseen, for tests.
    #[config(
        default = "(0..HelpBudget::WORDINGS).filter(|&wording| wording != HelpBudget::HELD_OUT_WORDING).collect()"
    )]
    pub wordings: Vec<usize>,
    /// Budgets, in percent, that are never drawn, so that tests have unseen ones.
    #[config(default = "vec![8, 25, 45]")]
    pub held_out: Vec<u8>,
    /// The number of extra prompts in a micro-batch that train only the price head
    /// ([`PricePrompts`](crate::PricePrompts)).
    #[config(default = 192)]
    pub price_prompts: usize,
    /// The length limit of a text as a ratio: the limit is this ratio times the length of the longest reference among
    /// the texts that are written together, plus `max_length_offset`.
    #[config(default = 2.0)]
    pub max_length_ratio: f64,
    /// The number of tokens that are added to the length limit; see `max_length_ratio`.
    #[config(default = 8)]
    pub max_length_offset: usize,
    /// Forbids repeated n-grams of this size in the texts; 0 disables the check. Use the value with which the student
    /// will be deployed.
    #[config(default = 0)]
    pub no_repeat_ngram_size: usize,
    /// The token with which every text begins, such as the language of a translation. None if there is none.
    pub forced_bos_token_id: Option<u32>,
    /// How the prices of help are found.
    #[config(default = "ConstraintConfig::new()")]
    pub constraint: ConstraintConfig,
    /// The seed for the order of the data, for budgets and for sampled texts.
    #[config(default = 7)]
    pub seed: u64,
}

/// [`DistillError::Fraction`] unless `value` is from 0 to 1.
pub(crate) fn check_fraction(setting: &'static str, value: f64) -> Result<(), DistillError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(DistillError::Fraction { setting, value, range: "from 0 to 1" })
}

impl RolloutConfig {
    /// Checks the budget levels, the wordings, the held-out budgets, and all fractions.
    pub(crate) fn check(&self) -> Result<(), DistillError> {
        check_levels(&self.constraint.levels)?;
        let can_state = !self.wordings.is_empty() && self.wordings.iter().all(|&index| index < HelpBudget::WORDINGS);
        if !can_state || (0..=100).all(|percent| self.held_out.contains(&percent)) {
            return Err(DistillError::NoBudget { last: HelpBudget::WORDINGS - 1 });
        }
        self.mixture.check()?;
        check_fraction("RolloutConfig::token_budget_fraction", self.token_budget_fraction)
    }

    /// The length limit of texts that are written together, tokens. `longest` is the number of tokens of their longest
    /// reference.
    pub(crate) fn max_new_tokens(&self, longest: usize) -> usize {
        (self.max_length_ratio * longest as f64) as usize + self.max_length_offset
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let config = TrainerConfig::new(100).with_warmup_steps(10).with_learning_rate(1.0);
        let rates = |decay| [5, 10, 40, 55, 100].map(|step| config.clone().with_decay(decay).learning_rate_at(step));
        assert_eq!(rates(Decay::Constant), [0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(rates(Decay::InverseSqrt)[..3], [0.5, 1.0, 0.5]);
        assert_eq!(rates(Decay::Linear)[3..], [0.5, 0.0]);
        assert!((rates(Decay::Cosine)[3] - 0.5).abs() < 1e-12 && rates(Decay::Cosine)[4].abs() < 1e-12);
    }

    #[test]
    fn files_of_earlier_versions_open() {
        let config = TrainerConfig::new(100);
        let mut json = serde_json::to_value(&config).unwrap();
        for field in ["logits_bytes", "gradient_checkpointing"] {
            json.as_object_mut().unwrap().remove(field).expect("a field of this version");
        }
        assert_eq!(TrainerConfig::load_binary(json.to_string().as_bytes()).unwrap(), config);
    }
}
