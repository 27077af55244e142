//! Weights in int8, each block of which has a factor.

use std::ops::Range;

use burn::backend::{BackendTensor, BackendTypes, DispatchKindConversion, DispatchTensor, Flex};
use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::{DType, Tensor};
use pulp::Simd;
use pulp::bytemuck::cast_slice_mut;

use crate::weight::{Avx512, Weights, add_products, reduced};

/// The weights that share a factor, side by side along the inputs.
const BLOCK: usize = 64;

type Quantized = <Flex as BackendTypes>::QuantizedTensorPrimitive;

fn scheme() -> QuantScheme {
    let scheme = QuantScheme::default().with_value(QuantValue::Q8S).with_store(QuantStore::Native);
    scheme.per_block([BLOCK as u8], ScaleDtype::F32)
}

/// A matrix `[outputs, inputs]` in int8 for [`linear`](crate::linear): integers from -127 to 127, and for each 64 of them along
/// the inputs a factor in f32, with which the largest of them is exact.
///
/// None on another device, with autodiff, if the matrix is not in f32, or if the inputs are not a multiple of 64.
pub fn int8<const D: usize>(weight: &Tensor<D>) -> Option<Tensor<D>> {
    let fits = weight.dims()[D - 1].is_multiple_of(BLOCK) && weight.dtype() == DType::F32;
    let is_here = weight.clone().try_into_primitive::<Flex>().is_ok();
    (fits && is_here).then(|| weight.clone().quantize_dynamic(&scheme()))
}

/// A matrix that [`int8`] made. None for others.
pub(crate) fn stored(weight: Tensor<2>) -> Option<Quantized> {
    if weight.dtype() != DType::QFloat(scheme()) {
        return None;
    }
    let backend: BackendTensor<Flex> = DispatchTensor::try_into_backend(weight.into_dispatch()).ok()?;
    let BackendTensor::Quantized(weight) = backend else { return None };
    (weight.tensor().layout().contiguous_offsets()?.0 == 0).then_some(weight)
}

/// A matrix in int8, in place.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a> {
    /// Whole blocks.
    values: &'a [i8],
    /// The factor of each block.
    scales: &'a [f32],
}

impl<'a> Blocks<'a> {
    pub(crate) fn of(weight: &'a Quantized) -> Self {
        Self { values: weight.tensor().storage(), scales: weight.scales() }
    }

    #[inline(always)]
    fn blocks(self) -> impl Iterator<Item = (&'a [i8; BLOCK], &'a f32)> {
        self.values.as_chunks().0.iter().zip(self.scales)
    }
}

impl Weights for Blocks<'_> {
    #[inline(always)]
    fn len(self) -> usize {
        self.values.len()
    }

    /// Whole blocks.
    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        Self { scales: &self.scales[range.start / BLOCK..range.end / BLOCK], values: &self.values[range] }
    }

    #[inline(always)]
    fn widen<'a>(self, scratch: &'a mut Vec<f32>, avx512: Option<Avx512>) -> &'a [f32]
    where
        Self: 'a,
    {
        scratch.resize(self.values.len(), 0.0);
        let wide = scratch.as_chunks_mut::<BLOCK>().0;
        for ((values, scale), wide) in self.blocks().zip(wide) {
            widen(values, *scale, wide, avx512);
        }
        scratch
    }

    #[inline(always)]
    fn dots<S: Simd, const R: usize>(
        simd: S,
        x: &[[S::f32s; R]],
        weight: [Self; 4],
        avx512: Option<Avx512>,
    ) -> [[f32; R]; 4] {
        let [a, b, c, d] = weight.map(Self::blocks);
        let mut sums = [[simd.splat_f32s(0.0); R]; 4];
        for ((((x, a), b), c), d) in x.chunks_exact(BLOCK / S::F32_LANES).zip(a).zip(b).zip(c).zip(d) {
            let (a_scale, b_scale, c_scale, d_scale) = (*a.1, *b.1, *c.1, *d.1);
            let (a, b) = (a.0.chunks_exact(S::F32_LANES), b.0.chunks_exact(S::F32_LANES));
            let (c, d) = (c.0.chunks_exact(S::F32_LANES), d.0.chunks_exact(S::F32_LANES));
            for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
                let (a, b) = (vector(simd, a, a_scale, avx512), vector(simd, b, b_scale, avx512));
                let (c, d) = (vector(simd, c, c_scale, avx512), vector(simd, d, d_scale, avx512));
                add_products(simd, x, [a, b, c, d], &mut sums);
            }
        }
        reduced(simd, sums)
    }
}

