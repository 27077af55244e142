//! The most likely tokens of a teacher.

use std::sync::Arc;

use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::rollout::MIN_LOG_PROB;
use crate::targets::rows;

/// The log-probs of a teacher's k most likely tokens at every position, and the mass of all other tokens, on the host.
///
/// The mass of the others is spread evenly over them when log-probs are computed. Excluded tokens, which the teacher never
/// writes, get none of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TopKData {
    ids: TensorData,
    log_probs: TensorData,
    tail: TensorData,
    vocabulary: Arc<TopKVocabulary>,
}

/// The vocabulary of [`TopKData`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopKVocabulary {
    /// The number of columns of the teacher's log-probs.
    pub size: usize,
    /// The tokens that are excluded from the teacher's distribution, without repetition. Their probability is 0.
    pub excluded: Vec<u32>,
}

impl TopKData {
    /// The k most likely tokens.
    ///
    /// # Shapes
    /// `ids` and `log_probs`, nats, are `[positions, k]`. `tail`, the log of the mass of all other tokens, is
    /// `[positions, 1]`. The tokens of a position are distinct.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn new(ids: TensorData, log_probs: TensorData, tail: TensorData, vocabulary: Arc<TopKVocabulary>) -> Self {
        let [positions, _] = log_probs.shape().dims();
        assert_eq!(ids.shape(), log_probs.shape(), "each token has one log-prob");
        assert_eq!(tail.shape().dims(), [positions, 1], "each of {positions} positions has one tail");
        Self { ids, log_probs, tail, vocabulary }
    }

    /// The log-probs at some positions, nats, `[positions, vocab]`.
    ///
    /// # Panics
    /// If there are fewer positions.
    pub(crate) fn log_probs(&self, positions: &[usize], device: &Device) -> Tensor<2> {
        let [_, k] = self.log_probs.shape().dims();
        let ids = rows(&self.ids, k, positions).convert_dtype(DType::I32);
        let ids = Tensor::<2, Int>::from_data(ids, device);
        let top = Tensor::<2>::from_data(rows(&self.log_probs, k, positions), device);
        let tail = Tensor::<2>::from_data(rows(&self.tail, 1, positions), device);

        let TopKVocabulary { size, excluded } = &*self.vocabulary;
        let mut is_open = vec![1.0_f32; *size];
        for &id in excluded {
            if let Some(open) = is_open.get_mut(id as usize) {
                *open = 0.0;
            }
        }
        let open = is_open.iter().filter(|&&open| open > 0.0).count();
        let is_open = Tensor::<2>::from_data(TensorData::new(is_open, [1, *size]), device);
        // Excluded tokens are among the top k only if all others are. The tail is then empty.
        let others = open.saturating_sub(k).max(1);
        let even = (tail - (others as f64).ln()).clamp_min(MIN_LOG_PROB);
        let all = even * is_open.clone() + (is_open - 1.0) * -MIN_LOG_PROB;
        let change = top - all.clone().gather(1, ids.clone());
        all.scatter(1, ids, change, IndexingUpdateOp::Add)
    }

    /// The size in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        [&self.ids, &self.log_probs, &self.tail].map(|data| data.as_bytes().len()).iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_spread_evenly_over_tokens_that_are_neither_among_the_top_nor_excluded() {
        let vocabulary = Arc::new(TopKVocabulary { size: 7, excluded: vec![0, 6, 9] });
        let numbers = |values: &[f32], width| TensorData::new(values.to_vec(), [values.len() / width, width]);
        let top = [[0.5_f32, 0.2], [0.6, 0.4]].as_flattened().iter().map(|p| p.ln()).collect::<Vec<_>>();
        let ids = TensorData::new(vec![3_u16, 1, 2, 5], [2, 2]);
        let tail = numbers(&[0.3_f32.ln(), MIN_LOG_PROB as f32], 1);
        let data = TopKData::new(ids, numbers(&top, 2), tail, vocabulary);
        assert_eq!(data.bytes(), 4 * 2 + 4 * 4 + 2 * 4);
        let found: Vec<f32> = data.log_probs(&[0, 1], &Device::flex()).exp().into_data().iter().collect();
        let expected = [0.0, 0.2, 0.1, 0.5, 0.1, 0.1, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0, 0.4, 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        let second: Vec<f32> = data.log_probs(&[1], &Device::flex()).exp().into_data().iter().collect();
        assert_eq!(second, found[7..]);
    }
}
