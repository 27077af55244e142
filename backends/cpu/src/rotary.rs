//! Rotary position embeddings on the CPU, in one pass over memory.

use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorData};

/// Rotates dimension `i` of each head together with dimension `i + d_head / 2` (Su et al. 2021, arXiv 2104.09864).
///
/// None if burn must compute it: on another device, with autodiff, in another number format than f32, or for tensors that
/// are not contiguous.
///
/// # Shapes
/// `x` and the result: `[positions, heads, d_head]`; `cos` and `sin`: `[positions, 1, d_head / 2]`.
pub fn rotate(x: &Tensor<3>, cos: &Tensor<3>, sin: &Tensor<3>) -> Option<Tensor<3>> {
    let (device, [positions, heads, d_head]) = (x.device(), x.dims());
    let angles = [positions, 1, d_head / 2];
    let f32s = [x, cos, sin].iter().all(|tensor| tensor.dtype() == DType::F32);
    if device.is_autodiff() || !f32s || cos.dims() != angles || sin.dims() != angles {
        return None;
    }
    if d_head == 0 || d_head % 2 == 1 || positions * heads == 0 {
        return None;
    }
    let x = x.clone().try_into_primitive::<Flex>().ok()?;
    let cos = cos.clone().try_into_primitive::<Flex>().ok()?;
    let sin = sin.clone().try_into_primitive::<Flex>().ok()?;
    let (cos, sin) = (cos.as_slice::<f32>()?.chunks_exact(d_head / 2), sin.as_slice::<f32>()?.chunks_exact(d_head / 2));
    let mut y = x.as_slice::<f32>()?.to_vec();
    for ((y, cos), sin) in y.chunks_exact_mut(heads * d_head).zip(cos).zip(sin) {
        for head in y.chunks_exact_mut(d_head) {
            let (left, right) = head.split_at_mut(d_head / 2);
            for (((left, right), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                (*left, *right) = (*left * cos - *right * sin, *right * cos + *left * sin);
            }
        }
    }
    Some(Tensor::from_data(TensorData::new(y, [positions, heads, d_head]), &device))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;

    #[test]
    fn pairs_of_dimensions_are_rotated() {
        let normal = |shape| random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        for [positions, heads, half] in [[1, 3, 4], [7, 2, 32], [5, 1, 5]] {
            let x = normal([positions, heads, 2 * half]);
            let [cos, sin] = [normal([positions, 1, half]), normal([positions, 1, half])];
            let (left, right) = (x.clone().narrow(2, 0, half), x.clone().narrow(2, half, half));
            let expected = Tensor::cat(
                vec![
                    left.clone() * cos.clone() - right.clone() * sin.clone(),
                    right * cos.clone() + left * sin.clone(),
                ],
                2,
            );
            let found = rotate(&x, &cos, &sin).expect("tensors on the CPU");
            assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-6);
        }
        let x = normal([2, 3, 4]);
        assert!(rotate(&x, &normal([2, 1, 4]), &normal([2, 1, 4])).is_none(), "angles of another width");
    }
}
