//! Models for tests and benchmarks.

use burn::tensor::{Device, Tensor};

use crate::{Context, Hidden, LanguageModel, ModelSpec, Positions, TokenBatch};

/// A model that never ends a text, so that a benchmark always measures the same number of tokens.
///
/// Its logits are those of the wrapped model. Only the [`ModelSpec`] differs: the id of the end-of-text token is not in
/// any vocabulary.
#[derive(Clone, Debug)]
pub struct Endless<M> {
    model: M,
    spec: ModelSpec,
}

impl<M: LanguageModel> Endless<M> {
    /// Wraps a model.
    pub fn new(model: M) -> Self {
        let spec = ModelSpec { eos: vec![u32::MAX], ..model.spec().clone() };
        Self { model, spec }
    }
}

impl<M: LanguageModel> LanguageModel for Endless<M> {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        self.model.prefill(prompts, capacity)
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        self.model.hidden(tokens, rows, positions, context)
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        self.model.head(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TabularLm;

    #[test]
    fn an_endless_model_differs_only_in_its_end_of_text_token() {
        let model = TabularLm::from_logits(3, 1, (0..9).map(|logit| logit as f32).collect(), &Device::default());
        let endless = Endless::new(model.clone());
        assert_eq!(*endless.spec(), ModelSpec { eos: vec![u32::MAX], ..model.spec().clone() });
        let (prompts, text) = (TokenBatch::new(&[vec![2, 1]], 0), TokenBatch::new(&[vec![1, 0, 2]], 0));
        let logits =
            |model: &dyn LanguageModel| model.forward(&text, &mut model.prefill(&prompts, 4)).logits.into_data();
        assert_eq!(logits(&endless), logits(&model));
    }
}
