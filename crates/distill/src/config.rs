//! What a training run is told.

use burn::config::Config;
use wheels_text::HelpBudget;

use crate::{ConstraintConfig, Mixture};

/// Configuration of a [`Trainer`](crate::Trainer): the same values on the same data give the same weights.
#[derive(Config, Debug, PartialEq)]
pub struct TrainerConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Micro-batches that each worker adds up before a step.
    #[config(default = 1)]
    pub accumulate: usize,
    /// Micro-batches computed side by side, each on one thread. On the CPU the number of cores is best; on a GPU, 1.
    #[config(default = 1)]
    pub workers: usize,
    /// Largest learning rate of the schedule.
    #[config(default = 2e-3)]
    pub learning_rate: f64,
    /// Steps in which the learning rate rises from 0.
    #[config(default = 400)]
    pub warmup_steps: usize,
    /// What the learning rate does after that.
    #[config(default = "Decay::InverseSqrt")]
    pub decay: Decay,
    /// AdamW's decoupled weight decay.
    #[config(default = 0.01)]
    pub weight_decay: f32,
    /// Largest norm of the gradient of all weights together.
    #[config(default = 1.0)]
    pub clip_norm: f64,
    /// What a target network keeps of itself at each step: it follows the weights by an exponential mean, and the values
    /// at the ends of paths are read from it. None trains without one.
    pub target_decay: Option<f64>,
    /// Steps between checkpoints.
    #[config(default = 200)]
    pub checkpoint_every: usize,
    /// Steps between validations.
    #[config(default = 500)]
    pub validate_every: usize,
    /// Validations without a better score after which training stops; 0 never stops early.
    #[config(default = 0)]
    pub patience: usize,
}

/// The learning rate after warm-up, as a share of the largest.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Decay {
    /// It stays.
    Constant,
    /// `sqrt(warmup / step)` (Vaswani et al. 2017, arXiv 1706.03762, equation 3).
    InverseSqrt,
    /// Falls in a straight line to 0 at the last step.
    Linear,
    /// Falls along half a cosine to 0 at the last step.
    Cosine,
}

impl TrainerConfig {
    /// The learning rate of a step, counted from 1.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let warmup = self.warmup_steps.max(1);
        if step < warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / self.steps.saturating_sub(warmup).max(1) as f64;
        self.learning_rate
            * match self.decay {
                Decay::Constant => 1.0,
                Decay::InverseSqrt => (warmup as f64 / step as f64).sqrt(),
                Decay::Linear => (1.0 - done).max(0.0),
                Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()),
            }
    }
}

/// Configuration of [`Practice`](crate::Practice).
#[derive(Config, Debug, PartialEq)]
pub struct PracticeConfig {
    /// Steps of the whole run, over which prices settle.
    pub steps: usize,
    /// Largest number of source plus target tokens in a micro-batch, padding counted, budgets not.
    #[config(default = 2048)]
    pub batch_tokens: usize,
    /// Whose texts are practised on.
    #[config(default = "Mixture::new()")]
    pub mixture: Mixture,
    /// The temperature of the teacher's law: below 1 it takes off the tail that label smoothing left.
    #[config(default = 0.7)]
    pub teacher_temperature: f64,
    /// How often a lesson is used, once when it is new and then from the replay buffer.
    #[config(default = 3)]
    pub uses: usize,
    /// The most bytes of lessons that are kept for replay.
    #[config(default = 134_217_728)]
    pub replay_bytes: usize,
    /// The wordings of budgets that are practised ([`HelpBudget::words`]): the others are left for tests.
    #[config(default = "(0..HelpBudget::WORDINGS).filter(|&way| way != HelpBudget::HELD_OUT_WORDING).collect()")]
    pub wordings: Vec<usize>,
    /// Percentages that are not practised: those too are left for tests.
    #[config(default = "vec![8, 25, 45]")]
    pub held_out: Vec<u8>,
    /// Further prompts for each micro-batch, from which a student learns only what their budgets cost
    /// ([`ConstrainedPath`](crate::objective::ConstrainedPath)).
    #[config(default = 192)]
    pub rehearsal: usize,
    /// Of so many tokens no sequence is written twice in a text, as where the student is to be used; 0 lets all come again.
    #[config(default = 0)]
    pub no_repeat_ngram_size: usize,
    /// The prices of help.
    #[config(default = "ConstraintConfig::new()")]
    pub constraint: ConstraintConfig,
    /// Seed of the order of the data, of budgets and of sampled texts.
    #[config(default = 7)]
    pub seed: u64,
}

#[cfg(test)]
mod tests {
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
}
