//! Linear layers on the CPU.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{BackendTypes, Flex};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use half::{bf16, f16};

use crate::adamw::is_f32;
use crate::gradient::{Primitive, with_backward};
use crate::int8::{self, Blocks};
use crate::parallel::in_parallel;
use crate::product::TILE;
use crate::rows::Rows;
use crate::weight::Weights;

/// From this number of positions on, burn's products in f32 are taken. With 512, those of this crate read a prompt 1.2 times as
/// fast, although burn's are faster by themselves; why is not known...
const MANY: usize = 1024;
/// ...with more inputs than this.
const NARROW: usize = 256;
/// From this number of positions on, burn's products in f32 are taken in training, unless the result is much wider than `x`. They
/// are up to 1.2 times as fast.
const MANY_TRAINED: usize = 256;

/// `x W^T` with sums in f32, for weights in f32, f16, bf16 or [`int8`](crate::int8), `[outputs, inputs]`. The weights are read
/// where they are. The result does not depend on the number of threads.
///
/// With autodiff, burn computes the products of the backward pass, and those of many positions. Weights in 16 bits are widened
/// for the backward pass.
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
    if x.device().is_autodiff() {
        let (inner, inner_weight) = (x.clone().without_autodiff(), weight.clone().without_autodiff());
        let ([positions, inputs], [outputs, _]) = (x.dims(), weight.dims());
        let burns = positions >= MANY_TRAINED && outputs <= 4 * inputs && is_f32(&inner) && is_f32(&inner_weight);
        let y = match burns {
            true => inner.matmul(inner_weight.transpose()),
            false => linear(&inner, &inner_weight)?,
        };
        return with_backward(y, (x, weight), LinearBackward);
    }
    linears(x, [weight]).map(|[y]| y)
}

