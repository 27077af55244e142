//! Rows of activations, packed for products with a matrix.

use pulp::{Arch, Simd, WithSimd};

/// The most rows that are multiplied as dot products.
pub(crate) const FEW: usize = 12;
/// The most rows whose sums fit the registers together. The weights for the next rows are still in the first-level cache.
pub(crate) const GROUP: usize = 4;

/// Rows of activations, packed for products with several parts of a matrix.
pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) inputs: usize,
    /// Whether the rows are packed into panels.
    pub(crate) panels: bool,
    /// The output of [`Pack`] or [`PackTransposed`].
    pub(crate) packed: Vec<f32>,
}

impl Rows {
    /// Packs `x`, `[rows, inputs]`.
    pub(crate) fn new(x: &[f32], inputs: usize) -> Self {
        let count = x.len() / inputs;
        Self { count, inputs, panels: count > FEW, packed: Arch::new().dispatch(Pack { x, inputs }) }
    }

    /// Packs the transpose of `x`, `[inputs, rows]`, into panels.
    pub(crate) fn transposed(x: &[f32], rows: usize) -> Self {
        let packed = Arch::new().dispatch(PackTransposed { x, rows });
        Self { count: rows, inputs: x.len() / rows, panels: true, packed }
    }
}

/// Packs rows.
pub(crate) struct Pack<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) inputs: usize,
}

impl WithSimd for Pack<'_> {
    /// Up to [`FEW`] rows, in groups of [`GROUP`]: for each group the vectors, `[vectors, rows, lanes]`, and then the rest of
    /// each row.
    ///
    /// More rows: panels `[inputs, width]`, one after the other, with zeros for missing rows. `width` is
    /// [`panel_vectors`], or one vector in a last panel of few rows.
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let Self { x, inputs } = self;
        let (rows, lanes) = (x.len() / inputs, S::F32_LANES);
        if rows == 1 {
            return x.to_vec();
        }
        if rows <= FEW {
            let mut packed = Vec::with_capacity(x.len());
            let whole = inputs - inputs % lanes;
            for x in x.chunks(GROUP * inputs) {
                for start in (0..whole).step_by(lanes) {
                    x.chunks_exact(inputs).for_each(|x| packed.extend_from_slice(&x[start..start + lanes]));
                }
                x.chunks_exact(inputs).for_each(|x| packed.extend_from_slice(&x[whole..]));
            }
            return packed;
        }
        let mut packed = vec![0.0; rows.next_multiple_of(lanes) * inputs];
        let width = panel_vectors::<S>() * lanes;
        for (x, panel) in x.chunks(width * inputs).zip(packed.chunks_mut(width * inputs)) {
            for (input, line) in panel.chunks_exact_mut(panel.len() / inputs).enumerate() {
                line.iter_mut().zip(x[input..].iter().step_by(inputs)).for_each(|(slot, x)| *slot = *x);
            }
        }
        packed
    }
}

/// Packs the transpose of a matrix as [`Pack`] packs many rows.
struct PackTransposed<'a> {
    /// `[inputs, rows]`.
    x: &'a [f32],
    rows: usize,
}

impl WithSimd for PackTransposed<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let Self { x, rows } = self;
        let (lanes, inputs) = (S::F32_LANES, x.len() / rows);
        let width = panel_vectors::<S>() * lanes;
        let mut packed = vec![0.0; rows.next_multiple_of(lanes) * inputs];
        for (panel, first) in packed.chunks_mut(width * inputs).zip((0..rows).step_by(width)) {
            let count = (rows - first).min(width);
            for (line, x) in panel.chunks_exact_mut(panel.len() / inputs).zip(x.chunks_exact(rows)) {
                line[..count].copy_from_slice(&x[first..first + count]);
            }
        }
        packed
    }
}

/// The vectors in a line of a full panel, so that the sums of a tile fit the 32 registers of AVX-512 or the 16 of AVX2.
pub(crate) const fn panel_vectors<S: Simd>() -> usize {
    if S::F32_LANES >= 16 { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transpose_of_a_matrix_is_packed_like_its_rows() {
        for (rows, inputs) in [(13, 3), (16, 9), (33, 4), (64, 7), (80, 2)] {
            let x: Vec<f32> = (0_u8..=255).cycle().take(rows * inputs).map(f32::from).collect();
            let columns: Vec<f32> = (0..inputs).flat_map(|input| x[input..].iter().copied().step_by(inputs)).collect();
            assert_eq!(Rows::transposed(&columns, rows).packed, Rows::new(&x, inputs).packed);
        }
    }
}
