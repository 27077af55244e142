//! Decisions on a device: statistics of logits and draws, of which the host reads a few numbers per row.
//!
//! A reduction over the vocabulary has one thread per row on a GPU, unless kernels are tuned. So every reduction here has
//! two stages: a row of logits is cut into a grid, `[blocks, width]`, whose columns are reduced first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData, TensorReadError};

use crate::distribution::{Facts, largest, log_sum_exp};
use crate::readout::Position;
use crate::sampler::{draw_from, weights};
use crate::{DecodeError, Distribution, SampledToken, Vocabulary};

/// Added to the logits of tokens that cannot be written. It is finite, because infinite values become NaN in entropies.
const CLOSED: f32 = -1e30;

/// The largest `top_k` whose tokens are found on the device.
pub(crate) const MAX_TOP_K: usize = 64;

/// Counts the bytes that the host reads from a device. All reads of decoding pass through [`read`](Self::read).
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteCount(Arc<AtomicU64>);

impl ByteCount {
    /// Waits for a tensor and reads it.
    pub(crate) fn read<const D: usize>(&self, tensor: Tensor<D>) -> Result<TensorData, TensorReadError> {
        let data = pollster::block_on(tensor.into_data_async())?;
        self.0.fetch_add(data.as_bytes().len() as u64, Ordering::Relaxed);
        Ok(data)
    }