/// The products of `x` with several matrices, as [`linear`] computes them. The threads share the rows of all matrices, so that
/// they hand over work once and not for each matrix.
///
/// None if burn must compute one of the products, or with autodiff.
pub fn linears<const N: usize>(x: &Tensor<2>, weights: [&Tensor<2>; N]) -> Option<[Tensor<2>; N]> {
    let (device, [positions, inputs]) = (x.device(), x.dims());
    if device.is_autodiff() || x.dtype() != DType::F32 || positions * inputs == 0 {
        return None;
    }
    let mut matrices = Vec::with_capacity(N);
    let (mut total, mut nanos) = (0, 0.0);
    for weight in weights {
        let ([outputs, expected], format) = (weight.dims(), weight.dtype());
        let fast = format != DType::F32 || positions < MANY || inputs <= NARROW;
        if !fast || inputs != expected || outputs == 0 {
            return None;
        }
        matrices.push((Stored::new(weight)?, total..total + outputs));
        total += outputs;
        // Reading weights takes 0.08 nanoseconds per byte, and multiplying them 0.012 per row, on a current core.
        nanos += (outputs * inputs) as f64 * (0.08 * format.size() as f64 + 0.012 * positions as f64);
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let rows = Rows::new(x.as_slice()?, inputs);
    let sizes: Vec<usize> = matrices.iter().map(|(_, outputs)| outputs.len()).collect();
    let part = move |range: Range<usize>| {
        let mut products = Vec::with_capacity(N);
        for (weight, outputs) in &matrices {
            let own = range.start.max(outputs.start)..range.end.min(outputs.end);
            if own.is_empty() {
                products.push(vec![]);
                continue;
            }
            let own = (own.start - outputs.start) * inputs..(own.end - outputs.start) * inputs;
            products.push(weight.product(&rows, own));
        }
        products
    };
    let mut parts = in_parallel(total, TILE, nanos, part);
    Some(std::array::from_fn(|index| {
        let own = parts.iter_mut().map(|products| std::mem::take(&mut products[index]));
        let y = side_by_side(own.filter(|product| !product.is_empty()).collect(), positions);
        Tensor::from_data(TensorData::new(y, [positions, sizes[index]]), &device)
    }))
}

/// A matrix where it is stored.
enum Stored {
    /// With its first number.
    Float(<Flex as BackendTypes>::FloatTensorPrimitive, usize),
    Int8(<Flex as BackendTypes>::QuantizedTensorPrimitive),
}

impl Stored {
    /// None for other formats and for a matrix that is not contiguous.
    fn new(weight: &Tensor<2>) -> Option<Self> {
        let (format, weight) = (weight.dtype(), weight.clone());
        if matches!(format, DType::F32 | DType::F16 | DType::BF16) {
            let weight = weight.try_into_primitive::<Flex>().ok()?;
            let (start, _) = weight.layout().contiguous_offsets()?;
            return Some(Self::Float(weight, start));
        }
        int8::stored(weight).map(Self::Int8)
    }

    /// The product of `rows` and the rows of the matrix that have the numbers in `range`.
    fn product(&self, rows: &Rows, range: Range<usize>) -> Vec<f32> {
        match self {
            Self::Int8(weight) => rows.times(Blocks::of(weight).part(range)),
            Self::Float(weight, start) => {
                let range = start + range.start..start + range.end;
                match weight.dtype() {
                    DType::F32 => rows.times(&weight.storage::<f32>()[range]),
                    DType::F16 => rows.times(&weight.storage::<f16>()[range]),
                    _ => rows.times(&weight.storage::<bf16>()[range]),
                }
            }
        }
    }
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
    use crate::testing::random;

    #[test]
    fn parts_are_joined_row_by_row() {
        assert_eq!(side_by_side(vec![vec![1.0, 2.0, 5.0, 6.0], vec![3.0, 7.0]], 2), [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn a_large_product_by_several_threads_equals_burns() {
        let device = Device::flex();
        let weight = random([1003, 320], Distribution::Uniform(-1.0, 1.0), &device);
        for positions in [1, 3, 7, 40] {
            let x = random([positions, 320], Distribution::Uniform(-1.0, 1.0), &device);
            let ours = linear(&x, &weight).expect("tensors on the CPU");
            let difference = (ours - x.matmul(weight.clone().transpose())).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-4, "{difference}");
        }
    }

    #[test]
    fn several_products_at_once_equal_each_by_itself() {
        let device = Device::flex();
        let uniform = |shape| random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let weights = [uniform([1003, 320]), uniform([5, 320]).cast(DType::F16), uniform([777, 320]).cast(DType::BF16)];
        for positions in [1, 3, 40] {
            let x = uniform([positions, 320]);
            let found = linears(&x, weights.each_ref()).expect("tensors on the CPU");
            for (found, weight) in found.into_iter().zip(&weights) {
                let alone = linear(&x, weight).expect("tensors on the CPU");
                assert_eq!(found.into_data(), alone.into_data());
            }
        }
        assert!(linears(&uniform([1, 320]), [&weights[0], &uniform([4, 7])]).is_none(), "other inputs");
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
        let uniform = |shape: [usize; 2]| random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let weight = uniform([11, 19]).require_grad();
        for positions in [MANY_TRAINED, 7] {
            let (x, factor) = (uniform([positions, 19]).require_grad(), uniform([positions, 11]));
            let found = linear(&x, &weight).expect("tensors on the CPU");
            let found = (found * factor.clone()).sum().backward();
            let expected = (x.clone().matmul(weight.clone().transpose()) * factor.clone()).sum().backward();
            for tensor in [&x, &weight] {
                let [found, expected] = [&found, &expected].map(|grads| tensor.grad(grads).expect("it is tracked"));
                assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-4);
            }
        }
        let (x, factor) = (uniform([7, 19]).require_grad(), uniform([7, 11]));
        // Frozen weights in half precision.
        let half = weight.clone().detach().cast(DType::F16);
        let grads = (linear(&x, &half).expect("tensors on the CPU") * factor.clone()).sum().backward();
        let expected = factor.without_autodiff().matmul(half.without_autodiff().cast(DType::F32));
        let found = x.grad(&grads).expect("x is tracked");
        assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-5);
    }
}
