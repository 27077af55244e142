//! Products with factors that follow from the indices of the values, as those of dropout do, on the CPU.

use std::fmt::{self, Debug, Formatter};
use std::ops::Range;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::{DType, Tensor, TensorData};
use pulp::Arch;

use crate::gradient::{Tracked, register, tracked};
use crate::parallel::{in_parallel, joined};

/// Each value of `x` times the factor of its index in a contiguous tensor. The closure should be `#[inline(always)]`, so that
/// it is compiled to vector instructions.
///
/// With autodiff it is one operation, whose backward pass computes the factors again instead of keeping them.
///
/// None if burn must compute it: on another device, in another number format than f32, or if `x` is not contiguous.
///
/// # Shapes
/// The result has the shape of `x`, which has at most 2^32 values.
pub fn scaled<const D: usize>(
    x: &Tensor<D>,
    factor: impl Fn(u32) -> f32 + Copy + Send + Sync + 'static,
) -> Option<Tensor<D>> {
    let (device, shape) = (x.device(), x.shape());
    if device.is_autodiff() {
        let y = scaled(&x.clone().without_autodiff(), factor)?.try_into_primitive::<Flex>().ok()?;
        let node = x.clone().try_into_primitive::<Tracked>().ok()?.node();
        return Some(tracked(y, [node], ScaledBackward(factor), ()));
    }
    if x.dtype() != DType::F32 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let (start, end) = x.layout().contiguous_offsets()?;
    let part = move |range: Range<usize>| {
        let mut y = x.storage()[start..end][range.clone()].to_vec();
        scale(&mut y, range.start as u32, factor);
        y
    };
    // A value takes 0.5 nanoseconds on a current core.
    let count = shape.num_elements();
    let y = joined(in_parallel(count, 16, 0.5 * count as f64, part));
    Some(Tensor::from_data(TensorData::new(y, shape), &device))
}

/// Multiplies values, of which the first has the index `first`, by their factors.
fn scale(values: &mut [f32], first: u32, factor: impl Fn(u32) -> f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (offset, value) in values.iter_mut().enumerate() {
                // Checks for overflow would keep this from vector instructions.
                *value *= factor(first.wrapping_add(offset as u32));
            }
        },
    );
}

struct ScaledBackward<F>(F);

impl<F> Debug for ScaledBackward<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("ScaledBackward")
    }
}

impl<F: Fn(u32) -> f32 + Send + 'static> Backward<Flex, 1> for ScaledBackward<F> {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = grads.consume::<Flex>(&ops.node).into_data();
        scale(gradient.as_mut_slice().expect("a gradient in f32"), 0, self.0);
        register(&ops, grads, [gradient]);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;

    fn factor(index: u32) -> f32 {
        if index.is_multiple_of(3) { 0.0 } else { 1.5 }
    }

    fn factors(shape: [usize; 2], device: &Device) -> Tensor<2> {
        let factors: Vec<f32> = (0..(shape[0] * shape[1]) as u32).map(factor).collect();
        Tensor::from_data(TensorData::new(factors, shape), device)
    }

    #[test]
    fn values_and_gradients_are_multiplied_by_their_factors() {
        let device = Device::flex().autodiff();
        // The last one is shared by the threads.
        for shape in [[1, 1], [7, 37], [700, 1001]] {
            let normal = || random(shape, Distribution::Normal(0.0, 1.0), &device);
            let (x, weight) = (normal().require_grad(), normal());
            let found = scaled(&x, factor).expect("tensors on the CPU");
            let expected = x.clone() * factors(shape, &device);
            assert_eq!(found.clone().into_data(), expected.clone().into_data());
            // A view as the incoming gradient.
            let of = |y: Tensor<2>| (y.transpose() * weight.clone().transpose()).sum().backward();
            let [found, expected] = [found, expected].map(|y| x.grad(&of(y)).expect("it is tracked").into_data());
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn burn_computes_other_tensors() {
        let x = Tensor::<2>::ones([3, 4], &Device::flex());
        assert!(scaled(&x.clone().transpose(), factor).is_none(), "not contiguous");
        assert!(scaled(&x.cast(DType::F16), factor).is_none(), "another number format");
    }
}
