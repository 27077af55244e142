//! Norms on the CPU, in one pass over memory instead of one for each arithmetic operation.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::{DType, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};

use crate::gradient::{Primitive, register, slice, with_backward};
use crate::vectors::{dot, sum};

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467).
///
/// With autodiff it is one operation, whose backward pass is one pass over memory, too.
///
/// None if burn must compute it: on another device, in another number format than f32, or for tensors that are not
/// contiguous.
///
/// # Shapes
/// `weight`: `[width]`; `x` and the result: `[..., width]`.
pub fn rms_norm<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>, epsilon: f64) -> Option<Tensor<D>> {
    if !x.device().is_autodiff() {
        return norm(x, weight, None, epsilon);
    }
    let (inner, inner_weight) = (x.clone().without_autodiff(), weight.clone().without_autodiff());
    let y = norm(&inner, &inner_weight, None, epsilon)?;
    with_backward(y, (x, weight), RmsNormBackward { epsilon })
}

#[derive(Debug)]
struct RmsNormBackward {
    epsilon: f64,
}

impl Backward<Flex, 2> for RmsNormBackward {
    /// The input and the weight.
    type State = [Primitive; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let incoming = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [x, weight] = ops.state.each_ref().map(|tensor| tensor.to_contiguous());
        let mut dx: Vec<f32> = slice(&incoming).to_vec();
        let mut dweight = vec![0.0; weight.shape().num_elements()];
        Arch::new().dispatch(RmsGradients {
            dx: &mut dx,
            dweight: &mut dweight,
            x: slice(&x),
            weight: slice(&weight),
            epsilon: self.epsilon,
        });
        register(&ops, grads, [TensorData::new(dx, x.shape()), TensorData::new(dweight, weight.shape())]);
    }
}

/// Replaces the gradient of the norm by that of its input, and adds up that of the weight.
struct RmsGradients<'a> {
    /// In: the gradient of the norm. Out: the gradient of the input.
    dx: &'a mut [f32],
    dweight: &'a mut [f32],
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f64,
}

impl WithSimd for RmsGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dx, dweight, x, weight, epsilon } = self;
        let width = weight.len();
        for (dx, x) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let scale = 1.0 / root_mean_square(simd, x, epsilon);
            for (((dx, x), weight), dweight) in dx.iter_mut().zip(x).zip(weight).zip(dweight.iter_mut()) {
                *dweight += *dx * x * scale;
                *dx *= weight;
            }
            let along = dot(simd, dx, x) * scale * scale / width as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = (*dx - x * along) * scale;
            }
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last dimension (Ba et al. 2016, arXiv 1607.06450).
///
/// None if burn must compute it, as for [`rms_norm`].
///
/// # Shapes
/// `weight` and `bias`: `[width]`; `x` and the result: `[..., width]`.
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    norm(x, weight, Some(bias), epsilon)
}

fn norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let (device, shape) = (x.device(), x.shape());
    if device.is_autodiff() || x.dtype() != DType::F32 || shape.num_elements() == 0 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let weight = weight.clone().try_into_primitive::<Flex>().ok()?;
    let bias = match bias {
        Some(bias) => Some(bias.clone().try_into_primitive::<Flex>().ok()?),
        None => None,
    };
    let (x, weight) = (x.as_slice::<f32>()?, weight.as_slice::<f32>()?);
    let mut y = x.to_vec();
    match bias {
        Some(bias) => Arch::new().dispatch(Layer { y: &mut y, weight, bias: bias.as_slice()?, epsilon }),
        None => Arch::new().dispatch(Rms { y: &mut y, weight, epsilon }),
    }
    Some(Tensor::from_data(TensorData::new(y, shape), &device))
}

/// `sqrt(mean(x^2) + epsilon)`.
#[inline(always)]
fn root_mean_square<S: Simd>(simd: S, x: &[f32], epsilon: f64) -> f32 {
    (dot(simd, x, x) / x.len() as f32 + epsilon as f32).sqrt()
}

