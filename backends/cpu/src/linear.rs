//! Linear layers on the CPU.

use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorData};
use half::{bf16, f16};

use crate::product::product;

/// From this number of positions on, burn's products in f32 are faster.
const MANY: usize = 128;

/// `x W^T` with sums in f32, for weights in f32, f16 or bf16, `[outputs, inputs]`. The weights are read where they are.
///
/// None if burn must compute the product: on another device, with autodiff, with other number formats, for tensors that
/// are not contiguous, or for many positions in f32.
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
/// assert_eq!(y.into_data().to_vec::<f32>().unwrap(), [11.0, 17.0]);
/// ```
pub fn linear(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
    let device = x.device();
    let ([positions, inputs], [outputs, expected]) = (x.dims(), weight.dims());
    if device.is_autodiff() || x.dtype() != DType::F32 || inputs != expected || positions * inputs * outputs == 0 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let weight = weight.clone().try_into_primitive::<Flex>().ok()?;
    let x = x.as_slice::<f32>()?;
    let y = match weight.dtype() {
        DType::F32 if positions < MANY => product(x, weight.as_slice::<f32>()?, inputs),
        DType::F16 => product(x, weight.as_slice::<f16>()?, inputs),
        DType::BF16 => product(x, weight.as_slice::<bf16>()?, inputs),
        _ => return None,
    };
    Some(Tensor::from_data(TensorData::new(y, [positions, outputs]), &device))
}
