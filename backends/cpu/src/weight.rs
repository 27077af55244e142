//! Number formats of weights, and how they are widened to f32.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::Simd;
use pulp::bytemuck::cast_slice_mut;

#[cfg(target_arch = "x86_64")]
pub(crate) type Avx512 = pulp::x86::V4;
/// Elsewhere there is no value of this type.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Avx512 = std::convert::Infallible;

/// The instructions of AVX-512, if this CPU has them.
#[inline(always)]
pub(crate) fn avx512() -> Option<Avx512> {
    #[cfg(target_arch = "x86_64")]
    return Avx512::try_new();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Weights in place, in one of the number formats. A matrix lies row after row.
pub(crate) trait Weights: Copy + Send + Sync {
    /// The number of weights.
    fn len(self) -> usize;

    /// Some of the weights.
    fn part(self, range: Range<usize>) -> Self;

    /// The weights in f32: these themselves, or copied into `scratch`.
    fn widen<'a>(self, scratch: &'a mut Vec<f32>, avx512: Option<Avx512>) -> &'a [f32]
    where
        Self: 'a;

    /// The dot products of whole vectors of `R` rows with four outputs, `[4, R]`.
    ///
    /// Weights are widened in registers: a copy of them would let the memory wait during the multiplications.
    fn dots<S: Simd, const R: usize>(
        simd: S,
        x: &[[S::f32s; R]],
        weight: [Self; 4],
        avx512: Option<Avx512>,
    ) -> [[f32; R]; 4];
}

impl<W: Weight> Weights for &[W] {
    #[inline(always)]
    fn len(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        &self[range]
    }

    #[inline(always)]
    fn widen<'a>(self, scratch: &'a mut Vec<f32>, avx512: Option<Avx512>) -> &'a [f32]
    where
        Self: 'a,
    {
        W::widen(self, scratch, avx512)
    }

    #[inline(always)]
    fn dots<S: Simd, const R: usize>(
        simd: S,
        x: &[[S::f32s; R]],
        weight: [Self; 4],
        avx512: Option<Avx512>,
    ) -> [[f32; R]; 4] {
        let [a, b, c, d] = weight.map(|weight| weight.chunks_exact(S::F32_LANES));
        let mut sums = [[simd.splat_f32s(0.0); R]; 4];
        for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
            let (a, b) = (W::vector(simd, a, avx512), W::vector(simd, b, avx512));
            let (c, d) = (W::vector(simd, c, avx512), W::vector(simd, d, avx512));
            add_products(simd, x, [a, b, c, d], &mut sums);
        }
        reduced(simd, sums)
    }
}

/// Adds the products of a vector of each of `R` rows with one of each of four outputs.
#[inline(always)]
pub(crate) fn add_products<S: Simd, const R: usize>(
    simd: S,
    x: &[S::f32s; R],
    weight: [S::f32s; 4],
    sums: &mut [[S::f32s; R]; 4],
) {
    for row in 0..R {
        for output in 0..4 {
            sums[output][row] = simd.mul_add_f32s(x[row], weight[output], sums[output][row]);
        }
    }
}

/// The sum of the lanes of each vector.
#[inline(always)]
pub(crate) fn reduced<S: Simd, const R: usize>(simd: S, sums: [[S::f32s; R]; 4]) -> [[f32; R]; 4] {
    let mut dots = [[0.0; R]; 4];
    for output in 0..4 {
        for row in 0..R {
            dots[output][row] = simd.reduce_sum_f32s(sums[output][row]);
        }
    }
    dots
}

/// A number format of weights.
pub(crate) trait Weight: Copy + Send + Sync {
    /// Weights in f32: these themselves, or copied into `scratch`.
    fn widen<'a>(weights: &'a [Self], scratch: &'a mut Vec<f32>, avx512: Option<Avx512>) -> &'a [f32];