/// As many weights as a vector holds, in f32.
#[inline(always)]
fn vector<S: Simd>(simd: S, values: &[i8], scale: f32, avx512: Option<Avx512>) -> S::f32s {
    let mut wide = [simd.splat_f32s(0.0)];
    widen(values, scale, cast_slice_mut(&mut wide), avx512);
    wide[0]
}

/// Weights of one block in f32.
#[inline(always)]
fn widen(values: &[i8], scale: f32, wide: &mut [f32], avx512: Option<Avx512>) {
    let (mut values, mut wide) = (values, wide);
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512 {
        let scale = simd.splat_f32x16(scale);
        let (vectors, rest) = values.as_chunks::<16>();
        let (wide_vectors, wide_rest) = wide.as_chunks_mut::<16>();
        for (values, wide) in vectors.iter().zip(wide_vectors) {
            let integers = simd.avx512f._mm512_cvtepi8_epi32(pulp::cast(*values));
            let floats = pulp::cast(simd.avx512f._mm512_cvtepi32_ps(integers));
            *wide = pulp::cast(simd.mul_f32x16(floats, scale));
        }
        (values, wide) = (rest, wide_rest);
    }
    let _ = avx512;
    for (value, wide) in values.iter().zip(wide) {
        *wide = f32::from(*value) * scale;
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;
    use crate::{linear, linears};

    fn uniform(shape: [usize; 2]) -> Tensor<2> {
        random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex())
    }

    #[test]
    fn products_are_those_of_the_rounded_weights() {
        let (a, b) = (int8(&uniform([1003, 128])).expect("a CPU"), int8(&uniform([5, 128])).expect("a CPU"));
        for positions in [1, 2, 3, 4, 7, 13, 40] {
            let x = uniform([positions, 128]);
            let found = linears(&x, [&a, &b]).expect("a CPU");
            for (weight, found) in [&a, &b].into_iter().zip(found) {
                let expected = x.clone().matmul(weight.clone().dequantize().transpose());
                let difference = (found - expected).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-4, "{positions} positions: {difference}");
            }
        }
    }

    #[test]
    fn a_weight_is_off_by_at_most_half_a_step_of_its_block() {
        let weight = uniform([8, 192]);
        let steps = weight.clone().abs().reshape([24, BLOCK]).max_dim(1) / 127.0;
        let error = (int8(&weight).expect("a CPU").dequantize() - weight).abs().reshape([24, BLOCK]).max_dim(1);
        assert!((error / steps).max().into_scalar::<f32>() < 0.501);
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let weight = int8(&Tensor::zeros([2, 64], &Device::flex())).expect("a CPU");
        let y = linear(&uniform([1, 64]), &weight).expect("a CPU");
        assert_eq!(y.into_data().try_to_vec::<f32>().expect("numbers in f32"), [0.0, 0.0]);
    }

    #[test]
    fn every_integer_is_widened_exactly() {
        let integers: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        let expected: Vec<f32> = integers.iter().map(|integer| f32::from(*integer) * 0.5).collect();
        for avx512 in [None, crate::weight::avx512()] {
            let mut wide = vec![0.0; integers.len()];
            widen(&integers, 0.5, &mut wide, avx512);
            assert_eq!(wide, expected);
        }
    }

    #[test]
    fn other_matrices_are_refused() {
        assert!(int8(&uniform([2, 65])).is_none(), "not whole blocks");
        assert!(int8(&uniform([2, 64]).cast(DType::F16)).is_none(), "rounded already");
        assert!(int8(&Tensor::<2>::zeros([2, 64], &Device::flex().autodiff())).is_none(), "with autodiff");
    }
}
