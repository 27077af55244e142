//! The heads of a student, beside the base model: divergence, price and values.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, IndexingUpdateOp, Tensor};
use wheels_lm::{Hidden, ModelSpec};

use crate::price_head::PriceHead;
use crate::{Mlp, StudentConfig};

/// Added to a logit or score to mask it. After the softmax, its probability is 0 in every float format.
pub(crate) const MASKED: f32 = -3.0e4;

/// The column of a student's [`Hidden::features`] with the price of help, nats.
pub(crate) const PRICE: usize = 0;
/// The column with the repetition at the end of the text, 0 to 1.
const REPETITION: usize = 1;

/// The number of inputs of the help head behind the hidden state: the maximum log-prob, the entropy, the repetition, and the
/// difference of the two largest logits.
pub const HELP_FACTS: usize = 4;

/// The heads of a student. Their field names are the tensor names in heads.safetensors.
#[derive(Module, Debug)]
pub(crate) struct Heads {
    /// The help head: D, nats.
    pub(crate) distance: Mlp,
    pub(crate) price: PriceHead,
    /// V and V_C; see [`Values`].
    pub(crate) values: Mlp,
    #[module(skip)]
    config: StudentConfig,
    /// The column of the help token.
    #[module(skip)]
    help_token: usize,
}

/// Predictions about the rest of a text, from each position on.
#[derive(Clone, Debug)]
pub struct Values {
    /// V, the entropy-regularised return from this position on, nats, `[batch, time]`.
    pub value: Tensor<2>,
    /// V_C, the number of helped tokens from this position on, `[batch, time]`.
    pub cost: Tensor<2>,
}

/// What the logits of the words say at each position, `[positions, 1]` each; no tensor tracks gradients.
struct WordFacts {
    best: Tensor<2>,
    second: Tensor<2>,
    /// The log-sum-exp.
    normaliser: Tensor<2>,
    /// Nats.
    entropy: Tensor<2>,
}

impl Heads {
    pub(crate) fn init(config: &StudentConfig, spec: &ModelSpec, help_token: u32, device: &Device) -> Self {
        let StudentConfig { hidden_width, .. } = *config;
        Self {
            distance: Mlp::new(spec.d_model + HELP_FACTS, hidden_width, 1, device),
            price: PriceHead::init(config, spec.vocab_size, device),
            values: Mlp::new(spec.d_model + 2, hidden_width, 2, device),
            config: config.clone(),
            help_token: help_token as usize,
        }
    }

    pub(crate) fn config(&self) -> &StudentConfig {
        &self.config
    }

    /// Replaces the logit of the help token by `logsumexp(other logits) + z`. Here `z = D - price` is the log-odds of
    /// asking. The gradient of the help logit flows only into `z`.
    ///
    /// # Shapes
    /// `logits` and the result: `[positions, vocab]`.
    pub(crate) fn add_help_logit(&self, hidden: &Hidden, logits: Tensor<2>) -> Tensor<2> {
        let (positions, is_autodiff) = (logits.dims()[0], logits.device().is_autodiff());
        let facts = self.word_facts(logits.clone().without_autodiff());
        let tracked = |fact: Tensor<2>| if is_autodiff { Tensor::from_inner(fact) } else { fact };
        let normaliser = tracked(facts.normaliser.clone());

        let states = scaled_gradient(hidden.states(), self.config.gradient_scale);
        let seen = help_inputs(states, features(hidden), facts.seen().map(tracked));
        let log_odds = self.distance.forward(seen) - features(hidden).narrow(1, PRICE, 1);
        let column = [0..positions, self.help_token..self.help_token + 1];
        // Nobody else holds the logits, so that they are changed in place.
        logits.slice_assign(column, normaliser + log_odds)
    }

    /// What the help head reads at each position, without gradients, `[positions, d_model + HELP_FACTS]`.
    ///
    /// # Shapes
    /// `logits`: `[positions, vocab]`.
    pub(crate) fn help_inputs(&self, hidden: &Hidden, logits: Tensor<2>) -> Tensor<2> {
        let plain = Tensor::without_autodiff;
        help_inputs(plain(hidden.states()), plain(features(hidden)), self.word_facts(plain(logits)).seen())
    }

    /// The facts of the words, without the help token.
    ///
    /// # Shapes
    /// `logits`: `[positions, vocab]`.
    fn word_facts(&self, logits: Tensor<2>) -> WordFacts {
        #[cfg(feature = "cpu")]
        if let Some(facts) = wheels_cpu::row_facts(&logits, Some(self.help_token)) {
            let wheels_cpu::RowFacts { best, second, normaliser, entropy } = facts;
            return WordFacts { best, second, normaliser, entropy };
        }
        let positions = logits.dims()[0];
        let masked = Tensor::<2>::full([positions, 1], MASKED, &logits.device());
        let words = logits.slice_assign([0..positions, self.help_token..self.help_token + 1], masked.clone());
        let log_probs = log_softmax(words.clone(), 1);
        let max_log_prob = log_probs.clone().max_dim(1);
        let entropy = (log_probs.clone().exp() * log_probs).sum_dim(1).neg();
        let (best, at) = words.clone().max_dim_with_indices(1);
        let second = words.scatter(1, at, masked, IndexingUpdateOp::Add).max_dim(1);
        WordFacts { normaliser: best.clone() - max_log_prob, best, second, entropy }
    }

    /// V and V_C at the positions of a grid `[batch, time]`, row after row.
    pub(crate) fn values(&self, hidden: &Hidden, grid: [usize; 2]) -> Values {
        let values = self.values.forward(Tensor::cat(vec![hidden.states(), features(hidden)], 1));
        let [value, cost] = [0, 1].map(|column| values.clone().narrow(1, column, 1).reshape(grid));
        Values { value, cost }
    }
}

impl WordFacts {
    /// The maximum log-prob, the entropy, and the difference of the two largest logits.
    fn seen(self) -> [Tensor<2>; 3] {
        let Self { best, second, normaliser, entropy } = self;
        [best.clone() - normaliser, entropy, best - second]
    }
}

/// The inputs of the help head, side by side.
fn help_inputs(states: Tensor<2>, features: Tensor<2>, [max_log_prob, entropy, margin]: [Tensor<2>; 3]) -> Tensor<2> {
    let repetition = features.narrow(1, REPETITION, 1);
    Tensor::cat(vec![states, max_log_prob, entropy, repetition, margin], 1)
}

fn features(hidden: &Hidden) -> Tensor<2> {
    hidden.features().expect("a student's hidden states carry its features")
}

/// The same tensor, whose gradient is multiplied by `scale`.
fn scaled_gradient(x: Tensor<2>, scale: f64) -> Tensor<2> {
    x.clone() * scale + x.detach() * (1.0 - scale)
}
