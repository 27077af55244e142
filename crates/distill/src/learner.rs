//! What training asks of a model.

use burn::module::Module;
use burn::tensor::Tensor;
use wheels_lm::{LanguageModel, Pretrained, Student, T5, TabularLm, TokenBatch, Values};

/// A model that can be trained: it gives logits, and perhaps values read from its hidden states.
pub trait Learner: LanguageModel {
    /// The values read from last hidden states; none for a plain language model.
    ///
    /// # Shapes
    /// `[batch, time, width]` to `[batch, time]` each.
    fn values(&self, hidden: &Tensor<3>) -> Option<Values> {
        let _ = hidden;
        None
    }

    /// What help costs by each prompt's words, nats, `[batch, 1]`; none for a plain language model.
    fn prices(&self, prompts: &TokenBatch) -> Option<Tensor<2>> {
        let _ = prompts;
        None
    }
}

impl Learner for Pretrained {}
impl Learner for T5 {}
impl Learner for TabularLm {}

impl<M: Module + LanguageModel> Learner for Student<M> {
    fn values(&self, hidden: &Tensor<3>) -> Option<Values> {
        Student::values(self, hidden)
    }

    fn prices(&self, prompts: &TokenBatch) -> Option<Tensor<2>> {
        Student::prices(self, prompts)
    }
}
