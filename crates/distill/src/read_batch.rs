//! A batch that its models have read, but whose logits are not computed yet.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use wheels_lm::{Hidden, LanguageModel, Positions, Tape, TokenBatch};
use wheels_student::Student;

use crate::objective::LossScope;
use crate::rollout::MIN_LOG_PROB;
use crate::{
    PriceTargets, RolloutRow, Scored, TeacherDistributions, TeacherHead, TeacherTargets, TeacherTensors, TrainingBatch,
};

/// The models that read and score a batch.
pub(crate) struct BatchModels<'m, M: Module> {
    pub(crate) student: &'m Student<M>,
    pub(crate) target_network: Option<&'m Student<M>>,
    pub(crate) teacher: Option<&'m dyn TeacherHead>,
}

/// A batch, or a chunk of one, with the last hidden states at every position of `[rows, width]`.
#[derive(Clone)]
pub(crate) struct ReadBatch<'b> {
    /// The student's hidden states, row after row. They track gradients if the student does.
    pub(crate) hidden: Hidden,
    /// Those of the target network.
    target_network: Option<Hidden>,
    targets: Tensor<2, Int>,
    mask: Tensor<2>,
    teacher: Option<TeacherRows<'b>>,
    price_targets: Option<PriceTargets>,
}

/// [`TeacherTensors`] without log-probs.
#[derive(Clone)]
struct TeacherRows<'b> {
    distributions: &'b TeacherDistributions,
    /// The index of the first position among those of the distributions.
    start: usize,
    help_token: Option<usize>,
    /// `[rows, width]`.
    helped: Tensor<2>,
    /// `[rows, 1]`, as `deployed` and `ended`.
    price: Tensor<2>,
    deployed: Tensor<2>,
    ended: Tensor<2>,
}

impl<M: Module + LanguageModel> BatchModels<'_, M> {
    /// Reads a batch in one forward pass.
    pub(crate) fn read<'b>(&self, batch: &'b TrainingBatch) -> ReadBatch<'b> {
        self.read_with_tape(batch).0
    }

    /// As [`read`](Self::read), with the tape of a student with gradient checkpointing, to which the gradient of the hidden
    /// states is given.
    pub(crate) fn read_with_tape<'b>(&self, batch: &'b TrainingBatch) -> (ReadBatch<'b>, Option<Tape>) {
        let plain = LanguageModel::device(self.student).without_autodiff();
        let inputs = batch.decoder_inputs.as_ref().unwrap_or(&batch.targets);
        let (rows, width) = (batch.targets.rows(), batch.targets.width());
        let inside = batch.targets.lengths().iter().flat_map(|&length| (0..width).map(move |t| t < length));
        let price_prompts = batch.teacher.as_ref().and_then(|teacher| teacher.price_prompts.as_ref());
        let price_targets = price_prompts.and_then(|given| {
            let predicted = self.student.prices(&given.prompts)?;
            let price = TensorData::new(given.prices.clone(), [given.prices.len(), 1]);
            let price = Tensor::from_data(price, &plain);
            Some(PriceTargets { predicted, price, batch_tokens: batch.targets.tokens() })
        });
        let (hidden, tape) = teacher_forced_with_tape(self.student, &batch.prompts, inputs);
        let read = ReadBatch {
            hidden,
            target_network: self.target_network.map(|network| teacher_forced(network, &batch.prompts, inputs)),
            targets: batch.targets.tensor(&plain),
            mask: flags(inside, [rows, width], &plain),
            teacher: batch.teacher.as_ref().map(|teacher| TeacherRows::new(teacher, width, &plain)),
            price_targets,
        };
        (read, tape)
    }

    /// Computes the logits and log-probs.
    pub(crate) fn score(&self, batch: &ReadBatch<'_>) -> Scored {
        let [rows, width] = batch.mask.dims();
        let vocab_size = self.student.spec().vocab_size;
        let plain = LanguageModel::device(self.student).without_autodiff();
        let logits = |model: &Student<M>, hidden: &Hidden| model.head(hidden).reshape([rows, width, vocab_size]);
        let teacher = batch.teacher.as_ref().map(|given| given.tensors(self.teacher, vocab_size, &plain));
        let target_network = self.target_network.zip(batch.target_network.as_ref()).map(|(network, hidden)| {
            Box::new(Scored {
                logits: logits(network, hidden),
                values: network.values(hidden, [rows, width]),
                price_targets: None,
                targets: batch.targets.clone(),
                mask: batch.mask.clone(),
                teacher: teacher.clone(),
                target_network: None,
                batch_sums: None,
            })
        });
        Scored {
            logits: logits(self.student, &batch.hidden),
            values: self.student.values(&batch.hidden, [rows, width]),
            price_targets: batch.price_targets.clone(),
            targets: batch.targets.clone(),
            mask: batch.mask.clone(),
            teacher,
            target_network,
            batch_sums: None,
        }
    }
}

