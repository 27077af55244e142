//! Softmax on the CPU with a backward pass of its own.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use crate::adamw::is_f32;
use crate::gradient::{Primitive, Tracked, register, slice, tracked};
use crate::matrix::for_rows;
use crate::vectors::{dot, exponentials};

/// Softmax over the last dimension, with autodiff.
///
/// It is one operation, and its backward pass another. burn composes it of five.
///
/// None if burn must compute it: without autodiff, on another device, or in another number format than f32.
pub fn softmax<const D: usize>(scores: &Tensor<D>) -> Option<Tensor<D>> {
    let plain = scores.clone().without_autodiff();
    let width = *scores.dims().last()?;
    if !scores.device().is_autodiff() || !is_f32(&plain) || width == 0 {
        return None;
    }
    let device = plain.device();
    let mut data = plain.into_data();
    for_rows(data.as_mut_slice().ok()?, width, |_, row| Arch::new().dispatch(Softmax(row)));
    let weights = Tensor::<D>::from_data(data, &device).try_into_primitive::<Flex>().ok()?;
    let node = scores.clone().try_into_primitive::<Tracked>().ok()?.node();
    Some(tracked(weights.clone(), [node], SoftmaxBackward { width }, weights))
}

/// Replaces a row by its softmax.
struct Softmax<'a>(&'a mut [f32]);

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let scale = 1.0 / exponentials(simd, self.0);
        for weight in self.0 {
            *weight *= scale;
        }
    }
}

#[derive(Debug)]
struct SoftmaxBackward {
    width: usize,
}

impl Backward<Flex, 1> for SoftmaxBackward {
    /// The weights.
    type State = Primitive;

    fn backward(self, ops: Ops<Primitive, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut data = grads.consume::<Flex>(&ops.node).into_data();
        let weights = ops.state.to_contiguous();
        let weights = slice(&weights);
        let found = data.as_mut_slice().expect("a gradient in f32");
        for_rows(found, self.width, |row, gradient| {
            let weights = &weights[row * gradient.len()..][..gradient.len()];
            Arch::new().dispatch(Gradient { gradient, weights });
        });
        register(&ops, grads, [data]);
    }
}

/// Replaces the gradient of a row of weights by that of its scores.
struct Gradient<'a> {
    gradient: &'a mut [f32],
    weights: &'a [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mean = dot(simd, self.gradient, self.weights);
        for (gradient, weight) in self.gradient.iter_mut().zip(self.weights) {
            *gradient = weight * (*gradient - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, FloatDType, activation};

    use super::*;
    use crate::testing::random;

    #[test]
    fn weights_and_gradients_equal_burns_in_f64() {
        let device = Device::flex().autodiff();
        for shape in [[2, 3, 7, 5], [1, 2, 40, 70], [3, 1, 1, 1]] {
            let normal = || random(shape, Distribution::Normal(0.0, 3.0), &device);
            let (scores, factor) = (normal(), normal());
            // Some slots are masked.
            let mask = normal().greater_elem(4.0).float() * -1e9;
            let of = |dtype: FloatDType, softmax: fn(Tensor<4>) -> Tensor<4>| {
                let [scores, factor, mask] = [&scores, &factor, &mask].map(|tensor| tensor.clone().cast(dtype));
                let scores = scores.require_grad();
                let weights = softmax(scores.clone() + mask);
                // A view as the incoming gradient.
                let product = weights.clone().swap_dims(1, 2) * factor.swap_dims(1, 2);
                [weights.without_autodiff(), scores.grad(&product.sum().backward()).expect("the scores are tracked")]
            };
            let expected = of(FloatDType::F64, |scores| activation::softmax(scores, 3));
            let found = of(FloatDType::F32, |scores| softmax(&scores).expect("tensors on the CPU"));
            for (found, expected) in found.into_iter().zip(expected) {
                let difference = (found.cast(FloatDType::F64) - expected).abs().max().into_scalar::<f64>();
                assert!(difference < 2e-6, "{difference}");
            }
        }
        assert!(softmax(&Tensor::<2>::ones([2, 2], &Device::flex())).is_none(), "without autodiff burn computes it");
    }
}
