//! A tiny student, its teacher and their data.
#![allow(dead_code)]

use std::borrow::Cow;
use std::sync::LazyLock;

use burn::module::Module;
use burn::tensor::Device;
use wheels_distill::{
    ConstraintConfig, DistillError, PromptSource, RolloutConfig, RolloutSampler, Rollouts, TokenPair, TokenPairs,
};
use wheels_lm::{T5, T5Config};
use wheels_student::{Student, StudentConfig};
use wheels_text::{HelpBudget, Prompt};

/// The size of the student's vocabulary. Token 0 is padding, and token 1 ends a text.
pub(crate) const VOCAB: u32 = 24;

/// The help token, the last one of the vocabulary.
pub(crate) const HELP: u32 = VOCAB - 1;

/// Pairs of texts. The prompt of a pair starts with one token that states the budget.
pub(crate) struct Pairs(pub(crate) Vec<TokenPair>);

impl TokenPairs for Pairs {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn lengths(&self, index: usize) -> (usize, usize) {
        self.0.lengths(index)
    }

    fn pair(&self, index: usize) -> Result<Cow<'_, TokenPair>, DistillError> {
        self.0.pair(index)
    }
}

impl PromptSource for Pairs {
    fn prompt(&self, index: usize, budget: HelpBudget, _wording: usize) -> Result<Prompt, DistillError> {
        let expert = self.0[index].source.clone();
        let budget_token = match budget {
            HelpBudget::Percent(percent) => 2 + u32::from(percent) / 10,
            HelpBudget::Tokens(tokens) => 13 + tokens.min(5),
        };
        Ok(Prompt { student: [&[budget_token], expert.as_slice()].concat(), expert, budget })
    }
}

/// Forty pairs without the help token.
pub(crate) static PAIRS: LazyLock<Pairs> = LazyLock::new(|| {
    let token = |i: u32| 2 + i % (HELP - 2);
    let text = |seed: u32, length: u32| (0..length).map(|t| token(seed * 7 + t * 3)).chain([1]).collect();
    Pairs((0..40).map(|i| TokenPair { source: text(i, 3 + i % 4), target: text(i + 1, 2 + i % 5) }).collect())
});

/// Models with random weights.
pub(crate) struct Models {
    /// A student with heads. It tracks gradients.
    pub(crate) student: Student<T5>,
    /// A teacher with the student's vocabulary.
    pub(crate) teacher: T5,
}

/// The models of all tests. They are drawn once: the process has one random generator for weights, and tests that run
/// in parallel would draw from it in any order.
pub(crate) static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let tracked = Device::flex().autodiff();
    tracked.seed(15);
    let student = Student::new(model(VOCAB, &tracked)).with_heads(&StudentConfig::new(), HELP);
    // Burn draws weights when they are first read. Before that, a weight that is set in one clone is set in all.
    let _ = student.valid();
    Models { student, teacher: model(VOCAB, &Device::flex()) }
});

/// A model with random weights, which are drawn at once.
pub(crate) fn model(vocab_size: u32, device: &Device) -> T5 {
    let config = T5Config {
        vocab_size: vocab_size as usize,
        d_model: 8,
        d_kv: 4,
        d_ff: 16,
        num_layers: 1,
        num_heads: 2,
        initializer_factor: 0.3,
        ..T5Config::default()
    };
    let model = config.init(device);
    let _ = model.valid();
    model
}

/// The rollouts of a run of 12 steps. Prices are frozen for the first two steps.
pub(crate) fn rollout_config() -> RolloutConfig {
    RolloutConfig::new(12)
        .with_batch_tokens(120)
        .with_constraint(ConstraintConfig::new().with_frozen_steps(2).with_evidence(1.0))
}

/// A sampler in which the student asks `teacher`.
pub(crate) fn sampler(config: RolloutConfig, teacher: &T5) -> RolloutSampler<'_, T5> {
    RolloutSampler::new(config, &*PAIRS, teacher, Some(HELP), vec![0, HELP])
}

/// Rollouts in which the student asks its own teacher.
pub(crate) fn rollouts(config: RolloutConfig) -> Rollouts<'static, T5> {
    Rollouts::new(sampler(config, &MODELS.teacher)).expect("the pairs fit")
}
