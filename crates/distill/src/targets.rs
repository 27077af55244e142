//! The teacher's targets for a batch.

use burn::tensor::{Device, Tensor, TensorData};
use wheels_lm::{Hidden, TokenBatch};

use crate::{RolloutRow, TopKData};

/// The teacher's distributions at every position of a batch, and how its rows were written.
#[derive(Clone, Debug)]
pub struct TeacherTargets {
    /// The teacher's distributions at every position.
    pub distributions: TeacherDistributions,
    /// The student's help token. None for a student that does not ask.
    pub help_token: Option<u32>,
    /// The texts and how they were written, with their prices.
    pub rows: Vec<RolloutRow>,
    /// Extra prompts that train only the price head.
    pub price_prompts: Option<PricePrompts>,
}

/// The teacher's distributions over its own vocabulary at every position of `[batch, time]`, padding included, on the
/// host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TeacherDistributions {
    /// The last hidden states, from which the [`TeacherHead`] of the batch source computes log-probs. They take
    /// `d_model` numbers per position instead of `vocab`.
    Hidden(HiddenData),
    /// Log-probs, nats, `[batch, time, vocab]`.
    LogProbs(TensorData),
    /// The log-probs of the most likely tokens, and the mass of all others, which is spread evenly over them.
    TopK(TopKData),
}

/// The head of a teacher.
pub trait TeacherHead: Sync {
    /// The teacher's log-probs from its last hidden states, nats. They track no gradients.
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, vocab]`.
    fn log_probs(&self, hidden: &HiddenData) -> Tensor<2>;
}

/// [`Hidden`] states on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenData {
    states: TensorData,
    features: Option<TensorData>,
}

/// Extra prompts that train only the price head. Without them, the head sees too few wordings and overfits.
#[derive(Clone, Debug, PartialEq)]
pub struct PricePrompts {
    /// The prompts, `[prompts, source]`.
    pub prompts: TokenBatch,
    /// For each prompt, the price of help under its budget, nats.
    pub prices: Vec<f32>,
}

impl TeacherDistributions {
    /// The log-probs at some positions, nats, `[positions, vocab]`. They are on `device`, or on that of
    /// the teacher's head.
    ///
    /// # Panics
    /// If there are hidden states and no head, or fewer positions.
    pub(crate) fn log_probs(&self, positions: &[usize], head: Option<&dyn TeacherHead>, device: &Device) -> Tensor<2> {
        match self {
            Self::Hidden(hidden) => {
                let head = head.expect("a source of hidden states has a teacher's head");
                head.log_probs(&hidden.select(positions))
            }
            Self::LogProbs(log_probs) => {
                let vocab = *log_probs.shape().last().expect("log-probs have three dimensions");
                Tensor::from_data(rows(log_probs, vocab, positions), device)
            }
            Self::TopK(top) => top.log_probs(positions, device),
        }
    }

    /// The size in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Hidden(hidden) => hidden.bytes(),
            Self::LogProbs(log_probs) => log_probs.as_bytes().len(),
            Self::TopK(top) => top.bytes(),
        }
    }
}

impl HiddenData {
    /// Reads hidden states from their device.
    pub fn new(hidden: &Hidden) -> Self {
        Self { states: hidden.states().into_data(), features: hidden.features().map(Tensor::into_data) }
    }

    /// Hidden states without features, `[positions, d_model]`.
    pub(crate) fn from_states(states: TensorData) -> Self {
        Self { states, features: None }
    }

    /// The hidden states on a device, in the precision in which they were computed.
    pub fn hidden(&self, device: &Device) -> Hidden {
        let tensor = |data: &TensorData| Tensor::from_data(data.clone(), (device, data.dtype()));
        let hidden = Hidden::new(tensor(&self.states));
        match &self.features {
            Some(features) => hidden.with_features(tensor(features)),
            None => hidden,
        }
    }

    /// The hidden states at some positions.
    ///
    /// # Panics
    /// If there are fewer positions.
    #[must_use]
    pub fn select(&self, positions: &[usize]) -> Self {
        let select = |data: &TensorData| {
            let [_, width] = data.shape().dims();
            rows(data, width, positions)
        };
        Self { states: select(&self.states), features: self.features.as_ref().map(select) }
    }

    /// The size in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.states.as_bytes().len() + self.features.as_ref().map_or(0, |features| features.as_bytes().len())
    }
}

/// Some rows of data that have `width` numbers in each row.
pub(crate) fn rows(data: &TensorData, width: usize, rows: &[usize]) -> TensorData {
    let size = width * data.dtype().size();
    let mut bytes = Vec::with_capacity(rows.len() * size);
    for row in rows {
        bytes.extend_from_slice(&data.as_bytes()[row * size..][..size]);
    }
    TensorData::from_bytes_vec(bytes, [rows.len(), width], data.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_hidden_states_have_the_features_of_their_positions() {
        let device = Device::flex();
        let numbers = |width: usize| {
            let values: Vec<f32> = (0..4 * width).map(|value| value as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [4, width]), &device)
        };
        let hidden = Hidden::new(numbers(3)).with_features(numbers(2));
        let data = HiddenData::new(&hidden);
        assert_eq!(data.bytes(), 4 * 5 * 4);
        let selected = data.select(&[1, 2]).hidden(&device);
        assert_eq!(selected.states().into_data(), numbers(3).narrow(0, 1, 2).into_data());
        assert_eq!(selected.features().map(Tensor::into_data), Some(numbers(2).narrow(0, 1, 2).into_data()));
        assert_eq!(data.select(&[2, 0]), HiddenData::new(&hidden.select(&[2, 0])));
        assert_eq!(HiddenData::new(&data.hidden(&device)), data);
    }
}
