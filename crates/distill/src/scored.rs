//! A batch that is scored with teacher forcing.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use wheels_lm::{LanguageModel, LmOutput, TokenBatch};
use wheels_student::{Student, Values};

use crate::rollout::MIN_LOG_PROB;
use crate::{RolloutRow, TeacherTargets, TrainingBatch};

/// A batch scored with teacher forcing: the student's logits and values, and the teacher's log-probs, at every position
/// of the targets.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The student's logits, `[batch, time, vocab]`. They track gradients if the student does.
    pub logits: Tensor<3>,
    /// V and V_C. They track gradients if the student does. None for a student without heads.
    pub values: Option<Values>,
    /// The prices of the [`PricePrompts`](crate::PricePrompts). None if the batch has no such prompts or the student
    /// has no heads.
    pub price_targets: Option<PriceTargets>,
    /// The token to write at each position, `[batch, time]`; not tracked.
    pub targets: Tensor<2, Int>,
    /// 1 at a target and 0 at padding, `[batch, time]`; not tracked.
    pub mask: Tensor<2>,
    /// The teacher's targets. None in supervised training.
    pub teacher: Option<TeacherTensors>,
    /// The same batch, scored by a target network; not tracked. None without a target network.
    pub target_network: Option<Box<Scored>>,
}

/// Predicted and true prices of some prompts, nats, `[prompts, 1]` each.
#[derive(Clone, Debug)]
pub struct PriceTargets {
    /// The price that the student predicts from the prompt. It tracks gradients if the student does.
    pub predicted: Tensor<2>,
    /// The price of the budget that the prompt states; not tracked.
    pub price: Tensor<2>,
}

/// [`TeacherTargets`] as tensors, none of which is tracked.
#[derive(Clone, Debug)]
pub struct TeacherTensors {
    /// The teacher's log-probabilities, nats, `[batch, time, vocab]`.
    pub log_probs: Tensor<3>,
    /// The column of the student's help token. None for a student that does not ask.
    pub help_token: Option<usize>,
    /// 1 if the teacher chose the token, and 0 otherwise, `[batch, time]`.
    pub helped: Tensor<2>,
    /// The price of help, nats, `[batch, 1]`.
    pub price: Tensor<2>,
    /// 1 in rows that the student wrote greedily, as it will be deployed, and 0 in others, `[batch, 1]`.
    pub deployed: Tensor<2>,
    /// 1 in rows that end with the end-of-text token, after which there is no more reward; 0 in others, `[batch, 1]`.
    pub ended: Tensor<2>,
}

impl Scored {
    /// Scores the targets of a batch in one forward pass.
    pub fn new<M: Module + LanguageModel>(student: &Student<M>, batch: &TrainingBatch) -> Self {
        let inputs = batch.decoder_inputs.as_ref().unwrap_or(&batch.targets);
        let output = teacher_forced(student, &batch.prompts, inputs);
        let plain = LanguageModel::device(student).without_autodiff();
        let (rows, width) = (batch.targets.rows(), batch.targets.width());
        let inside = batch.targets.lengths().iter().flat_map(|&length| (0..width).map(move |t| t < length));
        let price_prompts = batch.teacher.as_ref().and_then(|teacher| teacher.price_prompts.as_ref());
        let price_targets = price_prompts.and_then(|given| {
            let predicted = student.prices(&given.prompts)?;
            let price = TensorData::new(given.prices.clone(), [given.prices.len(), 1]);
            Some(PriceTargets { predicted, price: Tensor::from_data(price, &plain) })
        });
        let vocab_size = student.spec().vocab_size;
        Self {
            values: student.values(&output.hidden, [rows, width]),
            price_targets,
            logits: output.logits,
            targets: batch.targets.tensor(&plain),
            mask: flags(inside, [rows, width], &plain),
            teacher: batch.teacher.as_ref().map(|teacher| TeacherTensors::new(teacher, vocab_size, &plain)),
            target_network: None,
        }
    }
}

impl TeacherTensors {
    /// The tensors for a student whose vocabulary has `vocab_size` columns. Columns that the teacher lacks get the
    /// lowest log-prob, and columns that the student lacks are dropped.
    fn new(teacher: &TeacherTargets, vocab_size: usize, device: &Device) -> Self {
        let [rows, width, columns] = teacher.shape();
        let mut log_probs = Tensor::<3>::from_data(teacher.log_probs.clone(), (device, DType::F32));
        if columns < vocab_size {
            let missing = Tensor::full([rows, width, vocab_size - columns], MIN_LOG_PROB, device);
            log_probs = Tensor::cat(vec![log_probs, missing], 2);
        } else if columns > vocab_size {
            log_probs = log_probs.narrow(2, 0, vocab_size);
        }
        let column = |of: fn(&RolloutRow) -> f32| {
            let values: Vec<f32> = teacher.rows.iter().map(of).collect();
            Tensor::from_data(TensorData::new(values, [rows, 1]), device)
        };
        let helped = teacher.rows.iter().flat_map(|row| {
            let rest = std::iter::repeat_n(false, width - row.helped.len());
            row.helped.iter().copied().chain(rest)
        });
        Self {
            log_probs,
            help_token: teacher.help_token.map(|token| token as usize),
            helped: flags(helped, [rows, width], device),
            price: column(|row| row.price),
            deployed: column(|row| f32::from(u8::from(row.deployed))),
            ended: column(|row| f32::from(u8::from(row.ended))),
        }
    }
}

/// The output of a model at every position of the given texts. Each row reads its start token and then its text without
/// the last token.
///
/// # Panics
/// If a text is empty.
pub(crate) fn teacher_forced<M: LanguageModel + ?Sized>(
    model: &M,
    prompts: &TokenBatch,
    texts: &TokenBatch,
) -> LmOutput {
    let mut context = model.prefill(prompts, 0);
    let mut inputs = Vec::with_capacity(texts.rows());
    for (row, start) in context.starts().into_iter().enumerate() {
        let text = texts.row(row);
        inputs.push([&[start], &text[..text.len() - 1]].concat());
    }
    model.forward(&TokenBatch::new(&inputs, model.spec().pad), &mut context)
}

fn flags(flags: impl Iterator<Item = bool>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = flags.map(|flag| f32::from(u8::from(flag))).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
