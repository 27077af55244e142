//! Last hidden states at selected positions.

use burn::tensor::Tensor;

use crate::TokenBatch;
use crate::context::row_index;

/// The positions at which [`LanguageModel::hidden`](crate::LanguageModel::hidden) returns hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions<'a> {
    /// All positions, padding included, row after row.
    All,
    /// The last positions of each row, without padding: `Last(&[1, 3])` selects the last position of the first row and
    /// the last three of the second row.
    Last(&'a [usize]),
}

impl Positions<'_> {
    /// The selected positions as indices into a flattened grid `[rows, time]`, row after row. `lengths` has the number
    /// of tokens in each row.
    ///
    /// # Panics
    /// If the number of rows differs, or if more positions of a row are selected than it has tokens.
    pub fn indices(&self, lengths: &[usize], time: usize) -> Vec<usize> {
        match self {
            Self::All => (0..lengths.len() * time).collect(),
            Self::Last(counts) => {
                assert_eq!(counts.len(), lengths.len(), "`Positions::Last` has one count for each row");
                let mut indices = Vec::with_capacity(counts.iter().sum());
                for (row, (&length, &count)) in lengths.iter().zip(*counts).enumerate() {
                    assert!(count <= length, "row {row} has {length} tokens, and {count} positions were asked for");
                    indices.extend(row * time + length - count..row * time + length);
                }
                indices
            }
        }
    }

    /// Selects positions of a grid of hidden states.
    ///
    /// # Shapes
    /// `[rows, time, d_model]` to `[positions, d_model]`.
    ///
    /// # Panics
    /// As [`indices`](Self::indices).
    pub fn select(&self, grid: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
        let [_, time, _] = grid.dims();
        select(grid.flatten(0, 1), &self.indices(lengths, time))
    }

    /// As [`indices`](Self::indices), for `tokens` whose row `i` begins at time `starts[i]` of a grid `[rows, longer]`. At
    /// padding, the index is that of some other position.
    pub(crate) fn indices_after(&self, starts: &[usize], tokens: &TokenBatch, longer: usize) -> Vec<usize> {
        let time = tokens.width();
        let mut indices = self.indices(tokens.lengths(), time);
        for index in &mut indices {
            let (row, t) = (*index / time, *index % time);
            *index = row * longer + (starts[row] + t).min(longer - 1);
        }
        indices
    }
}

/// Selects positions of a list of hidden states by their indices.
///
/// # Shapes
/// `[all positions, d_model]` to `[positions, d_model]`.
pub(crate) fn select(list: Tensor<2>, indices: &[usize]) -> Tensor<2> {
    if indices.iter().copied().eq(0..list.dims()[0]) {
        return list;
    }
    let indices = row_index(indices, &list.device());
    list.select(0, indices)
}

/// Last hidden states at some positions, from which a model's head computes logits.
///
/// A model that wraps another one can attach features of its own to each position, for its own head.
#[derive(Clone, Debug)]
pub struct Hidden {
    states: Tensor<2>,
    features: Option<Tensor<2>>,
}

impl Hidden {
    /// Hidden states without features.
    ///
    /// # Shapes
    /// `[positions, d_model]`.
    pub fn new(states: Tensor<2>) -> Self {
        Self { states, features: None }
    }

    /// The same states with `features`, `[positions, features]`.
    ///
    /// # Panics
    /// If the states and the features differ in their number of positions.
    #[must_use]
    pub fn with_features(self, features: Tensor<2>) -> Self {
        let (positions, given) = (self.len(), features.dims()[0]);
        assert_eq!(positions, given, "{positions} hidden states and features of {given} positions");
        Self { features: Some(features), ..self }
    }

    /// The states, `[positions, d_model]`.
    pub fn states(&self) -> Tensor<2> {
        self.states.clone()
    }

    /// The features that a wrapping model added, `[positions, features]`.
    pub fn features(&self) -> Option<Tensor<2>> {
        self.features.clone()
    }

    /// The number of positions.
    pub fn len(&self) -> usize {
        self.states.dims()[0]
    }

    /// Whether there are no positions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The states and features at `count` positions from `start` on.
    ///
    /// # Panics
    /// If there are fewer positions.
    #[must_use]
    pub fn narrow(&self, start: usize, count: usize) -> Self {
        Self {
            states: self.states.clone().narrow(0, start, count),
            features: self.features.clone().map(|features| features.narrow(0, start, count)),
        }
    }

    /// The states and features at some positions.
    ///
    /// # Panics
    /// If there are fewer positions.
    #[must_use]
    pub fn select(&self, positions: &[usize]) -> Self {
        Self {
            states: select(self.states.clone(), positions),
            features: self.features.clone().map(|features| select(features, positions)),
        }
    }

    /// Splits into chunks of at most `size` positions, so that a caller need not hold the logits of all positions.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Self> {
        assert!(size > 0, "a chunk has at least one position");
        (0..self.len()).step_by(size).map(move |start| self.narrow(start, size.min(self.len() - start)))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn numbers(count: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [count, 1]), &Device::default())
    }

    fn read(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn the_last_positions_of_ragged_rows_are_selected() {
        let grid = numbers(6).reshape([2, 3, 1]);
        assert_eq!(read(Positions::Last(&[1, 2]).select(grid.clone(), &[2, 3])), [1.0, 4.0, 5.0]);
        assert_eq!(read(Positions::Last(&[0, 1]).select(grid.clone(), &[2, 3])), [5.0]);
        assert_eq!(read(Positions::All.select(grid, &[2, 3])), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    #[should_panic(expected = "row 0 has 1 tokens, and 2 positions were asked for")]
    fn selecting_more_positions_than_tokens_panics() {
        Positions::Last(&[2]).indices(&[1], 3);
    }

    #[test]
    fn chunks_cover_all_positions_with_their_features() {
        let hidden = Hidden::new(numbers(5)).with_features(numbers(5) + 10.0);
        let chunks: Vec<Hidden> = hidden.chunks(2).collect();
        assert_eq!(chunks.iter().map(Hidden::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(read(chunks[1].states()), [2.0, 3.0]);
        assert_eq!(chunks[2].features().map(read), Some(vec![14.0]));
    }
}
