//! The gate of a feed-forward layer on the CPU, in one pass over memory.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};

use crate::exp::exp;
use crate::gradient::{Primitive, register, slice, with_backward};
use crate::parallel::{in_parallel, joined};

/// `silu(gate) * up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, arXiv 2002.05202).
///
/// With autodiff it is one operation, whose backward pass is one pass over memory, too.
///
/// None if burn must compute it: on another device, in another number format than f32, or for tensors that are not
/// contiguous.
///
/// # Shapes
/// All have the same shape.
pub fn silu_gate<const D: usize>(gate: &Tensor<D>, up: &Tensor<D>) -> Option<Tensor<D>> {
    let (device, shape) = (gate.device(), gate.shape());
    if device.is_autodiff() {
        let y = silu_gate(&gate.clone().without_autodiff(), &up.clone().without_autodiff())?;
        return with_backward(y, (gate, up), SiluGateBackward);
    }
    let f32s = gate.dtype() == DType::F32 && up.dtype() == DType::F32;
    if !f32s || up.shape() != shape || shape.num_elements() == 0 {
        return None;
    }
    let gate = gate.clone().try_into_primitive::<Flex>().ok()?;
    let up = up.clone().try_into_primitive::<Flex>().ok()?;
    let count = shape.num_elements();
    let ((gate_start, _), (up_start, _)) = (gate.layout().contiguous_offsets()?, up.layout().contiguous_offsets()?);
    let part = move |range: Range<usize>| {
        let gate = &gate.storage()[gate_start..][range.clone()];
        Arch::new().dispatch(Silu { gate, up: &up.storage()[up_start..][range] })
    };
    // A value takes 0.7 nanoseconds on a current core.
    let y = joined(in_parallel(count, 16, 0.7 * count as f64, part));
    Some(Tensor::from_data(TensorData::new(y, shape), &device))
}

struct Silu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
}

impl WithSimd for Silu<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let mut y = self.up.to_vec();
        for (y, gate) in y.iter_mut().zip(self.gate) {
            *y *= gate / one_plus_exp(-gate);
        }
        y
    }
}

/// `1 + e^x`. It does not grow from 88 on, up to which `exp` is defined: the sigmoid is 0 there in any case.
#[inline(always)]
fn one_plus_exp(x: f32) -> f32 {
    1.0 + exp(if x > 88.0 { 88.0 } else { x })
}

#[derive(Debug)]
struct SiluGateBackward;

impl Backward<Flex, 2> for SiluGateBackward {
    /// The gate and what it multiplies.
    type State = [Primitive; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let incoming = grads.consume::<Flex>(&ops.node).to_contiguous();
        let shape = incoming.shape();
        let [gate, up] = ops.state.each_ref().map(|tensor| tensor.to_contiguous());
        let [mut of_gate, mut of_up] = [(); 2].map(|()| slice(&incoming).to_vec());
        let (gate, up) = (slice(&gate), slice(&up));
        Arch::new().dispatch(SiluGradients { of_gate: &mut of_gate, of_up: &mut of_up, gate, up });
        register(&ops, grads, [of_gate, of_up].map(|gradient| TensorData::new(gradient, shape.clone())));
    }
}

/// Replaces two copies of the gradient of the result by the gradients of the gate and of what it multiplies.
struct SiluGradients<'a> {
    of_gate: &'a mut [f32],
    of_up: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
}

impl WithSimd for SiluGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let numbers = self.of_gate.iter_mut().zip(self.of_up).zip(self.gate).zip(self.up);
        for (((of_gate, of_up), gate), up) in numbers {
            let sigmoid = 1.0 / one_plus_exp(-gate);
            *of_up *= gate * sigmoid;
            *of_gate *= up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::silu;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;

    #[test]
    fn the_gate_equals_its_formula() {
        let device = Device::flex();
        for shape in [[1, 5], [3, 67], [300, 1001]] {
            let [gate, up] = [30.0, 1.0].map(|std| random(shape, Distribution::Normal(0.0, std), &device));
            let found = silu_gate(&gate, &up).expect("tensors on the CPU");
            let expected = silu(gate) * up;
            let difference = ((found - expected.clone()).abs() / (expected.abs() + 1.0)).max().into_scalar::<f32>();
            assert!(difference < 1e-6, "{difference}");
        }
        let extreme = Tensor::<1>::from_floats([-1e9, -100.0, 0.0, 100.0, f32::NAN], &device);
        let found = silu_gate(&extreme, &Tensor::ones([5], &device)).expect("tensors on the CPU");
        let found = found.into_data().try_to_vec::<f32>().unwrap_or_default();
        assert!(found[0].abs() < 1e-25 && found[1].abs() < 1e-30 && found[4].is_nan(), "{found:?}");
        assert_eq!(found[2..4], [0.0, 100.0]);
    }

    #[test]
    fn gradients_equal_those_of_the_formula() {
        let device = Device::flex().autodiff();
        let normal = |std| random([7, 37], Distribution::Normal(0.0, std), &device);
        let (gate, up, factor) = (normal(5.0).require_grad(), normal(1.0).require_grad(), normal(1.0));
        let found = silu_gate(&gate, &up).expect("tensors on the CPU");
        // A view as the incoming gradient.
        let found = (found.transpose() * factor.clone().transpose()).sum().backward();
        let expected = (silu(gate.clone()) * up.clone() * factor).sum().backward();
        for tensor in [gate, up] {
            let [found, expected] = [&found, &expected].map(|grads| tensor.grad(grads).expect("it is tracked"));
            assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-5);
        }
    }
}