/// Replaces each row of `y` by its norm.
struct Rms<'a> {
    y: &'a mut [f32],
    weight: &'a [f32],
    epsilon: f64,
}

impl WithSimd for Rms<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { y, weight, epsilon } = self;
        for y in y.chunks_exact_mut(weight.len()) {
            let scale = root_mean_square(simd, y, epsilon);
            for (y, weight) in y.iter_mut().zip(weight) {
                *y = *y / scale * weight;
            }
        }
    }
}

/// Replaces each row of `y` by its norm.
struct Layer<'a> {
    y: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f64,
}

impl WithSimd for Layer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { y, weight, bias, epsilon } = self;
        let width = weight.len();
        for y in y.chunks_exact_mut(width) {
            let mean = sum(simd, y) / width as f32;
            for y in y.iter_mut() {
                *y -= mean;
            }
            let scale = root_mean_square(simd, y, epsilon);
            for ((y, weight), bias) in y.iter_mut().zip(weight).zip(bias) {
                *y = *y / scale * weight + bias;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;

    #[test]
    fn gradients_of_rms_norm_equal_those_of_its_formula() {
        let device = Device::flex().autodiff();
        for width in [5, 67] {
            let x = random([2, 3, width], Distribution::Normal(1.0, 2.0), &device).require_grad();
            let weight = random([width], Distribution::Normal(0.0, 1.0), &device).require_grad();
            let factor = random([2, 3, width], Distribution::Normal(0.0, 1.0), &device);
            let formula = x.clone() / (x.clone().square().mean_dim(2) + 1e-3).sqrt() * weight.clone().unsqueeze();
            let expected = (formula * factor.clone()).sum().backward();
            let found = rms_norm(&x, &weight, 1e-3).expect("tensors on the CPU");
            // A view as the incoming gradient.
            let found = (found.swap_dims(0, 1) * factor.swap_dims(0, 1)).sum().backward();
            let difference = |one: Tensor<1>, other: Tensor<1>| (one - other).abs().max().into_scalar::<f32>();
            let of_x = [&found, &expected].map(|grads| x.grad(grads).expect("x is tracked").flatten(0, 2));
            let of_weight = [&found, &expected].map(|grads| weight.grad(grads).expect("the weight is tracked"));
            for [found, expected] in [of_x, of_weight] {
                let difference = difference(found, expected);
                assert!(difference < 2e-5, "width {width}: {difference}");
            }
        }
    }

    #[test]
    fn a_frozen_weight_gets_no_gradient() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::ones([2, 3], &device).require_grad();
        let weight = Tensor::<1>::ones([3], &device);
        let grads = rms_norm(&x, &weight, 1e-3).expect("tensors on the CPU").sum().backward();
        assert!(x.grad(&grads).is_some() && weight.grad(&grads).is_none());
    }

    #[test]
    fn norms_equal_their_formulas() {
        let device = Device::flex();
        for width in [5, 16, 67] {
            let x = random([2, 3, width], Distribution::Normal(1.0, 2.0), &device);
            let [weight, bias] = [(); 2].map(|()| random([width], Distribution::Normal(0.0, 1.0), &device));
            let rms = x.clone() / (x.clone().square().mean_dim(2) + 1e-3).sqrt() * weight.clone().unsqueeze();
            let centred = x.clone() - x.clone().mean_dim(2);
            let layer = centred.clone() / (centred.square().mean_dim(2) + 1e-3).sqrt() * weight.clone().unsqueeze()
                + bias.clone().unsqueeze();
            for (found, expected) in [(rms_norm(&x, &weight, 1e-3), rms), (layer_norm(&x, &weight, &bias, 1e-3), layer)]
            {
                let difference = (found.expect("tensors on the CPU") - expected).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-5, "width {width}: {difference}");
            }
        }
        let view = Tensor::<2>::ones([3, 4], &device).transpose();
        assert!(rms_norm(&view, &Tensor::ones([3], &device), 1e-6).is_none(), "burn reads views");
    }
}
