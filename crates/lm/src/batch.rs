//! A batch of token ids in host memory.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// A batch of token ids: rows that are padded on the right to the same width.
///
/// The ids are in host memory, because decoders choose tokens there. [`tensor`](Self::tensor) copies them to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    width: usize,
}

impl TokenBatch {
    /// Pads `rows` with `pad` to the length of the longest row.
    pub fn new<R: AsRef<[u32]>>(rows: &[R], pad: u32) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let end = ids.len() + width;
            ids.extend_from_slice(row.as_ref());
            ids.resize(end, pad);
        }
        Self { ids, lengths, width }
    }

    /// A batch with one token in each row.
    pub fn column(ids: &[u32]) -> Self {
        Self { ids: ids.to_vec(), lengths: vec![1; ids.len()], width: 1 }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// The length of the longest row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of tokens in each row, without padding.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The tokens of a row, without padding.
    pub fn row(&self, index: usize) -> &[u32] {
        let start = index * self.width;
        &self.ids[start..start + self.lengths[index]]
    }

    /// The number of tokens in all rows, without padding.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Whether the rows differ in length.
    pub fn is_ragged(&self) -> bool {
        self.lengths.iter().any(|&length| length != self.width)
    }

    /// The ids as a tensor, `[rows, width]`.
    pub fn tensor(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i32> = self.ids.iter().map(|&id| id as i32).collect();
        Tensor::from_data(TensorData::new(ids, [self.rows(), self.width]), device)
    }

    /// A mask that is true at padding, `[rows, width]`.
    pub fn padding(&self, device: &Device) -> Tensor<2, Bool> {
        let mask: Vec<bool> =
            self.lengths.iter().flat_map(|&length| (0..self.width).map(move |t| t >= length)).collect();
        Tensor::from_data(TensorData::new(mask, [self.rows(), self.width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_are_padded_on_the_right() {
        let batch = TokenBatch::new(&[vec![5, 6, 7], vec![8]], 0);
        assert_eq!((batch.rows(), batch.width(), batch.tokens()), (2, 3, 4));
        assert_eq!(batch.row(0), [5, 6, 7]);
        assert_eq!(batch.row(1), [8]);
        assert!(batch.is_ragged());
        let device = Device::default();
        assert_eq!(batch.tensor(&device).into_data().iter::<i64>().collect::<Vec<_>>(), [5, 6, 7, 8, 0, 0]);
        assert_eq!(batch.padding(&device).int().into_data().iter::<i64>().collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn a_column_has_one_token_per_row() {
        let batch = TokenBatch::column(&[4, 9]);
        assert_eq!((batch.rows(), batch.width()), (2, 1));
        assert!(!batch.is_ragged());
    }
}
