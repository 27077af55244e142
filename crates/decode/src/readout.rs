//! From the logits of a forward pass to the distributions that decisions read.

use std::sync::OnceLock;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::device_rows::{ByteCount, DeviceRow, DeviceRows, closed_tokens};
use crate::distribution::Facts;
use crate::{DecodeError, Distribution, SampledToken, Sampler, Vocabulary};

/// Where decoding turns logits into decisions.
///
/// The decisions are the same up to rounding: the host adds probabilities in double precision, and a device in single
/// precision. A decision can therefore differ at a near tie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readout {
    /// On the host if the device is the CPU, and else on the device.
    #[default]
    Auto,
    /// On the host, which reads all logits. On the CPU they are read where they are.
    Host,
    /// On the device, from which the host reads a few numbers per row. Whole rows are read only by an
    /// [`Observer`](crate::Observer) that wants their logits, by `top_p` without `top_k`, by a `top_k` above 64, and if
    /// a draw falls on the rounding error of a cumulative sum.
    Device,
}

impl Readout {
    fn is_on_device(self, device: &Device) -> bool {
        match self {
            // A backend with a memory of its own reports the state of its allocator.
            Self::Auto => device.memory_pool_usage().is_some(),
            Self::Host => false,
            Self::Device => true,
        }
    }
}

/// A position whose next-token distribution is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Position<'t> {
    /// The index of the prompt, for error messages.
    pub(crate) prompt_index: usize,
    /// The text before the position.
    pub(crate) text: &'t [u32],
    /// A token whose log-prob will be asked for.
    pub(crate) token: Option<u32>,
}

/// Reads the logits of one model.
#[derive(Debug)]
pub(crate) struct LogitsReader {
    on_device: bool,
    bytes: ByteCount,
    /// What is added to the logits of every row on the device; it does not change.
    closed: OnceLock<Option<Tensor<2>>>,
}

/// A token that is to be chosen at a position.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    /// The index of the position among those that were read.
    pub(crate) index: usize,
    pub(crate) sampler: Sampler,
    /// The random number of the choice.
    pub(crate) uniform: f64,
}

/// The logits of a forward pass at some positions, ready for decisions.
pub(crate) enum Logits {
    Host { values: TensorData, width: usize, facts: Vec<Facts> },
    Device(DeviceRows),
}

impl LogitsReader {
    /// A reader for a model on this device. The device is asked once, because it may have to answer from another thread.
    pub(crate) fn new(readout: Readout, device: &Device) -> Self {
        Self { on_device: readout.is_on_device(device), bytes: ByteCount::default(), closed: OnceLock::new() }
    }

    /// The number of bytes that the host has read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes.bytes()
    }

    /// Reads logits, `[positions, vocab]`. Columns beyond the vocabulary are left out.
    ///
    /// # Errors
    /// [`DecodeError::Logits`] if a row has no distribution (see [`Distribution::read`]), and [`DecodeError::Device`] if
    /// the device cannot be read.
    pub(crate) fn read(
        &self,
        logits: Tensor<2>,
        positions: &[Position<'_>],
        vocabulary: &Vocabulary,
    ) -> Result<Logits, DecodeError> {
        let [_, width] = logits.dims();
        // A teacher may have more tokens than its student, which could not read them.
        let shared = vocabulary.size().min(width);
        let damaged = |position: &Position<'_>| DecodeError::Logits {
            row: position.prompt_index,
            step: position.text.len(),
            layer: None,
        };
        if self.on_device {
            let logits = if shared < width { logits.narrow(1, 0, shared) } else { logits };
            let closed = self.closed.get_or_init(|| closed_tokens(vocabulary, shared, &logits.device()));
            let rows = DeviceRows::new(logits, positions, vocabulary, closed.as_ref(), &self.bytes)?;
            return match rows.damaged() {
                Some(row) => Err(damaged(&positions[row])),
                None => Ok(Logits::Device(rows)),
            };
        }
        let mut values = self.bytes.read(logits)?;
        if values.dtype() != DType::F32 {
            values = values.convert::<f32>();
        }
        let rows = values.as_mut_slice::<f32>().expect("the logits were converted to f32");
        let mut facts = Vec::with_capacity(positions.len());
        for (row, position) in rows.chunks_exact_mut(width).zip(positions) {
            facts.push(Facts::read(&mut row[..shared], vocabulary, position.text).ok_or_else(|| damaged(position))?);
        }
        Ok(Logits::Host { values, width, facts })
    }
}

impl Logits {
    /// The distribution at each position.
    pub(crate) fn distributions(&self) -> Vec<Distribution<'_>> {
        match self {
            Self::Host { values, width, facts } => {
                let rows = values.as_slice::<f32>().expect("the logits were converted to f32");
                let rows = rows.chunks_exact(*width).zip(facts);
                rows.map(|(row, &facts)| Distribution::on_host(facts, row)).collect()
            }
            Self::Device(rows) => rows.iter().map(DeviceRow::distribution).collect(),
        }
    }

    /// Makes some choices. On a device, those of one plain sampler are made together, because each draw is a read.
    pub(crate) fn choose(&self, choices: &[Choice]) -> Vec<SampledToken> {
        let distributions = self.distributions();
        let mut tokens: Vec<Option<SampledToken>> = vec![None; choices.len()];
        for (first, &Choice { index, sampler, uniform }) in choices.iter().enumerate() {
            match (self, sampler) {
                _ if tokens[first].is_some() => {}
                (Self::Device(device), Sampler::Sample { temperature, top_k: None, top_p: None }) => {
                    let same: Vec<usize> =
                        (first..choices.len()).filter(|&at| choices[at].sampler == sampler).collect();
                    let rows: Vec<usize> = same.iter().map(|&at| choices[at].index).collect();
                    let uniforms: Vec<f64> = same.iter().map(|&at| choices[at].uniform).collect();
                    for (at, token) in same.into_iter().zip(device.draw(&rows, &uniforms, temperature)) {
                        tokens[at] = Some(token);
                    }
                }
                _ => tokens[first] = Some(sampler.choose_at(&distributions[index], uniform)),
            }
        }
        tokens.into_iter().flatten().collect()
    }
}
