//! Attention of a few queries on the CPU, which reads the caches where they are.

use std::ops::Range;

use burn::backend::{BackendTypes, Flex};
use burn::tensor::{DType, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};

use crate::parallel::in_parallel;
use crate::vectors::dot;

/// With more queries per head, burn's matrix products are faster.
const FEW_QUERIES: usize = 16;

/// `softmax(queries keys^T + bias) values` for up to 16 queries per head. The heads of a group share keys and values.
///
/// None if burn must compute it: on another device, with autodiff, in another number format than f32, for more queries, or
/// if the last dimension of a tensor is not contiguous.
///
/// # Shapes
/// `queries`: `[rows, heads, time, d_head]`; `keys`, `values`: `[rows, heads / group, slots, d_head]`; `bias`: a shape that
/// broadcasts to `[rows, heads, time, slots]`; the result: `[rows, time, heads, d_head]`.
pub fn attention(
    queries: &Tensor<4>,
    keys: &Tensor<4>,
    values: &Tensor<4>,
    bias: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    let device = queries.device();
    let [rows, heads, time, d_head] = queries.dims();
    let [_, kv_heads, slots, _] = keys.dims();
    let size = rows * heads * time * d_head;
    if device.is_autodiff() || time > FEW_QUERIES || size * slots == 0 || keys.dims() != values.dims() {
        return None;
    }
    let call = Call {
        queries: View::new(queries)?,
        keys: View::new(keys)?,
        values: View::new(values)?,
        bias: match bias {
            Some(bias) => Some(View::new(bias)?),
            None => None,
        },
        sizes: [heads, heads / kv_heads, time, slots, d_head],
    };
    let part = move |rows: Range<usize>| {
        let mut found = vec![0.0; rows.len() * heads * time * d_head];
        Arch::new().dispatch(Rows { call: &call, rows, found: &mut found });
        found
    };
    // A multiplication with a key and one with a value take 0.1 nanoseconds on a current core.
    let found = in_parallel(rows, 1, 0.1 * (size * slots) as f64, part).concat();
    Some(Tensor::from_data(TensorData::new(found, [rows, time, heads, d_head]), &device))
}

/// A tensor in place, with the steps from one index to the next.
struct View {
    tensor: <Flex as BackendTypes>::FloatTensorPrimitive,
    start: usize,
    /// 0 for a dimension of one index, which broadcasts.
    steps: [usize; 3],
}

impl View {
    /// None if the tensor is not on the CPU in f32, or if its last dimension is not contiguous.
    fn new(tensor: &Tensor<4>) -> Option<Self> {
        if tensor.dtype() != DType::F32 {
            return None;
        }
        let dims = tensor.dims();
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        let layout = tensor.layout();
        let mut steps = [0; 3];
        for (dimension, step) in steps.iter_mut().enumerate() {
            if dims[dimension] > 1 {
                *step = usize::try_from(layout.strides()[dimension]).ok()?;
            }
        }
        let is_contiguous = dims[3] == 1 || layout.strides()[3] == 1;
        let start = layout.start_offset();
        is_contiguous.then_some(Self { tensor, start, steps })
    }

    /// The `count` numbers at `[a, b, c]`.
    #[inline(always)]
    fn at(&self, [a, b, c]: [usize; 3], count: usize) -> &[f32] {
        let start = self.start + a * self.steps[0] + b * self.steps[1] + c * self.steps[2];
        &self.tensor.storage::<f32>()[start..start + count]
    }
}

struct Call {
    queries: View,
    keys: View,
    values: View,
    bias: Option<View>,
    /// Heads, heads of a group, queries, slots, and the width of a head.
    sizes: [usize; 5],
}

