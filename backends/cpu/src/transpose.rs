//! Transposed tiles, in the registers of AVX-512.

use crate::product::TILE;
use crate::weight::Avx512;

/// The transpose of 16 rows of a tile.
#[inline(always)]
pub(crate) fn transposed(simd: Avx512, tile: [[f32; 16]; TILE]) -> [[f32; TILE]; 16] {
    let simd = simd.avx512f;
    let [a, b, c, d, e, f, g, h] = tile.map(pulp::cast);
    // Every quarter of these vectors has two rows of two outputs...
    let pairs = [(a, b), (c, d), (e, f), (g, h)];
    let low = pairs.map(|(one, two)| pulp::cast(simd._mm512_unpacklo_ps(one, two)));
    let high = pairs.map(|(one, two)| pulp::cast(simd._mm512_unpackhi_ps(one, two)));
    // ...and every quarter of these one row of four outputs.
    let quads = |first: usize| -> [[f32; 16]; 4] {
        let (low, high) = ([low[first], low[first + 1]], [high[first], high[first + 1]]);
        [
            pulp::cast(simd._mm512_unpacklo_pd(low[0], low[1])),
            pulp::cast(simd._mm512_unpackhi_pd(low[0], low[1])),
            pulp::cast(simd._mm512_unpacklo_pd(high[0], high[1])),
            pulp::cast(simd._mm512_unpackhi_pd(high[0], high[1])),
        ]
    };
    let (left, right) = (quads(0), quads(2));
    let mut rows = [[0.0; TILE]; 16];
    for quarter in 0..4 {
        for row in 0..4 {
            let values = &mut rows[4 * quarter + row];
            values[..4].copy_from_slice(&left[row][4 * quarter..][..4]);
            values[4..].copy_from_slice(&right[row][4 * quarter..][..4]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let Some(simd) = crate::weight::avx512() else { return };
        let tile: [[f32; 16]; TILE] =
            std::array::from_fn(|output| std::array::from_fn(|row| (16 * output + row) as f32));
        for (row, values) in transposed(simd, tile).iter().enumerate() {
            assert_eq!(*values, std::array::from_fn(|output| (16 * output + row) as f32));
        }
    }
}