    /// As many weights as a vector holds, in f32.
    fn vector<S: Simd>(simd: S, weights: &[Self], avx512: Option<Avx512>) -> S::f32s;
}

impl Weight for f32 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], _: &'a mut Vec<f32>, _: Option<Avx512>) -> &'a [f32] {
        weights
    }

    #[inline(always)]
    fn vector<S: Simd>(_: S, weights: &[Self], _: Option<Avx512>) -> S::f32s {
        S::as_simd_f32s(weights).0[0]
    }
}

impl Weight for bf16 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], scratch: &'a mut Vec<f32>, _: Option<Avx512>) -> &'a [f32] {
        scratch.resize(weights.len(), 0.0);
        widen_bf16(weights, scratch);
        scratch
    }

    #[inline(always)]
    fn vector<S: Simd>(simd: S, weights: &[Self], _: Option<Avx512>) -> S::f32s {
        let mut wide = [simd.splat_f32s(0.0)];
        widen_bf16(weights, cast_slice_mut(&mut wide));
        wide[0]
    }
}

impl Weight for f16 {
    #[inline(always)]
    fn widen<'a>(weights: &'a [Self], scratch: &'a mut Vec<f32>, avx512: Option<Avx512>) -> &'a [f32] {
        scratch.resize(weights.len(), 0.0);
        widen_halves(weights, scratch, avx512);
        scratch
    }

    #[inline(always)]
    fn vector<S: Simd>(simd: S, weights: &[Self], avx512: Option<Avx512>) -> S::f32s {
        let mut wide = [simd.splat_f32s(0.0)];
        widen_halves(weights, cast_slice_mut(&mut wide), avx512);
        wide[0]
    }
}

#[inline(always)]
fn widen_bf16(weights: &[bf16], floats: &mut [f32]) {
    for (weight, wide) in weights.iter().zip(floats) {
        *wide = f32::from_bits(u32::from(weight.to_bits()) << 16);
    }
}

#[inline(always)]
fn widen_halves(halves: &[f16], floats: &mut [f32], avx512: Option<Avx512>) {
    let (mut halves, mut floats) = (halves.reinterpret_cast(), floats);
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512 {
        let (blocks, rest) = halves.as_chunks::<16>();
        let (wide, wide_rest) = floats.as_chunks_mut::<16>();
        for (block, wide) in blocks.iter().zip(wide) {
            *wide = pulp::cast(simd.avx512f._mm512_cvtph_ps(pulp::cast(*block)));
        }
        (halves, floats) = (rest, wide_rest);
    }
    let _ = avx512;
    for (half, wide) in halves.iter().zip(floats) {
        *wide = widen_half(*half);
    }
}

/// The bits of a half in f32, without branches, so that the compiler turns a loop into vector instructions.
#[inline(always)]
fn widen_half(half: u16) -> f32 {
    let bits = u32::from(half) << 16;
    let (sign, magnitude) = (bits & 0x8000_0000, bits << 1);
    // The exponent of f32 is 112 larger. The product with 2^-112 keeps infinities and NaN, whose exponent is the largest.
    let normal = f32::from_bits((magnitude >> 4) + (0xE0 << 23)) * f32::from_bits(0x0780_0000);
    // As a fraction of 0.5, a subnormal is exact.
    let subnormal = f32::from_bits((magnitude >> 17) | (126 << 23)) - 0.5;
    let magnitude = if magnitude < 1 << 27 { subnormal } else { normal };
    f32::from_bits(sign | magnitude.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_widened_exactly() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut wide = vec![0.0; halves.len()];
        for avx512 in [None, avx512()] {
            widen_halves(&halves, &mut wide, avx512);
            for (half, wide) in halves.iter().zip(&wide) {
                assert!(
                    half.to_f32().to_bits() == wide.to_bits() || half.is_nan() && wide.is_nan(),
                    "{half:?}: {wide}"
                );
            }
        }
    }
}
