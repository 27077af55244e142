//! Operations with a backward pass of their own, and scalars with a given gradient.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{BackendTypes, Flex};
use burn::tensor::{Scalar, Tensor, TensorData};

/// A tensor of the CPU that tracks gradients.
pub(crate) type Tracked = Autodiff<Flex, NoCheckpointing>;
/// The memory of a tensor of the CPU.
pub(crate) type Primitive = <Flex as BackendTypes>::FloatTensorPrimitive;

/// A scalar whose gradient in `x` is `gradient`. Its value is 0.
///
/// It is what `(x * gradient).sum()` is to a backward pass, without the passes over memory.
///
/// None if burn must compute it: on another device, or without autodiff.
///
/// # Shapes
/// `gradient` has the shape of `x`, and tracks no gradients; the result: `[1]`.
///
/// # Panics
/// If the shapes differ.
pub fn with_gradient<const D: usize>(x: &Tensor<D>, gradient: &Tensor<D>) -> Option<Tensor<1>> {
    assert_eq!(x.dims(), gradient.dims(), "a gradient has the shape of its tensor");
    let gradient = gradient.clone().try_into_primitive::<Flex>().ok()?;
    let node = x.clone().try_into_primitive::<Tracked>().ok()?.node();
    let zero = Tensor::<1>::zeros([1], &x.device().without_autodiff()).try_into_primitive::<Flex>().ok()?;
    Some(tracked(zero, [node], WithGradient, gradient))
}

/// `y` as the result of an operation on the tensors of `nodes`, with this backward pass and its state.
pub(crate) fn tracked<const D: usize, const N: usize, O: Backward<Flex, N>>(
    y: Primitive,
    nodes: [NodeGuard; N],
    backward: O,
    state: O::State,
) -> Tensor<D> {
    let y = match backward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Tensor::from_primitive::<Tracked>(y)
}

/// `y` as the result of an operation on two tracked tensors that has this backward pass, whose state are both tensors.
pub(crate) fn with_backward<const D: usize, const E: usize, O>(
    y: Tensor<D>,
    (x, weight): (&Tensor<D>, &Tensor<E>),
    backward: O,
) -> Option<Tensor<D>>
where
    O: Backward<Flex, 2, State = [Primitive; 2]>,
{
    let y = y.try_into_primitive::<Flex>().ok()?;
    let (x, x_node) = x.clone().try_into_primitive::<Tracked>().ok()?.into_parts();
    let (weight, weight_node) = weight.clone().try_into_primitive::<Tracked>().ok()?.into_parts();
    Some(tracked(y, [x_node, weight_node], backward, [x, weight]))
}

/// The numbers of a contiguous tensor in f32.
pub(crate) fn slice(tensor: &Primitive) -> &[f32] {
    tensor.as_slice().expect("the tensors of a backward pass are contiguous and in f32")
}

/// Adds to the gradients of the inputs of an operation, in their order. An input that tracks no gradients gets none.
pub(crate) fn register<S, const N: usize>(ops: &Ops<S, N>, grads: &mut Gradients, found: [TensorData; N]) {
    for (node, gradient) in ops.parents.iter().zip(found) {
        if let Some(node) = node {
            grads.register::<Flex>(node.id, FlexTensor::from_data(gradient));
        }
    }
}

#[derive(Debug)]
struct WithGradient;

impl Backward<Flex, 1> for WithGradient {
    type State = Primitive;

    fn backward(self, ops: Ops<Primitive, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let incoming = grads.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            let factor = incoming.as_slice::<f32>().and_then(|values| values.first()).copied();
            let gradient = match factor {
                Some(1.0) => ops.state,
                Some(factor) => Flex::float_mul_scalar(ops.state, Scalar::Float(f64::from(factor))),
                // Another number format.
                None => Flex::float_mul(ops.state, incoming),
            };
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;

    #[test]
    fn the_gradient_is_the_given_one_times_that_of_the_scalar() {
        let device = Device::flex().autodiff();
        let x = random([2, 3, 4], Distribution::Default, &device).require_grad();
        let gradient = random([2, 3, 4], Distribution::Default, &Device::flex());
        let scalar = with_gradient(&(x.clone() * 2.0), &gradient).expect("tensors on the CPU");
        let other = (x.clone() * Tensor::from_inner(gradient.clone())).sum();
        let grads = (scalar * 0.5 + other).backward();
        let found = x.grad(&grads).expect("x is tracked");
        assert!((found - gradient * 2.0).abs().max().into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn without_autodiff_burn_computes_it() {
        let x = Tensor::<2>::ones([2, 2], &Device::flex());
        assert!(with_gradient(&x, &x).is_none());
    }
}
