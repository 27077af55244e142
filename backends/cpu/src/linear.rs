//! Linear layers on the CPU.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use half::{bf16, f16};

use crate::gradient::{Primitive, Tracked};
use crate::parallel::in_parallel;
use crate::product::{Rows, TILE};

/// From this number of positions on, burn's products in f32 are faster...
const MANY: usize = 256;
/// ...with more inputs than this.
const NARROW: usize = 256;

/// `x W^T` with sums in f32, for weights in f32, f16 or bf16, `[outputs, inputs]`. The weights are read where they are. The
/// result does not depend on the number of threads.
///
/// With autodiff, burn computes the products of the backward pass. Weights in 16 bits are widened for it.
///
/// None if burn must compute the product: on another device, with other number formats, for tensors that are not
/// contiguous, or for many positions and inputs in f32.
///
/// # Shapes
/// `x`: `[positions, inputs]`; the result: `[positions, outputs]`.
///
/// ```
/// use burn::tensor::{DType, Device, Tensor};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let weight = Tensor::<2>::from_floats([[3.0, 4.0], [5.0, 6.0]], &device);
/// let y = wheels_cpu::linear(&x, &weight.cast(DType::F16)).expect("tensors on the CPU");
/// assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [11.0, 17.0]);
/// ```
pub fn linear(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
    let device = x.device();
    if device.is_autodiff() {
        let y = linear(&x.clone().without_autodiff(), &weight.clone().without_autodiff())?;
        return tracked(y, x, weight);
    }
    let ([positions, inputs], [outputs, expected]) = (x.dims(), weight.dims());
    let format = weight.dtype();
    let known = matches!(format, DType::F32 | DType::F16 | DType::BF16) && x.dtype() == DType::F32;
    let fast = format != DType::F32 || positions < MANY || inputs <= NARROW;
    if !known || !fast || inputs != expected || positions * inputs * outputs == 0 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let weight = weight.clone().try_into_primitive::<Flex>().ok()?;
    let rows = Rows::new(x.as_slice()?, inputs);
    let (start, _) = weight.layout().contiguous_offsets()?;
    let part = move |outputs: Range<usize>| {
        let range = start + outputs.start * inputs..start + outputs.end * inputs;
        match format {
            DType::F32 => rows.times::<f32>(&weight.storage()[range]),
            DType::F16 => rows.times::<f16>(&weight.storage()[range]),
            _ => rows.times::<bf16>(&weight.storage()[range]),
        }
    };
    // Reading weights takes 0.08 nanoseconds per byte, and multiplying them 0.012 per row, on a current core.
    let nanos = (outputs * inputs) as f64 * (0.08 * format.size() as f64 + 0.012 * positions as f64);
    let y = side_by_side(in_parallel(outputs, TILE, nanos, part), positions);
    Some(Tensor::from_data(TensorData::new(y, [positions, outputs]), &device))
}

/// The product `y` of two tracked tensors, with its backward pass.
fn tracked(y: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
    let y = y.try_into_primitive::<Flex>().ok()?;
    let x = x.clone().try_into_primitive::<Tracked>().ok()?;
    let weight = weight.clone().try_into_primitive::<Tracked>().ok()?;
    let prepared = LinearBackward.prepare::<NoCheckpointing>([x.node(), weight.node()]).compute_bound().stateful();
    let y = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish([x.primitive().clone(), weight.primitive().clone()], y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Tracked>(y))
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 2> for LinearBackward {
    /// The input and the weight.
    type State = [Primitive; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let incoming = grads.consume::<Flex>(&ops.node);
        let ([x, weight], [x_node, weight_node]) = (ops.state, ops.parents);
        if let Some(node) = x_node {
            let weight = match weight.dtype() {
                DType::F32 => weight,
                _ => Flex::float_cast(weight, FloatDType::F32),
            };
            grads.register::<Flex>(node.id, Flex::float_matmul(incoming.clone(), weight));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, Flex::float_matmul(Flex::float_transpose(incoming), x));
        }
    }
}

/// Joins parts `[rows, columns of the part]` to one matrix `[rows, columns]`.
fn side_by_side(mut parts: Vec<Vec<f32>>, rows: usize) -> Vec<f32> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut whole = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for row in 0..rows {
        for part in &parts {
            let columns = part.len() / rows;
            whole.extend_from_slice(&part[row * columns..][..columns]);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn parts_are_joined_row_by_row() {
        assert_eq!(side_by_side(vec![vec![1.0, 2.0, 5.0, 6.0], vec![3.0, 7.0]], 2), [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn a_large_product_by_several_threads_equals_burns() {
        let device = Device::flex();
        let weight = Tensor::<2>::random([1003, 320], Distribution::Uniform(-1.0, 1.0), &device);
        for positions in [1, 3, 40] {
            let x = Tensor::<2>::random([positions, 320], Distribution::Uniform(-1.0, 1.0), &device);
            let ours = linear(&x, &weight).expect("tensors on the CPU");
            let difference = (ours - x.matmul(weight.clone().transpose())).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-4, "{difference}");
        }
    }

    #[test]
    fn rows_of_a_larger_matrix_are_read_in_place() {
        let device = Device::flex();
        let weight = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &device);
        let x = Tensor::<2>::from_floats([[1.0, 10.0]], &device);
        let y = linear(&x, &weight.clone().narrow(0, 1, 2)).expect("contiguous rows");
        assert_eq!(y.into_data().try_to_vec::<f32>().unwrap_or_default(), [43.0, 65.0]);
        assert!(linear(&x, &weight.clone().narrow(1, 0, 1)).is_none(), "other inputs");
        assert!(
            linear(&x, &Tensor::<2>::ones([2, 3], &device).transpose()).is_none(),
            "not contiguous or other inputs"
        );
    }

    #[test]
    fn gradients_equal_burns() {
        let device = Device::flex().autodiff();
        let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let (x, weight, factor) = (random([7, 19]).require_grad(), random([11, 19]).require_grad(), random([7, 11]));
        let found = linear(&x, &weight).expect("tensors on the CPU");
        let found = (found * factor.clone()).sum().backward();
        let expected = (x.clone().matmul(weight.clone().transpose()) * factor.clone()).sum().backward();
        for tensor in [&x, &weight] {
            let [found, expected] = [&found, &expected].map(|grads| tensor.grad(grads).expect("it is tracked"));
            assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-5);
        }
        // Frozen weights in half precision.
        let half = weight.clone().detach().cast(DType::F16);
        let grads = (linear(&x, &half).expect("tensors on the CPU") * factor.clone()).sum().backward();
        let expected = factor.without_autodiff().matmul(half.without_autodiff().cast(DType::F32));
        let found = x.grad(&grads).expect("x is tracked");
        assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-5);
    }
}
