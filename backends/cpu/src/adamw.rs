//! Optimizer steps on the CPU, in one pass over memory and on all cores.

use burn::tensor::{DType, Tensor, TensorData};
use pulp::Arch;
use rayon::prelude::*;

/// The numbers that a thread takes at a time. They fit a second-level cache.
const BLOCK: usize = 1 << 14;

/// The settings of a step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2).
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// The decay of the first moment.
    pub beta_1: f32,
    /// The decay of the second moment.
    pub beta_2: f32,
    /// Added to the square root of the second moment.
    pub epsilon: f32,
    /// The learning rate.
    pub learning_rate: f64,
    /// The decoupled weight decay, before it is multiplied by the learning rate.
    pub weight_decay: f32,
    /// The number of this step, from 1 on.
    pub time: usize,
}

/// Whether a tensor is on the CPU, in f32 and without autodiff, so that [`adamw`] computes with it.
pub fn is_f32<const D: usize>(tensor: &Tensor<D>) -> bool {
    !tensor.device().is_autodiff()
        && tensor.dtype() == DType::F32
        && tensor.clone().try_into_primitive::<burn::backend::Flex>().is_ok()
}

/// The new weight and the new first and second moments, which are 0 before the first step.
///
/// # Panics
/// If a tensor is not in f32, or their shapes differ.
pub fn adamw<const D: usize>(
    weight: Tensor<D>,
    gradient: Tensor<D>,
    moments: Option<[Tensor<D>; 2]>,
    step: AdamWStep,
) -> [Tensor<D>; 3] {
    let (device, shape) = (weight.device(), weight.shape());
    let [first, second] = moments.map_or_else(
        || [(); 2].map(|()| TensorData::zeros::<f32, _>(shape.clone())),
        |moments| moments.map(Tensor::into_data),
    );
    // Tensors that nobody else holds are changed in place.
    let (mut found, gradient) = ([weight.into_data(), first, second], gradient.into_data());
    assert!(found.iter().all(|data| data.shape() == gradient.shape()), "a weight, its gradient and moments");
    let [weights, first, second] = found.each_mut().map(|data| data.as_mut_slice::<f32>().expect("numbers in f32"));
    let gradient = gradient.as_slice::<f32>().expect("numbers in f32");
    let blocks = (weights.par_chunks_mut(BLOCK), first.par_chunks_mut(BLOCK), second.par_chunks_mut(BLOCK));
    blocks.into_par_iter().zip(gradient.par_chunks(BLOCK)).for_each(|((weights, first, second), gradient)| {
        Arch::new().dispatch(
            #[inline(always)]
            || update(weights, [first, second], gradient, step),
        );
    });
    found.map(|data| Tensor::from_data(data, &device))
}

/// The operations are those of burn's AdamW, in their order, so that both give the same numbers.
#[inline(always)]
fn update(weights: &mut [f32], [first, second]: [&mut [f32]; 2], gradient: &[f32], step: AdamWStep) {
    let AdamWStep { beta_1, beta_2, epsilon, learning_rate, weight_decay, time } = step;
    let corrections = [beta_1, beta_2].map(|beta| 1.0 - beta.powi(time as i32));
    let kept = (1.0 - learning_rate * f64::from(weight_decay)) as f32;
    let rate = learning_rate as f32;
    for (((weight, first), second), gradient) in weights.iter_mut().zip(first).zip(second).zip(gradient) {
        *first = *first * beta_1 + gradient * (1.0 - beta_1);
        *second = *second * beta_2 + gradient * gradient * (1.0 - beta_2);
        let delta = (*first / corrections[0]) / ((*second / corrections[1]).sqrt() + epsilon);
        *weight = *weight * kept - delta * rate;
    }
}

/// The sum of the squares of all numbers. It does not depend on the number of threads.
///
/// None if burn must compute it.
pub fn square_sum<const D: usize>(tensor: &Tensor<D>) -> Option<f64> {
    if !is_f32(tensor) {
        return None;
    }
    let tensor = tensor.clone().try_into_primitive::<burn::backend::Flex>().ok()?;
    let blocks = tensor.as_slice::<f32>()?.par_chunks(BLOCK);
    let sums: Vec<f32> = blocks.map(|block| Arch::new().dispatch(SquareSum(block))).collect();
    Some(sums.into_iter().map(f64::from).sum())
}

struct SquareSum<'a>(&'a [f32]);

impl pulp::WithSimd for SquareSum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> f32 {
        crate::vectors::dot(simd, self.0, self.0)
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::{AdamWConfig, Optimizer};
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;

    #[test]
    fn steps_equal_those_of_burn() {
        let device = Device::flex();
        let normal = || random([300, 177], Distribution::Normal(0.0, 1.0), &device);
        for weight_decay in [0.0, 0.3] {
            let config = AdamWConfig::new().with_beta_2(0.98).with_epsilon(1e-9).with_weight_decay(weight_decay);
            let burn = config.build();
            let weight = normal();
            let (mut expected, mut state) = (weight.clone(), None);
            let (mut found, mut moments) = (weight, None);
            for time in 1..=5 {
                let gradient = normal();
                (expected, state) = burn.step(1e-3, expected, gradient.clone(), state);
                let step =
                    AdamWStep { beta_1: 0.9, beta_2: 0.98, epsilon: 1e-9, learning_rate: 1e-3, weight_decay, time };
                let [weight, first, second] = adamw(found, gradient, moments, step);
                (found, moments) = (weight, Some([first, second]));
            }
            assert_eq!(found.into_data(), expected.into_data());
            let momentum = state.expect("the state of five steps").momentum;
            let expected = [momentum.moment_1, momentum.moment_2].map(Tensor::into_data);
            assert_eq!(moments.expect("moments").map(Tensor::into_data), expected);
        }
    }

    #[test]
    fn a_sum_of_squares_equals_that_in_f64() {
        let device = Device::flex();
        for count in [3, 100_003] {
            let numbers = random([count], Distribution::Normal(0.0, 1.0), &device);
            let exact: f64 = numbers.clone().into_data().iter::<f64>().map(|number| number * number).sum();
            let found = square_sum(&numbers).expect("a tensor on the CPU");
            assert!((found - exact).abs() < 1e-6 * exact, "{found} is not {exact}");
        }
        assert!(square_sum(&Tensor::<1>::ones([3], &device.autodiff())).is_none());
    }
}