impl<'b> ReadBatch<'b> {
    /// The number of positions, padding included.
    pub(crate) fn positions(&self) -> usize {
        let [rows, width] = self.mask.dims();
        rows * width
    }

    /// Splits a batch into chunks of at most `max_positions` positions. A chunk has at least one part of the `scope`,
    /// and a batch that fits one chunk is returned as it is.
    pub(crate) fn chunks(&self, scope: LossScope, max_positions: usize) -> Vec<Self> {
        let [rows, width] = self.mask.dims();
        let whole = match scope {
            _ if rows * width <= max_positions => return vec![self.clone()],
            LossScope::Batch => return vec![self.clone()],
            LossScope::Position => self.with_rows_of_one_position(),
            LossScope::Text | LossScope::TextAndSums => self.clone(),
        };
        let [rows, width] = whole.mask.dims();
        let size = (max_positions / width).max(1);
        (0..rows).step_by(size).map(|start| whole.rows(start..rows.min(start + size))).collect()
    }

    /// The same batch without the graph of its hidden states and without price prompts.
    pub(crate) fn without_autodiff(&self) -> Self {
        let hidden = Hidden::new(self.hidden.states().without_autodiff());
        let hidden = match self.hidden.features() {
            Some(features) => hidden.with_features(features.without_autodiff()),
            None => hidden,
        };
        Self { hidden, price_targets: None, ..self.clone() }
    }

    /// Some of the rows.
    fn rows(&self, range: Range<usize>) -> Self {
        let [rows, width] = self.mask.dims();
        if range.len() == rows {
            return self.clone();
        }
        let narrow = |hidden: &Hidden| hidden.narrow(range.start * width, range.len() * width);
        Self {
            hidden: narrow(&self.hidden),
            target_network: self.target_network.as_ref().map(narrow),
            targets: self.targets.clone().narrow(0, range.start, range.len()),
            mask: self.mask.clone().narrow(0, range.start, range.len()),
            teacher: self.teacher.as_ref().map(|teacher| TeacherRows {
                start: teacher.start + range.start * width,
                ..teacher.map(|_, column| column.narrow(0, range.start, range.len()))
            }),
            price_targets: self.price_targets.clone().filter(|_| range.start == 0),
        }
    }

    /// The same positions, each in a row of its own.
    fn with_rows_of_one_position(&self) -> Self {
        let [_, width] = self.mask.dims();
        let teacher = self
            .teacher
            .as_ref()
            .map(|teacher| teacher.map(|columns, values| values.repeat_dim(1, width / columns).reshape([-1, 1])));
        Self {
            targets: self.targets.clone().reshape([-1, 1]),
            mask: self.mask.clone().reshape([-1, 1]),
            teacher,
            ..self.clone()
        }
    }
}

