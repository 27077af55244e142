//! `x W^T` for weights `[outputs, inputs]` in place: sums in f32 for weights in f32, f16, bf16 or int8.
//!
//! burn's products of one row use one core, and those of a few rows copy the weights or sum halves in f16. Here up to
//! [`FEW`](crate::rows::FEW) rows are multiplied as dot products along the inputs. More rows are packed into panels whose
//! vectors run along the rows, so that each weight is multiplied with as many rows as a vector holds.

use pulp::bytemuck::{NoUninit, cast_slice};
use pulp::{Arch, Simd, WithSimd};

use crate::rows::{GROUP, Rows, panel_vectors};
#[cfg(target_arch = "x86_64")]
use crate::transpose::transposed;
use crate::weight::{Avx512, Weights, avx512};

/// The outputs that are computed side by side for a panel.
pub(crate) const TILE: usize = 8;

/// The numbers of panels that are read again for each tile: half a megabyte, which a second-level cache holds.
const BLOCK: usize = 1 << 17;

impl Rows {
    /// `x W^T` for `weight` `[outputs, inputs]`; the result is `[rows, outputs]`.
    pub(crate) fn times(&self, weight: impl Weights) -> Vec<f32> {
        let Self { count, inputs, panels, ref packed } = *self;
        let mut y = vec![0.0; count * (weight.len() / inputs)];
        Arch::new().dispatch(Product { panels, inputs, x: packed, weight, y: &mut y });
        y
    }
}

/// The product of some outputs, by one thread.
struct Product<'a, W> {
    panels: bool,
    inputs: usize,
    /// [`Rows::packed`].
    x: &'a [f32],
    /// `[outputs, inputs]`.
    weight: W,
    /// `[rows, outputs]`.
    y: &'a mut [f32],
}

impl<W: Weights> WithSimd for Product<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.panels { self.many(simd) } else { self.few(simd) }
    }
}

impl<W: Weights> Product<'_, W> {
    /// Rows that are not packed into panels.
    #[inline(always)]
    fn few<S: Simd>(self, simd: S) {
        let Self { inputs, x, weight, y, .. } = self;
        let outputs = weight.len() / inputs;
        let (mut scratch, avx512) = (vec![], avx512());
        // Four parts of the matrix are read side by side: the memory reads ahead in more pages at a time.
        let quarter = outputs.div_ceil(4);
        for first in 0..quarter {
            let output: [usize; 4] = std::array::from_fn(|part| (part * quarter + first).min(outputs - 1));
            let tile = output.map(
                #[inline(always)]
                |output| weight.part(output * inputs..(output + 1) * inputs),
            );
            for (x, y) in x.chunks(GROUP * inputs).zip(y.chunks_mut(GROUP * outputs)) {
                match x.len() / inputs {
                    1 => group::<S, W, 1>(simd, x, tile, y, output, &mut scratch, avx512),
                    2 => group::<S, W, 2>(simd, x, tile, y, output, &mut scratch, avx512),
                    3 => group::<S, W, 3>(simd, x, tile, y, output, &mut scratch, avx512),
                    _ => group::<S, W, 4>(simd, x, tile, y, output, &mut scratch, avx512),
                }
            }
        }
    }

    /// Panels of rows.
    #[inline(always)]
    fn many<S: Simd>(self, simd: S) {
        let Self { inputs, x, weight, y, .. } = self;
        let outputs = weight.len() / inputs;
        let width = panel_vectors::<S>() * S::F32_LANES;
        let panels = (BLOCK / (width * inputs)).max(1);
        let (mut scratch, avx512) = (vec![], avx512());
        for (x, y) in x.chunks(panels * width * inputs).zip(y.chunks_mut(panels * width * outputs)) {
            for first in (0..outputs).step_by(TILE) {
                let part = weight.part(first * inputs..outputs.min(first + TILE) * inputs);
                let weight = tile(part.widen(&mut scratch, avx512), inputs);
                for (panel, y) in x.chunks(width * inputs).zip(y.chunks_mut(width * outputs)) {
                    let panel = S::as_simd_f32s(panel).0;
                    if panel.len() == 2 * inputs {
                        store(&multiply::<S, 2>(simd, panel, weight), y, first, outputs, avx512);
                    } else {
                        store(&multiply::<S, 1>(simd, panel, weight), y, first, outputs, avx512);
                    }
                }
            }
        }
    }
}

/// The weights of `T` outputs. If there are fewer, the last one is repeated.
#[inline(always)]
fn tile<const T: usize>(weight: &[f32], inputs: usize) -> [&[f32]; T] {
    let last = weight.len() / inputs - 1;
    std::array::from_fn(|output| &weight[output.min(last) * inputs..][..inputs])
}

// Plain loops over indices: closures and iterators would be compiled without the instructions of `S`.

/// Four outputs for the `R` rows of a group, which are written into `y`, `[R, outputs]`.
#[inline(always)]
fn group<S: Simd, W: Weights, const R: usize>(
    simd: S,
    x: &[f32],
    weight: [W; 4],
    y: &mut [f32],
    output: [usize; 4],
    scratch: &mut Vec<f32>,
    avx512: Option<Avx512>,
) {
    let (inputs, outputs) = (x.len() / R, y.len() / R);
    let whole = inputs - inputs % S::F32_LANES;
    let (x, rest) = x.split_at(R * whole);
    let sums = W::dots(simd, S::as_simd_f32s(x).0.as_chunks::<R>().0, weight, avx512);
    for part in 0..4 {
        let weight = weight[part].part(whole..inputs).widen(scratch, avx512);
        for row in 0..R {
            let rest = rest[row * weight.len()..].iter().zip(weight);
            y[row * outputs + output[part]] = rest.fold(sums[part][row], |sum, (x, weight)| sum + x * weight);
        }
    }
}

