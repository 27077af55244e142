//! A batch under teacher forcing: what the model says of given targets.

use burn::tensor::{Int, Tensor, TensorData};
use wheels_lm::{LanguageModel, TokenBatch};

use crate::TrainingBatch;

/// The model's logits at every position of a batch of targets.
#[derive(Clone, Debug)]
pub struct Scored {
    /// `[batch, time, vocab]`; tracks gradients where the model does.
    pub logits: Tensor<3>,
    /// The token to be written at each position, `[batch, time]`; not tracked.
    pub targets: Tensor<2, Int>,
    /// 1 at a target, 0 at padding, `[batch, time]`; not tracked.
    pub mask: Tensor<2>,
}

impl Scored {
    /// Scores the targets of a batch in one forward pass.
    pub fn new<M: LanguageModel>(model: &M, batch: &TrainingBatch) -> Self {
        let mut context = model.prefill(&batch.prompts, 0);
        let rows: Vec<Vec<u32>> = context
            .starts()
            .into_iter()
            .enumerate()
            .map(|(row, start)| {
                let target = batch.targets.row(row);
                std::iter::once(start).chain(target[..target.len() - 1].iter().copied()).collect()
            })
            .collect();
        let inputs = TokenBatch::new(&rows, model.spec().pad);
        let plain = model.device().without_autodiff();
        let mask: Vec<f32> = batch
            .targets
            .lengths()
            .iter()
            .flat_map(|&length| (0..batch.targets.width()).map(move |t| f32::from(u8::from(t < length))))
            .collect();
        Self {
            logits: model.forward(&inputs, &mut context).logits,
            targets: batch.targets.tensor(&plain),
            mask: Tensor::from_data(TensorData::new(mask, [batch.targets.rows(), batch.targets.width()]), &plain),
        }
    }
}
