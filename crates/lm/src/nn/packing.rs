//! The positions of a batch as a padded grid and as a list without padding.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::TokenBatch;

/// Converts between two layouts of a batch: a grid with padding, `[rows, time, width]`, and a list of its positions,
/// row after row, `[positions, width]`.
///
/// Attention needs the grid. All other layers work on each position by itself, so a list without padding saves work.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    rows: usize,
    time: usize,
    /// None if the list has all slots of the grid, padding included.
    places: Option<Places>,
}

#[derive(Clone, Debug)]
struct Places {
    /// For each token of the list, its slot in the flattened grid, `[tokens]`.
    slots: Tensor<1, Int>,
    /// For each slot of the flattened grid, its token in the list, `[rows * time]`. Slots of padding have 0.
    tokens: Tensor<1, Int>,
}

impl Packing {
    /// The faster packing for a pass on a device: [`padded`](Self::padded) for training, because the gradient of a list without
    /// padding is scattered to the grid, and otherwise [`packed`](Self::packed).
    pub(crate) fn fastest(batch: &TokenBatch, device: &Device) -> Self {
        if device.is_autodiff() { Self::padded(batch) } else { Self::packed(batch, device) }
    }

    /// A packing whose list has all slots, padding included.
    pub(crate) fn padded(batch: &TokenBatch) -> Self {
        Self { rows: batch.rows(), time: batch.width(), places: None }
    }

    /// A packing whose list has only the tokens, without padding.
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

    /// Converts a grid to the list.
    ///
    /// # Shapes
    /// `[rows, time, width]` to `[positions, width]`.
    pub(crate) fn list(&self, grid: Tensor<3>) -> Tensor<2> {
        self.without_padding(grid.flatten(0, 1))
    }

    /// Converts the flattened grid to the list.
    ///
    /// # Shapes
    /// `[rows * time, width]` to `[positions, width]`.
    pub(crate) fn without_padding(&self, slots: Tensor<2>) -> Tensor<2> {
        match &self.places {
            Some(places) => slots.select(0, places.slots.clone()),
            None => slots,
        }
    }

    /// Converts a list to the grid. The values at padding are meaningless.
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
    fn a_grid_as_a_list_and_back_has_the_same_tokens() {
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
