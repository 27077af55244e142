//! The heads of a student, beside the base model: divergence, price and values.

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, IndexingUpdateOp, Tensor};
use wheels_lm::{Hidden, ModelSpec};

use crate::StudentConfig;
use crate::price_head::PriceHead;

/// Added to a logit or score to mask it. After the softmax, its probability is 0 in every float format.
pub(crate) const MASKED: f32 = -3.0e4;

/// The column of a student's [`Hidden::features`] with the price of help, nats.
pub(crate) const PRICE: usize = 0;
/// The column with the repetition at the end of the text, 0 to 1.
const REPETITION: usize = 1;

/// The heads of a student. Their field names are the tensor names in heads.safetensors.
#[derive(Module, Debug)]
pub(crate) struct Heads {
    /// D, an estimate of the student's divergence from its teacher, nats.
    pub(crate) distance: Perceptron,
    pub(crate) price: PriceHead,
    /// V and V_C; see [`Values`].
    pub(crate) values: Perceptron,
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
            distance: Perceptron::init(spec.d_model + 4, hidden_width, 1, device),
            price: PriceHead::init(config, spec.vocab_size, device),
            values: Perceptron::init(spec.d_model + 2, hidden_width, 2, device),
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
        let WordFacts { best, second, normaliser, entropy } = self.word_facts(logits.clone().without_autodiff());
        let tracked = |fact: Tensor<2>| if is_autodiff { Tensor::from_inner(fact) } else { fact };
        let seen_facts = [best.clone() - normaliser.clone(), entropy, best - second].map(tracked);
        let [max_log_prob, entropy, margin] = seen_facts;

        let features = features(hidden);
        let states = scaled_gradient(hidden.states(), self.config.gradient_scale);
        let repetition = features.clone().narrow(1, REPETITION, 1);
        let seen = Tensor::cat(vec![states, max_log_prob, entropy, repetition, margin], 1);
        let log_odds = self.distance.forward(seen) - features.narrow(1, PRICE, 1);
        let column = [0..positions, self.help_token..self.help_token + 1];
        // Nobody else holds the logits, so that they are changed in place.
        logits.slice_assign(column, tracked(normaliser) + log_odds)
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

fn features(hidden: &Hidden) -> Tensor<2> {
    hidden.features().expect("a student's hidden states carry its features")
}

/// An MLP with one hidden layer. Its output is 0 until it is trained.
#[derive(Module, Debug)]
pub(crate) struct Perceptron {
    inner: Linear,
    pub(crate) outer: Linear,
}

impl Perceptron {
    pub(crate) fn init(d_input: usize, hidden_width: usize, d_output: usize, device: &Device) -> Self {
        Self {
            inner: LinearConfig::new(d_input, hidden_width).init(device),
            outer: LinearConfig::new(hidden_width, d_output).with_initializer(Initializer::Zeros).init(device),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.outer.forward(relu(self.inner.forward(x)))
    }
}

/// The same tensor, whose gradient is multiplied by `scale`.
fn scaled_gradient(x: Tensor<2>, scale: f64) -> Tensor<2> {
    x.clone() * scale + x.detach() * (1.0 - scale)
}