/// The outputs for the rows of a panel of `V` vectors.
#[inline(always)]
fn multiply<S: Simd, const V: usize>(simd: S, panel: &[S::f32s], weight: [&[f32]; TILE]) -> [[S::f32s; V]; TILE] {
    let panel = panel.as_chunks::<V>().0;
    let inputs = panel.len();
    let [a, b, c, d, e, f, g, h] = weight;
    let (a, b, c, d) = (&a[..inputs], &b[..inputs], &c[..inputs], &d[..inputs]);
    let (e, f, g, h) = (&e[..inputs], &f[..inputs], &g[..inputs], &h[..inputs]);
    let mut sums = [[simd.splat_f32s(0.0); V]; TILE];
    for i in 0..inputs {
        let (x, weight) = (panel[i], [a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i]]);
        for output in 0..TILE {
            let weight = simd.splat_f32s(weight[output]);
            for vector in 0..V {
                sums[output][vector] = simd.mul_add_f32s(weight, x[vector], sums[output][vector]);
            }
        }
    }
    // A copy, so that `sums` itself has no address and stays in registers.
    let mut found = [[simd.splat_f32s(0.0); V]; TILE];
    for output in 0..TILE {
        for vector in 0..V {
            found[output][vector] = sums[output][vector];
        }
    }
    found
}

/// Writes the outputs from `first` on into the rows of `y`, `[rows, outputs]`.
#[inline(always)]
fn store<V: NoUninit>(sums: &[V; TILE], y: &mut [f32], first: usize, outputs: usize, avx512: Option<Avx512>) {
    let sums: &[f32] = cast_slice(sums);
    let width = sums.len() / TILE;
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512.filter(|_| first + TILE <= outputs) {
        let whole = width.min(y.len() / outputs) / 16 * 16;
        while done < whole {
            let tile = std::array::from_fn(|output| *sums[output * width + done..].first_chunk().expect("16 rows"));
            for (row, values) in transposed(simd, tile).iter().enumerate() {
                y[(done + row) * outputs + first..][..TILE].copy_from_slice(values);
            }
            done += 16;
        }
    }
    let _ = avx512;
    for (row, y) in y.chunks_exact_mut(outputs).enumerate().skip(done) {
        for (output, y) in y[first..].iter_mut().take(TILE).enumerate() {
            *y = sums[output * width + row];
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;
    use crate::rows::{FEW, Pack};
    use crate::weight::Weight;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    fn plain(x: &[f32], weight: &[f32], inputs: usize) -> Vec<f64> {
        let dot = |(x, weight): (&f32, &f32)| f64::from(*x) * f64::from(*weight);
        x.chunks(inputs)
            .flat_map(|x| weight.chunks(inputs).map(move |weight| x.iter().zip(weight).map(dot).sum()))
            .collect()
    }

    fn product<W: Weight>(x: &[f32], weight: &[W], inputs: usize) -> Vec<f32> {
        Rows::new(x, inputs).times(weight)
    }

    /// As [`product`], with the instructions of `S`.
    fn product_with<S: Simd>(simd: S, x: &[f32], weight: &[f32], inputs: usize) -> Vec<f32> {
        let (rows, packed) = (x.len() / inputs, simd.vectorize(Pack { x, inputs }));
        let mut y = vec![0.0; rows * (weight.len() / inputs)];
        simd.vectorize(Product { panels: rows > FEW, inputs, x: &packed, weight, y: &mut y });
        y
    }

    proptest! {
        #[test]
        fn vectors_of_other_lengths_give_the_same_products(
            rows in 1_usize..40, inputs in 1_usize..60, outputs in 1_usize..20, seed: u32,
        ) {
            let (x, weight) = (numbers(rows * inputs, seed), numbers(outputs * inputs, seed ^ 0xABCD));
            let expected = plain(&x, &weight, inputs);
            let mut found = vec![product_with(pulp::Scalar, &x, &weight, inputs)];
            #[cfg(target_arch = "x86_64")]
            found.extend(pulp::x86::V3::try_new().map(|simd| product_with(simd, &x, &weight, inputs)));
            for found in found {
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{} is not {}", found, expected);
                }
            }
        }

        #[test]
        fn products_equal_sums_in_f64(rows in 1_usize..70, inputs in 1_usize..80, outputs in 1_usize..40, seed: u32) {
            let (x, weight) = (numbers(rows * inputs, seed), numbers(outputs * inputs, seed ^ 0xABCD));
            let f16s: Vec<f16> = weight.iter().map(|weight| f16::from_f32(*weight)).collect();
            let bf16s: Vec<bf16> = weight.iter().map(|weight| bf16::from_f32(*weight)).collect();
            for (found, weight) in [
                (product(&x, &weight, inputs), weight),
                (product(&x, &f16s, inputs), f16s.iter().map(|weight| weight.to_f32()).collect()),
                (product(&x, &bf16s, inputs), bf16s.iter().map(|weight| weight.to_f32()).collect()),
            ] {
                let expected = plain(&x, &weight, inputs);
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{} is not {}", found, expected);
                }
            }
        }
    }

    #[test]
    fn sums_of_halves_do_not_overflow_or_lose_small_terms() {
        // In f16, the sum would stop growing at 2,048, and at 65,520 become infinite.
        let ones = vec![f16::ONE; 5000];
        for rows in [1, 5, 13] {
            assert_eq!(product(&vec![100.0; 5000 * rows], &ones, 5000), vec![500_000.0; rows]);
        }
    }
}
