//! The positions of a batch, with and without padding.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::TokenBatch;

/// Two layouts of the positions of a batch: a grid of rows with padding, and a list, row after row.
///
/// Attention needs the grid. Everything else in a transformer works on one position at a time, so that a list without
/// padding is enough.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    rows: usize,
    time: usize,
    /// None if the list holds all slots of the grid.
    places: Option<Places>,
}

#[derive(Clone, Debug)]
struct Places {
    /// The slot of the grid that holds each token, `[tokens]`.
    slots: Tensor<1, Int>,
    /// The token in each slot of the grid, `[rows * time]`. Slots of padding name any token.
    tokens: Tensor<1, Int>,
}

impl Packing {
    /// Lists all slots, padding included.
    pub(crate) fn padded(batch: &TokenBatch) -> Self {
        Self { rows: batch.rows(), time: batch.width(), places: None }
    }

    /// Lists the tokens without padding.
    ///
    /// For training, [`padded`](Self::padded) is cheaper, because the gradient of this list is scattered over the grid.
    pub(crate) fn packed(batch: &TokenBatch, device: &Device) -> Self {
        let places = batch.is_ragged().then(|| {
            let (mut slots, mut tokens) = (Vec::with_capacity(batch.tokens()), Vec::new());
            for (row, &length) in batch.lengths().iter().enumerate() {
                let (first, slot) = (slots.len() as i32, (row * batch.width()) as i32);
                slots.extend(slot..slot + length as i32);
                tokens.extend(first..first + length as i32);
                tokens.resize((row + 1) * batch.width(), 0);
            }
            let tensor = |ids: Vec<i32>| {
                let shape = [ids.len()];
                Tensor::from_data(TensorData::new(ids, shape), device)
            };
            Places { slots: tensor(slots), tokens: tensor(tokens) }
        });
        Self { rows: batch.rows(), time: batch.width(), places }
    }

    /// The listed positions of a grid.
    ///
    /// # Shapes
    /// `[rows, time, width]` to `[positions, width]`.
    pub(crate) fn list(&self, grid: Tensor<3>) -> Tensor<2> {
        let all = grid.flatten(0, 1);
        match &self.places {
            Some(places) => all.select(0, places.slots.clone()),
            None => all,
        }
    }

    /// The grid of a list. Its values at padding are meaningless.
    ///
    /// # Shapes
    /// `[positions, width]` to `[rows, time, width]`.
    pub(crate) fn grid(&self, list: Tensor<2>) -> Tensor<3> {
        let width = list.dims()[1];
        let all = match &self.places {
            Some(places) => list.select(0, places.tokens.clone()),
            None => list,
        };
        all.reshape([self.rows, self.time, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_keeps_its_tokens_through_a_list() {
        let device = Device::default();
        let batch = TokenBatch::new(&[vec![5, 6], vec![7], vec![8, 9, 4]], 0);
        let ids = batch.tensor(&device).float().unsqueeze_dim::<3>(2);
        let packing = Packing::packed(&batch, &device);
        let list = packing.list(ids.clone());
        assert_eq!(list.clone().into_data().iter::<f32>().collect::<Vec<_>>(), [5.0, 6.0, 7.0, 8.0, 9.0, 4.0]);
        let grid: Vec<f32> = packing.grid(list).into_data().iter::<f32>().collect();
        assert_eq!((&grid[..2], grid[3], &grid[6..]), (&[5.0, 6.0][..], 7.0, &[8.0, 9.0, 4.0][..]));
        let padded = Packing::padded(&batch);
        let list = padded.list(ids.clone());
        assert_eq!(list.dims(), [9, 1]);
        assert_eq!(padded.grid(list).into_data(), ids.into_data());
    }
}
