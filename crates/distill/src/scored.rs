//! A batch under teacher forcing: what the model says of given targets.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use wheels_lm::{LanguageModel, LmOutput, TokenBatch, Values};

use crate::{Guidance, Learner, TrainingBatch};

/// What a model says at every position of a batch of targets, beside what its teacher says.
#[derive(Clone, Debug)]
pub struct Scored {
    /// `[batch, time, vocab]`; tracks gradients where the model does.
    pub logits: Tensor<3>,
    /// The last hidden states, `[batch, time, width]`; tracked likewise.
    pub hidden: Tensor<3>,
    /// The model's values, which track gradients where it does; none for a plain language model.
    pub values: Option<Values>,
    /// What the model reads in the prompts of a [`Rehearsal`](crate::Rehearsal); none where there is none.
    pub priced: Option<Priced>,
    /// The token to be written at each position, `[batch, time]`; not tracked.
    pub targets: Tensor<2, Int>,
    /// 1 at a target, 0 at padding, `[batch, time]`; not tracked.
    pub mask: Tensor<2>,
    /// What the teacher says; none in supervised training.
    pub guided: Option<Guided>,
    /// The same batch as a target network scores it, not tracked; none where there is no such network.
    pub target: Option<Box<Scored>>,
}

/// What help costs under some budgets, nats, `[prompts, 1]` each.
#[derive(Clone, Debug)]
pub struct Priced {
    /// As the model reads it in their words; tracks gradients where the model does.
    pub said: Tensor<2>,
    /// As it is; not tracked.
    pub price: Tensor<2>,
}

/// A [`Guidance`] as tensors, none of them tracked.
#[derive(Clone, Debug)]
pub struct Guided {
    /// The teacher's log-probabilities, nats, `[batch, time, vocab]`.
    pub teacher: Tensor<3>,
    /// The student's help token, a column of the vocabulary that is no word.
    pub help: Option<usize>,
    /// 1 where the token was the teacher's, `[batch, time]`.
    pub helped: Tensor<2>,
    /// What help costs, nats, `[batch, 1]`.
    pub price: Tensor<2>,
    /// 1 in rows that the student wrote under the deployed rule, `[batch, 1]`.
    pub deployed: Tensor<2>,
    /// 1 in rows that end with an end mark, and so have no return after their last token, `[batch, 1]`.
    pub ended: Tensor<2>,
}

impl Scored {
    /// Scores the targets of a batch in one forward pass.
    pub fn new<M: Learner + ?Sized>(model: &M, batch: &TrainingBatch) -> Self {
        let output = forced(model, &batch.prompts, batch.read.as_ref().unwrap_or(&batch.targets));
        let plain = model.device().without_autodiff();
        let (rows, width) = (batch.targets.rows(), batch.targets.width());
        let inside = batch.targets.lengths().iter().flat_map(|&length| (0..width).map(move |t| t < length));
        let rehearsal = batch.guidance.as_ref().and_then(|guidance| guidance.rehearsal.as_ref());
        let priced = rehearsal.and_then(|rehearsal| {
            let said = model.prices(&rehearsal.prompts)?;
            let price = TensorData::new(rehearsal.prices.clone(), [rehearsal.prices.len(), 1]);
            Some(Priced { said, price: Tensor::from_data(price, &plain) })
        });
        Self {
            values: model.values(&output.hidden),
            priced,
            logits: output.logits,
            hidden: output.hidden,
            targets: batch.targets.tensor(&plain),
            mask: flags(inside, [rows, width], &plain),
            guided: batch.guidance.as_ref().map(|guidance| Guided::new(guidance, &plain)),
            target: None,
        }
    }
}

impl Guided {
    fn new(guidance: &Guidance, device: &Device) -> Self {
        let [rows, width, _] = guidance.shape();
        let column = |of: fn(&crate::GuidedRow) -> f32| {
            let values: Vec<f32> = guidance.rows.iter().map(of).collect();
            Tensor::from_data(TensorData::new(values, [rows, 1]), device)
        };
        let helped = guidance.rows.iter().flat_map(|row| {
            let rest = std::iter::repeat_n(false, width - row.helped.len());
            row.helped.iter().copied().chain(rest)
        });
        Self {
            teacher: Tensor::from_data(guidance.teacher.clone(), (device, DType::F32)),
            help: guidance.help.map(|token| token as usize),
            helped: flags(helped, [rows, width], device),
            price: column(|row| row.price),
            deployed: column(|row| f32::from(u8::from(row.deployed))),
            ended: column(|row| f32::from(u8::from(row.ended))),
        }
    }
}

/// What a model says while it is made to write texts: it reads the start of each row, and its text but the last token.
pub(crate) fn forced<M: LanguageModel + ?Sized>(model: &M, prompts: &TokenBatch, texts: &TokenBatch) -> LmOutput {
    let mut context = model.prefill(prompts, 0);
    let row = |(row, &start): (usize, &u32)| {
        let text = texts.row(row);
        std::iter::once(start).chain(text[..text.len() - 1].iter().copied()).collect::<Vec<u32>>()
    };
    let inputs: Vec<_> = context.starts().iter().enumerate().map(row).collect();
    model.forward(&TokenBatch::new(&inputs, model.spec().pad), &mut context)
}

fn flags(flags: impl Iterator<Item = bool>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = flags.map(|flag| f32::from(u8::from(flag))).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