/// Attention of some rows, by one thread.
struct Rows<'a> {
    call: &'a Call,
    rows: Range<usize>,
    /// `[rows, time, heads, d_head]`, zeros.
    found: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { call: Call { queries, keys, values, bias, sizes }, rows, found } = self;
        let [heads, group, time, slots, d_head] = *sizes;
        let mut weights = vec![0.0; slots];
        for (row, found) in rows.zip(found.chunks_exact_mut(time * heads * d_head)) {
            for head in 0..heads {
                for t in 0..time {
                    let query = queries.at([row, head, t], d_head);
                    for (slot, weight) in weights.iter_mut().enumerate() {
                        *weight = dot(simd, query, keys.at([row, head / group, slot], d_head));
                    }
                    if let Some(bias) = bias {
                        for (weight, bias) in weights.iter_mut().zip(bias.at([row, head, t], slots)) {
                            *weight += bias;
                        }
                    }
                    softmax(&mut weights);
                    let found = &mut found[(t * heads + head) * d_head..][..d_head];
                    for (slot, weight) in weights.iter().enumerate() {
                        add(simd, found, *weight, values.at([row, head / group, slot], d_head));
                    }
                }
            }
        }
    }
}

/// Adds `weight * values` to `found`.
#[inline(always)]
fn add<S: Simd>(simd: S, found: &mut [f32], weight: f32, values: &[f32]) {
    let ((found, found_rest), (values, rest)) = (S::as_mut_simd_f32s(found), S::as_simd_f32s(values));
    let wide = simd.splat_f32s(weight);
    for (found, values) in found.iter_mut().zip(values) {
        *found = simd.mul_add_f32s(wide, *values, *found);
    }
    for (found, value) in found_rest.iter_mut().zip(rest) {
        *found += weight * value;
    }
}

#[inline(always)]
fn softmax(weights: &mut [f32]) {
    let mut max = f32::NEG_INFINITY;
    for weight in weights.iter() {
        max = max.max(*weight);
    }
    let mut sum = 0.0;
    for weight in weights.iter_mut() {
        *weight = (*weight - max).exp();
        sum += *weight;
    }
    for weight in weights.iter_mut() {
        *weight /= sum;
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn random(shape: [usize; 4]) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    #[test]
    fn attention_equals_its_formula_on_views_of_caches_with_groups_and_biases() {
        for ([rows, heads, time, d_head], kv_heads, slots) in
            [([1, 6, 1, 32], 6, 9), ([3, 4, 2, 24], 2, 5), ([33, 8, 1, 64], 4, 300)]
        {
            let queries = random([rows, time, heads, d_head]).swap_dims(1, 2);
            let [keys, values] = [(); 2].map(|()| random([rows, kv_heads, slots + 7, d_head]).narrow(2, 3, slots));
            let repeated = |tensor: &Tensor<4>| {
                let group = heads / kv_heads;
                let grouped = tensor.clone().unsqueeze_dim::<5>(2).repeat_dim(2, group);
                grouped.reshape([rows, heads, slots, d_head])
            };
            for bias in [None, Some([1, heads, time, slots]), Some([rows, 1, 1, slots]), Some([1, 1, time, slots])] {
                let bias = bias.map(random);
                let mut scores = queries.clone().matmul(repeated(&keys).transpose());
                if let Some(bias) = &bias {
                    scores = scores + bias.clone();
                }
                let expected = softmax(scores, 3).matmul(repeated(&values)).swap_dims(1, 2);
                let found = attention(&queries, &keys, &values, bias.as_ref()).expect("tensors on the CPU");
                let difference = (found - expected).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-5, "{rows} rows: {difference}");
            }
        }
    }

    #[test]
    fn nan_is_not_lost() {
        let mut scores = [1.0, f32::NAN, 2.0];
        super::softmax(&mut scores);
        assert!(scores.iter().all(|score| score.is_nan()));
    }

    #[test]
    fn burn_computes_what_has_gradients_or_many_queries() {
        let tracked = Tensor::<4>::ones([1, 1, 1, 4], &Device::flex().autodiff());
        assert!(attention(&tracked, &tracked, &tracked, None).is_none());
        let many = random([1, 1, FEW_QUERIES + 1, 4]);
        assert!(attention(&many, &many, &many, None).is_none());
    }
}