impl<'b> TeacherRows<'b> {
    fn new(teacher: &'b TeacherTargets, width: usize, device: &Device) -> Self {
        let rows = teacher.rows.len();
        let column = |of: fn(&RolloutRow) -> f32| {
            let values: Vec<f32> = teacher.rows.iter().map(of).collect();
            Tensor::from_data(TensorData::new(values, [rows, 1]), device)
        };
        let helped = teacher.rows.iter().flat_map(|row| {
            let rest = std::iter::repeat_n(false, width - row.helped.len());
            row.helped.iter().copied().chain(rest)
        });
        Self {
            distributions: &teacher.distributions,
            start: 0,
            help_token: teacher.help_token.map(|token| token as usize),
            helped: flags(helped, [rows, width], device),
            price: column(|row| row.price),
            deployed: column(|row| f32::from(u8::from(row.deployed))),
            ended: column(|row| f32::from(u8::from(row.ended))),
        }
    }

    /// The same rows with changed tensors. `change` gets the number of columns and the tensor.
    fn map(&self, change: impl Fn(usize, Tensor<2>) -> Tensor<2>) -> Self {
        let changed = |tensor: &Tensor<2>| change(tensor.dims()[1], tensor.clone());
        Self {
            helped: changed(&self.helped),
            price: changed(&self.price),
            deployed: changed(&self.deployed),
            ended: changed(&self.ended),
            ..self.clone()
        }
    }

    /// The tensors for a student whose vocabulary has `vocab_size` columns. Columns that the teacher lacks get the
    /// lowest log-prob, and columns that the student lacks are dropped.
    fn tensors(&self, head: Option<&dyn TeacherHead>, vocab_size: usize, device: &Device) -> TeacherTensors {
        let [rows, width] = self.helped.dims();
        let positions = self.start..self.start + rows * width;
        let mut log_probs = self.distributions.log_probs(positions, head, device);
        let [count, columns] = log_probs.dims();
        if columns < vocab_size {
            let missing = Tensor::full([count, vocab_size - columns], MIN_LOG_PROB, &log_probs.device());
            log_probs = Tensor::cat(vec![log_probs, missing], 1);
        } else if columns > vocab_size {
            log_probs = log_probs.narrow(1, 0, vocab_size);
        }
        TeacherTensors {
            log_probs: log_probs.reshape([rows, width, vocab_size]),
            help_token: self.help_token,
            helped: self.helped.clone(),
            price: self.price.clone(),
            deployed: self.deployed.clone(),
            ended: self.ended.clone(),
        }
    }
}

/// The last hidden states of a model at every position of the given texts, padding included. Each row reads its start
/// token and then its text without the last token.
///
/// # Panics
/// If a text is empty.
pub(crate) fn teacher_forced<M: LanguageModel + ?Sized>(model: &M, prompts: &TokenBatch, texts: &TokenBatch) -> Hidden {
    teacher_forced_with_tape(model, prompts, texts).0
}

/// As [`teacher_forced`], with the tape of a model with gradient checkpointing. None if nothing below the head is trained.
fn teacher_forced_with_tape<M: LanguageModel + ?Sized>(
    model: &M,
    prompts: &TokenBatch,
    texts: &TokenBatch,
) -> (Hidden, Option<Tape>) {
    let mut context = model.prefill(prompts, 0);
    let mut inputs = Vec::with_capacity(texts.rows());
    for (row, start) in context.starts().into_iter().enumerate() {
        let text = texts.row(row);
        inputs.push([&[start], &text[..text.len() - 1]].concat());
    }
    let rows: Vec<usize> = (0..texts.rows()).collect();
    let hidden = model.hidden(&TokenBatch::new(&inputs, model.spec().pad), &rows, Positions::All, &mut context);
    (hidden, context.take_tape().filter(|tape| !tape.is_empty()))
}

fn flags(flags: impl Iterator<Item = bool>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = flags.map(|flag| f32::from(u8::from(flag))).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
