//! A batch that its models have read, but whose logits are not computed yet.

use std::cmp::Reverse;

use burn::module::Module;
use burn::tensor::kind::Basic;
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
    /// The positions in the batch, row after row.
    pub(crate) positions: Vec<usize>,
    /// The numbers of target tokens in the rows of the batch.
    lengths: &'b [usize],
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
            positions: (0..rows * width).collect(),
            lengths: batch.targets.lengths(),
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
        let teacher =
            batch.teacher.as_ref().map(|given| given.tensors(&batch.positions, self.teacher, vocab_size, &plain));
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
    /// Splits a batch into chunks of at most `max_positions` positions, or of one part of the `scope`. The chunks leave out
    /// padding where they can: single positions have none, and texts share a chunk with texts of about their length. A batch
    /// that fits one chunk is returned as it is.
    pub(crate) fn chunks(&self, scope: LossScope, max_positions: usize) -> Vec<Self> {
        match scope {
            _ if self.positions.len() <= max_positions => vec![self.clone()],
            LossScope::Batch => vec![self.clone()],
            LossScope::Position => self.positions_in_chunks(max_positions),
            LossScope::Text | LossScope::TextAndSums => self.texts_in_chunks(max_positions),
        }
    }

    /// The positions with a target, each in a row of its own.
    pub(crate) fn positions_in_chunks(&self, max_positions: usize) -> Vec<Self> {
        let [_, width] = self.mask.dims();
        let in_row = |(row, &length): (usize, &usize)| row * width..row * width + length;
        let positions: Vec<usize> = self.lengths.iter().enumerate().flat_map(in_row).collect();
        positions.chunks(max_positions).map(|chunk| self.select(chunk.to_vec(), chunk.len())).collect()
    }

    /// The texts, the longest ones first, without padding behind the longest text of a chunk.
    fn texts_in_chunks(&self, max_positions: usize) -> Vec<Self> {
        let [_, width] = self.mask.dims();
        let mut rows: Vec<usize> = (0..self.lengths.len()).collect();
        rows.sort_by_key(|&row| Reverse(self.lengths[row]));
        let (mut chunks, mut left) = (Vec::new(), rows.as_slice());
        while let Some(&longest) = left.first() {
            let time = self.lengths[longest];
            let (rows, others) = left.split_at((max_positions / time).clamp(1, left.len()));
            let positions = rows.iter().flat_map(|row| row * width..row * width + time).collect();
            chunks.push(self.select(positions, rows.len()));
            left = others;
        }
        chunks
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

    /// Some positions of a batch as a grid of `rows` rows. The positions of a row are from one row of the batch.
    fn select(&self, positions: Vec<usize>, rows: usize) -> Self {
        let [_, width] = self.mask.dims();
        let time = positions.len() / rows;
        let numbers = |numbers: Vec<i32>| {
            let shape = [numbers.len()];
            Tensor::<1, Int>::from_data(TensorData::new(numbers, shape), &self.mask.device())
        };
        let grid = GridIndex { places: numbers(positions.iter().map(|&place| place as i32).collect()), rows, time };
        let rows = numbers(positions.iter().step_by(time).map(|place| (place / width) as i32).collect());
        Self {
            hidden: self.hidden.select(&positions),
            target_network: self.target_network.as_ref().map(|hidden| hidden.select(&positions)),
            targets: grid.of(&self.targets),
            mask: grid.of(&self.mask),
            teacher: self.teacher.as_ref().map(|teacher| teacher.select(&grid, &rows)),
            price_targets: self.price_targets.clone().filter(|_| positions.contains(&0)),
            positions,
            lengths: self.lengths,
        }
    }
}

/// Some positions of a batch as a grid.
struct GridIndex {
    places: Tensor<1, Int>,
    rows: usize,
    time: usize,
}

impl GridIndex {
    /// The values at these positions, `[rows, time]`.
    fn of<K: Basic>(&self, values: &Tensor<2, K>) -> Tensor<2, K> {
        values.clone().flatten::<1>(0, 1).select(0, self.places.clone()).reshape([self.rows, self.time])
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
            help_token: teacher.help_token.map(|token| token as usize),
            helped: flags(helped, [rows, width], device),
            price: column(|row| row.price),
            deployed: column(|row| f32::from(u8::from(row.deployed))),
            ended: column(|row| f32::from(u8::from(row.ended))),
        }
    }

    /// Some positions, and the rows of the batch that they are from.
    fn select(&self, grid: &GridIndex, rows: &Tensor<1, Int>) -> Self {
        let of_rows = |column: &Tensor<2>| column.clone().select(0, rows.clone());
        Self {
            helped: grid.of(&self.helped),
            price: of_rows(&self.price),
            deployed: of_rows(&self.deployed),
            ended: of_rows(&self.ended),
            ..*self
        }
    }

    /// The tensors for a student whose vocabulary has `vocab_size` columns. Columns that the teacher lacks get the
    /// lowest log-prob, and columns that the student lacks are dropped.
    fn tensors(
        &self,
        positions: &[usize],
        head: Option<&dyn TeacherHead>,
        vocab_size: usize,
        device: &Device,
    ) -> TeacherTensors {
        let [rows, width] = self.helped.dims();
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
