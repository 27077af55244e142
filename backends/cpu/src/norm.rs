//! Norms on the CPU, in one pass over memory instead of one for each arithmetic operation.

use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};

use crate::vectors::{dot, sum};

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467).
///
/// None if burn must compute it: on another device, with autodiff, in another number format than f32, or for tensors that
/// are not contiguous.
///
/// # Shapes
/// `weight`: `[width]`; `x` and the result: `[..., width]`.
pub fn rms_norm<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>, epsilon: f64) -> Option<Tensor<D>> {
    norm(x, weight, None, epsilon)
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
            let scale = (dot(simd, y, y) / weight.len() as f32 + epsilon as f32).sqrt();
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
            let scale = (dot(simd, y, y) / width as f32 + epsilon as f32).sqrt();
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

    #[test]
    fn norms_equal_their_formulas() {
        let device = Device::flex();
        for width in [5, 16, 67] {
            let x = Tensor::<3>::random([2, 3, width], Distribution::Normal(1.0, 2.0), &device);
            let [weight, bias] =
                [(); 2].map(|()| Tensor::<1>::random([width], Distribution::Normal(0.0, 1.0), &device));
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