    /// The number of bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Logits of some positions on a device, with their statistics on the host.
pub(crate) struct DeviceRows(Vec<DeviceRow>);

/// One position.
#[derive(Debug)]
pub(crate) struct DeviceRow {
    /// `[positions, vocab]` in f32, [`CLOSED`] at tokens that cannot be written. All rows share it.
    logits: Tensor<2>,
    index: usize,
    facts: Facts,
    /// The sum of exp(logit - max).
    mass: f64,
    /// The sum of exp(logit - max) (logit - max).
    moment: f64,
    /// The second largest logit.
    second: f32,
    /// A token that was asked for, and its logit.
    known: Option<(u32, f32)>,
    /// The row on the host, if it was read.
    values: OnceLock<Vec<f32>>,
    bytes: ByteCount,
}

impl DeviceRows {
    /// Computes the statistics of logits, `[positions, vocab]`, and reads them in one transfer. `always_closed` are the
    /// [`closed_tokens`].
    pub(crate) fn new(
        logits: Tensor<2>,
        positions: &[Position<'_>],
        vocabulary: &Vocabulary,
        always_closed: Option<&Tensor<2>>,
        bytes: &ByteCount,
    ) -> Result<Self, DecodeError> {
        let device = logits.device();
        let [rows, width] = logits.dims();
        let logits = logits.cast(DType::F32);
        let in_row = |token: u32| (token as usize) < width;
        let experts: Vec<u32> = vocabulary.expert_tokens().iter().copied().filter(|&token| in_row(token)).collect();
        let help = (!experts.is_empty()).then(|| logits.clone().select(1, ids(&experts, &device)));

        let mut closed = Vec::new();
        let mut forced = Vec::with_capacity(rows);
        for (row, position) in positions.iter().enumerate() {
            let tokens = vocabulary.repeated(position.text);
            closed.extend(tokens.filter(|&token| in_row(token)).map(|token| row * width + token as usize));
            forced.push(vocabulary.forced(position.text));
        }
        let logits = match always_closed {
            Some(closed) => logits + closed.clone(),
            None => logits,
        };
        let logits = close(logits, &closed);

        let grid = Grid::new(logits.clone());
        let (max, best) = grid.max();
        let below = grid.values.clone() - max.clone().unsqueeze_dim(2);
        let probs = below.clone().exp();
        let mass = sum(probs.clone());
        let moment = sum(probs * below);
        let others = logits.clone().scatter(1, best.clone(), max.full_like(CLOSED), IndexingUpdateOp::Add);
        let (second, _) = Grid::new(others).max();
        let wanted: Vec<u32> =
            positions.iter().map(|position| position.token.filter(|&token| in_row(token)).unwrap_or(0)).collect();
        let known = logits.clone().gather(1, ids(&wanted, &device).reshape([rows, 1]));

        // A token id is exact in f32 up to 16 million.
        let mut columns = vec![max, best.float(), mass, moment, second, known];
        columns.extend(help);
        let numbers = bytes.read(Tensor::cat(columns, 1))?.convert::<f32>();
        let numbers = numbers.as_slice::<f32>().expect("the numbers were converted to f32");
        let mut read = Vec::with_capacity(rows);
        for (index, row) in numbers.chunks_exact(6 + experts.len()).enumerate() {
            let (&[max, best, mass, moment, second, known], help) = row.split_first_chunk().expect("six statistics");
            let (expert, _) = largest(help.iter().copied());
            let mut row = DeviceRow {
                logits: logits.clone(),
                index,
                facts: Facts { best: best as u32, max, help: log_sum_exp(help.iter().copied()), expert },
                mass: f64::from(mass),
                moment: f64::from(moment),
                second,
                known: positions[index].token.filter(|&token| in_row(token)).map(|token| (token, known)),
                values: OnceLock::new(),
                bytes: bytes.clone(),
            };
            if let Some(token) = forced[index] {
                row.force(token, width);
            }
            read.push(row);
        }
        Ok(Self(read))
    }

    /// The first row without a distribution: with NaN, or with an infinite largest logit.
    pub(crate) fn damaged(&self) -> Option<usize> {
        let is_sound = |row: &DeviceRow| {
            row.mass.is_finite()
                && row.facts.max.is_finite()
                && row.facts.max > CLOSED / 2.0
                && row.facts.help < f64::INFINITY
        };
        self.0.iter().position(|row| !is_sound(row))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &DeviceRow> {
        self.0.iter()
    }

    /// Draws a token in each of some rows from `softmax(logits / temperature)` by the inverse of its cumulative
    /// distribution function, for a uniform number each.
    pub(crate) fn draw(&self, rows: &[usize], uniforms: &[f64], temperature: f64) -> Vec<SampledToken> {
        let rows: Vec<&DeviceRow> = rows.iter().map(|&row| &self.0[row]).collect();
        draw_rows(&rows, uniforms, temperature)
    }
}

impl DeviceRow {
    pub(crate) fn distribution(&self) -> Distribution<'_> {
        Distribution::on_device(self.facts, self)
    }

    /// Makes this the distribution in which `token` is certain.
    fn force(&mut self, token: u32, width: usize) {
        let mut values = vec![f32::NEG_INFINITY; width];
        values[token as usize] = 0.0;
        self.values = values.into();
        self.facts = Facts { best: token, max: 0.0, help: f64::NEG_INFINITY, expert: 0 };
        (self.moment, self.second, self.known) = (0.0, f32::NEG_INFINITY, None);
        // NaN stays NaN.
        self.mass = self.mass * 0.0 + 1.0;
    }

    pub(crate) fn tokens(&self) -> usize {
        self.logits.dims()[1]
    }

    pub(crate) fn mass(&self) -> f64 {
        self.mass
    }

    pub(crate) fn entropy(&self) -> f64 {
        self.mass.ln() - self.moment / self.mass
    }

    pub(crate) fn second(&self) -> f32 {
        self.second
    }

    /// The logit of a token. If it was not asked for in advance, the whole row is read.
    pub(crate) fn logit(&self, token: u32) -> f32 {
        match self.known {
            _ if token == self.facts.best => self.facts.max,
            Some((known, logit)) if known == token => if_open(logit),
            _ => self.logits()[token as usize],
        }
    }

    /// All logits, read from the device at the first call; minus infinity at tokens that cannot be written.
    ///
    /// # Panics
    /// If the device cannot be read.
    pub(crate) fn logits(&self) -> &[f32] {
        self.values.get_or_init(|| {
            let row = self.bytes.read(self.row()).expect("the statistics of this row were read before");
            row.iter::<f32>().map(if_open).collect()
        })
    }

    /// The `k` most likely tokens with their logits, in falling order; ties go to the lower id, except at the end.
    ///
    /// # Panics
    /// If the device cannot be read, or `k` is larger than the vocabulary.
    pub(crate) fn top(&self, k: usize) -> Vec<(u32, f32)> {
        let grid = Grid::new(self.row()).values;
        let [_, blocks, width] = grid.dims();
        let (values, block) = grid.topk_with_indices(k.min(blocks), 1);
        let column = Tensor::<1, Int>::arange(0..width as i64, &values.device()).reshape([1, 1, width]);
        let tokens = (block * width as i64 + column).flatten::<2>(1, 2);
        let (values, places) = values.flatten::<2>(1, 2).topk_with_indices(k, 1);
        let tokens = tokens.gather(1, places).float();
        let both = self.bytes.read(Tensor::cat(vec![tokens, values], 1)).expect("the statistics were read before");
        let numbers: Vec<f32> = both.iter::<f32>().collect();
        let (tokens, logits) = numbers.split_at(k);
        let pairs = tokens.iter().map(|&token| token as u32).zip(logits.iter().copied());
        pairs.filter(|&(_, logit)| logit > CLOSED / 2.0).collect()
    }

    /// One draw: see [`DeviceRows::draw`].
    pub(crate) fn draw(&self, uniform: f64, temperature: f64) -> SampledToken {
        draw_rows(&[self], &[uniform], temperature)[0]
    }

    /// The probability of each token under a temperature, `[1, vocab]`, on the device. None if the row is on the host.
    pub(crate) fn probs(&self, temperature: f64) -> Option<Tensor<2>> {
        if self.values.get().is_some() {
            return None;
        }
        let weights = ((self.row() - self.facts.max) / temperature).exp();
        let total = sum(Grid::new_with(weights.clone(), 0.0).values);
        Some(weights / total)
    }

    pub(crate) fn bytes(&self) -> &ByteCount {
        &self.bytes
    }

    /// `[1, vocab]`.
    fn row(&self) -> Tensor<2> {
        self.logits.clone().narrow(0, self.index, 1)
    }
}

/// The draws of [`DeviceRows::draw`] in rows of one forward pass.
fn draw_rows(rows: &[&DeviceRow], uniforms: &[f64], temperature: f64) -> Vec<SampledToken> {
    let Some(first) = rows.first() else { return vec![] };
    let device = first.logits.device();
    let indices: Vec<u32> = rows.iter().map(|row| row.index as u32).collect();
    let logits = first.logits.clone().select(0, ids(&indices, &device));
    let max: Vec<f32> = rows.iter().map(|row| row.facts.max).collect();
    let max = Tensor::<2>::from_data(TensorData::new(max, [rows.len(), 1]), &device);
    let drawn = draw(((logits - max) / temperature).exp(), uniforms, &first.bytes);
    let mut tokens = Vec::with_capacity(rows.len());
    for ((row, &uniform), drawn) in rows.iter().zip(uniforms).zip(drawn) {
        tokens.push(match drawn.filter(|_| row.values.get().is_none()) {
            Some(token) => token,
            None => draw_from(&weights(&row.distribution(), temperature), uniform),
        });
    }
    tokens
}

/// Draws a column in each row of `weights`, `[rows, vocab]`, by the inverse of the cumulative sum. None if rounding led
/// to a weight of 0.
///
/// The sums of blocks lead to a block, and the sums in it to a column: a cumulative sum over a whole row would take
/// quadratic time on a GPU.
///
/// # Panics
/// If the device cannot be read.
pub(crate) fn draw(weights: Tensor<2>, uniforms: &[f64], bytes: &ByteCount) -> Vec<Option<SampledToken>> {
    let device = weights.device();
    let grid = Grid::new_with(weights, 0.0).values;
    let [rows, blocks, width] = grid.dims();
    let uniforms: Vec<f32> = uniforms.iter().map(|&uniform| uniform as f32).collect();
    let uniforms = Tensor::<2>::from_data(TensorData::new(uniforms, [rows, 1]), &device);
    let cumulative = grid.clone().sum_dim(2).reshape([rows, blocks]).cumsum(1);
    let total = cumulative.clone().narrow(1, blocks - 1, 1);
    let target = uniforms * total.clone();
    let block = reached(cumulative.clone(), target.clone());
    let first = block.clone().equal_elem(0).float();
    let before = cumulative.gather(1, (block.clone() - 1).clamp_min(0)) * (first.neg() + 1.0);
    let inside = grid.gather(1, block.clone().reshape([rows, 1, 1]).repeat_dim(2, width)).reshape([rows, width]);
    let column = reached(inside.clone().cumsum(1), target - before);
    let weight = inside.gather(1, column.clone());
    let numbers = bytes.read(Tensor::cat(vec![block.float(), column.float(), weight, total], 1));
    let numbers: Vec<f32> = numbers.expect("a device that was read before").iter::<f32>().collect();
    let mut drawn = Vec::with_capacity(rows);
    for number in numbers.chunks_exact(4) {
        let token = (number[0] * width as f32 + number[1]) as u32;
        let log_prob = (f64::from(number[2]) / f64::from(number[3])).ln();
        drawn.push((number[2] > 0.0).then_some(SampledToken { token, log_prob }));
    }
    drawn
}

/// The number of entries of a cumulative sum, `[rows, n]`, that do not exceed a target, `[rows, 1]`; at most n - 1.
fn reached(cumulative: Tensor<2>, target: Tensor<2>) -> Tensor<2, Int> {
    let [_, entries] = cumulative.dims();
    let target = target.repeat_dim(1, entries);
    cumulative.lower_equal(target).int().sum_dim(1).clamp_max(entries as i64 - 1)
}

/// Rows that are cut into blocks of consecutive tokens.
struct Grid {
    /// `[rows, blocks, width]`.
    values: Tensor<3>,
    /// The number of tokens in a row. Filler follows them.
    tokens: usize,
}

impl Grid {
    fn new(rows: Tensor<2>) -> Self {
        Self::new_with(rows, CLOSED)
    }

