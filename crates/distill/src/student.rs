//! A language model that also says what is to come.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use wheels_lm::{Context, LanguageModel, ModelSpec, Pretrained, T5, TabularLm, TokenBatch};
use wheels_text::Prompt;

/// What training asks of a model: logits, and perhaps values read from its hidden states.
pub trait Learner: LanguageModel {
    /// The values read from last hidden states; none for a plain language model.
    ///
    /// # Shapes
    /// `[batch, time, d_model]` to `[batch, time]` each.
    fn values(&self, hidden: &Tensor<3>) -> Option<Values> {
        let _ = hidden;
        None
    }
}

impl Learner for Pretrained {}
impl Learner for T5 {}
impl Learner for TabularLm {}

/// The two values of a state.
#[derive(Clone, Debug)]
pub struct Values {
    /// V, the entropy-regularised return still to come, nats, `[batch, time]`.
    pub value: Tensor<2>,
    /// V_C, the helped tokens still to come, `[batch, time]`.
    pub cost: Tensor<2>,
}

/// A language model with two value heads on its last hidden state: V, and V_C for what help it will still use.
///
/// The heads begin at zero. They serve training and forecasts; decoding needs only the [`model`](Self::model), which
/// is an ordinary checkpoint.
#[derive(Module, Debug)]
pub struct Student<M: Module> {
    /// The language model.
    pub model: M,
    value: Linear,
    cost: Linear,
}

impl<M: Module + LanguageModel> Student<M> {
    /// Adds heads to a model whose hidden states are `width` wide.
    pub fn new(model: M, width: usize) -> Self {
        let device = model.device();
        let head = || LinearConfig::new(width, 1).with_initializer(Initializer::Zeros).init(&device);
        Self { value: head(), cost: head(), model }
    }

    /// The helped tokens that each prompt's text will use by its V_C, before its first token.
    pub fn forecast(&self, prompts: &[Prompt]) -> Vec<f64> {
        let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
        let mut context = self.prefill(&TokenBatch::new(&rows, self.spec().pad), 0);
        let output = self.forward(&TokenBatch::column(&context.starts()), &mut context);
        self.cost.forward(output.hidden).into_data().iter::<f64>().collect()
    }
}

impl<M: Module + LanguageModel> LanguageModel for Student<M> {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }

    fn device(&self) -> Device {
        <M as LanguageModel>::device(&self.model)
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        self.model.prefill(prompts, capacity)
    }

    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3> {
        self.model.hidden_rows(tokens, rows, context)
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.model.head(hidden)
    }
}

impl<M: Module + LanguageModel> Learner for Student<M> {
    fn values(&self, hidden: &Tensor<3>) -> Option<Values> {
        let read = |head: &Linear| head.forward(hidden.clone()).squeeze_dim::<2>(2);
        Some(Values { value: read(&self.value), cost: read(&self.cost) })
    }
}