    /// The last block is filled up with `filler`.
    fn new_with(values: Tensor<2>, filler: f32) -> Self {
        let [rows, tokens] = values.dims();
        let blocks = (tokens as f64).sqrt().ceil() as usize;
        let width = tokens.div_ceil(blocks);
        let missing = blocks * width - tokens;
        let device = values.device();
        let full = match missing {
            0 => values,
            _ => Tensor::cat(vec![values, Tensor::full([rows, missing], filler, (&device, DType::F32))], 1),
        };
        Self { values: full.reshape([rows, blocks, width]), tokens }
    }

    /// The largest value of each row and the lowest index at which it stands, `[rows, 1]` both.
    fn max(&self) -> (Tensor<2>, Tensor<2, Int>) {
        let [rows, _, width] = self.values.dims();
        let (values, block) = self.values.clone().max_dim_with_indices(1);
        let (values, block) = (values.reshape([rows, width]), block.reshape([rows, width]));
        let column = Tensor::<1, Int>::arange(0..width as i64, &values.device()).reshape([1, width]);
        let max = values.clone().max_dim(1);
        let smaller = values.lower(max.clone().repeat_dim(1, width));
        let tokens = (block * width as i64 + column).mask_fill(smaller, self.tokens as i64);
        // If the largest value is NaN, no column equals it.
        (max, tokens.min_dim(1).clamp_max(self.tokens as i64 - 1))
    }
}

/// The sums of `[rows, blocks, width]`, `[rows, 1]`.
fn sum(values: Tensor<3>) -> Tensor<2> {
    let [rows, _, width] = values.dims();
    values.sum_dim(1).reshape([rows, width]).sum_dim(1)
}

/// What must be added to the logits of the first `width` tokens to close the help tokens, `[1, width]`. None if there
/// are no such tokens.
pub(crate) fn closed_tokens(vocabulary: &Vocabulary, width: usize, device: &Device) -> Option<Tensor<2>> {
    let mut closed = vec![0.0; width];
    for token in vocabulary.help_tokens() {
        if let Some(logit) = closed.get_mut(token as usize) {
            *logit = CLOSED;
        }
    }
    let any = closed.contains(&CLOSED);
    any.then(|| Tensor::from_data(TensorData::new(closed, [1, width]), (device, DType::F32)))
}

/// Logits that are [`CLOSED`] at flat indices.
fn close(logits: Tensor<2>, indices: &[usize]) -> Tensor<2> {
    if indices.is_empty() {
        return logits;
    }
    let (device, dims) = (logits.device(), logits.dims());
    let indices: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
    let closed = Tensor::<1>::full([indices.len()], CLOSED, (&device, DType::F32));
    let flat: Tensor<1> = logits.reshape([dims[0] * dims[1]]);
    flat.scatter(0, ids(&indices, &device), closed, IndexingUpdateOp::Add).reshape(dims)
}

/// A logit, or minus infinity if it is that of a token that cannot be written.
fn if_open(logit: f32) -> f32 {
    if logit > CLOSED / 2.0 { logit } else { f32::NEG_INFINITY }
}

fn ids(tokens: &[u32], device: &Device) -> Tensor<1, Int> {
    let tokens: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    let count = tokens.len();
    Tensor::from_data(TensorData::new(tokens, [count]), device)
}
