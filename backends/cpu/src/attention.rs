//! Attention on the CPU, which reads the caches where they are.

mod many;

use std::ops::Range;

use burn::backend::{BackendTypes, Flex};
use burn::tensor::{DType, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};

use crate::parallel::{in_parallel, joined};
use crate::vectors::dot;

/// Up to this number of queries per head, each one reads the keys and values by itself.
const FEW_QUERIES: usize = 16;
/// From this number of queries per head on, blocks of them are multiplied with the keys and values.
const MANY_QUERIES: usize = 32;

/// A slot with such a bias is masked. The other scores of a row are far larger, so that its weight is 0 in f32.
const MASKED: f32 = -1e4;

/// `softmax(queries keys^T + bias) values` for up to 16 or at least 32 queries per head. The heads of a group share keys and
/// values.
///
/// None if burn must compute it: on another device, with autodiff, in another number format than f32, for another number of
/// queries, for many queries with heads of up to 4 numbers, or if the last dimension of a tensor is not contiguous.
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
    attention_to(queries, CacheView { keys, values, rows: None, slots: keys.dims()[2] }, bias)
}

/// A part of the keys and values of a batch.
#[derive(Clone, Copy, Debug)]
pub struct CacheView<'a> {
    /// `[batch, heads, capacity, d_head]`.
    pub keys: &'a Tensor<4>,
    /// `[batch, heads, capacity, d_head]`.
    pub values: &'a Tensor<4>,
    /// The row of the batch that each row of queries attends to. None if they are the same.
    pub rows: Option<&'a [usize]>,
    /// The number of slots that are read, from the first one on.
    pub slots: usize,
}

/// As [`attention`], to a part of a cache.
///
/// # Panics
/// If the number of rows differs from that of the queries, or if the cache has fewer rows or slots.
pub fn attention_to(queries: &Tensor<4>, cache: CacheView<'_>, bias: Option<&Tensor<4>>) -> Option<Tensor<4>> {
    let CacheView { keys, values, rows: cache_rows, slots } = cache;
    let device = queries.device();
    let [rows, heads, time, d_head] = queries.dims();
    let [batch, kv_heads, capacity, _] = keys.dims();
    let size = rows * heads * time * d_head;
    assert!(slots <= capacity, "a cache of {capacity} slots has no {slots} slots");
    assert_eq!(cache_rows.map_or(batch, <[usize]>::len), rows, "one row of the cache for each row of queries");
    let many = time >= MANY_QUERIES;
    let fast = time <= FEW_QUERIES || many;
    if device.is_autodiff() || !fast || size * slots == 0 || keys.dims() != values.dims() {
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
        cache_rows: cache_rows.map_or_else(|| (0..rows).collect(), <[usize]>::to_vec),
        sizes: [heads, heads / kv_heads, time, slots, d_head],
    };
    if many {
        let found = many::attend(call);
        return Some(Tensor::from_data(TensorData::new(found, [rows, time, heads, d_head]), &device));
    }
    let part = move |rows: Range<usize>| {
        let mut found = vec![0.0; rows.len() * heads * time * d_head];
        Arch::new().dispatch(Rows { call: &call, rows, found: &mut found });
        found
    };
    // A multiplication with a key and one with a value take 0.1 nanoseconds on a current core.
    let found = joined(in_parallel(rows, 1, 0.1 * (size * slots) as f64, part));
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
    /// The row of the keys and values for each row of queries.
    cache_rows: Vec<usize>,
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
        let Self { call: Call { queries, keys, values, bias, cache_rows, sizes }, rows, found } = self;
        let [heads, group, time, slots, d_head] = *sizes;
        let mut weights = vec![0.0; slots];
        for (row, found) in rows.zip(found.chunks_exact_mut(time * heads * d_head)) {
            let cache_row = cache_rows[row];
            for head in 0..heads {
                for t in 0..time {
                    let query = queries.at([row, head, t], d_head);
                    let key = |slot| keys.at([cache_row, head / group, slot], d_head);
                    match bias {
                        Some(bias) => {
                            let bias = bias.at([row, head, t], slots);
                            for (slot, (weight, &bias)) in weights.iter_mut().zip(bias).enumerate() {
                                // The weight of a masked slot is 0, whatever its score.
                                *weight = if bias <= MASKED { bias } else { dot(simd, query, key(slot)) + bias };
                            }
                        }
                        None => {
                            for (slot, weight) in weights.iter_mut().enumerate() {
                                *weight = dot(simd, query, key(slot));
                            }
                        }
                    }
                    softmax(&mut weights);
                    let found = &mut found[(t * heads + head) * d_head..][..d_head];
                    for (slot, &weight) in weights.iter().enumerate() {
                        if weight != 0.0 {
                            add(simd, found, weight, values.at([cache_row, head / group, slot], d_head));
                        }
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
    use burn::tensor::{Device, Distribution, FloatDType};

    use super::*;
    use crate::testing::random;

    fn normal(shape: [usize; 4]) -> Tensor<4> {
        random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    /// Attention by its formula, computed in f64, of `[rows, heads, time, d_head]` queries; the result is
    /// `[rows, time, heads, d_head]`.
    fn formula(queries: &Tensor<4>, keys: &Tensor<4>, values: &Tensor<4>, bias: Option<&Tensor<4>>) -> Tensor<4> {
        let ([rows, heads, _, d_head], [_, kv_heads, slots, _]) = (queries.dims(), keys.dims());
        let wide = |tensor: &Tensor<4>| tensor.clone().cast(FloatDType::F64);
        let repeated = |tensor: &Tensor<4>| {
            let grouped = wide(tensor).unsqueeze_dim::<5>(2).repeat_dim(2, heads / kv_heads);
            grouped.reshape([rows, heads, slots, d_head])
        };
        let mut scores = wide(queries).matmul(repeated(keys).transpose());
        if let Some(bias) = bias {
            scores = scores + wide(bias);
        }
        softmax(scores, 3).matmul(repeated(values)).swap_dims(1, 2)
    }

    /// The largest absolute difference from what the formula gives.
    fn difference(found: Tensor<4>, expected: Tensor<4>) -> f64 {
        (found.cast(FloatDType::F64) - expected).abs().max().into_scalar()
    }

    #[test]
    fn attention_equals_its_formula_on_views_of_caches_with_groups_and_biases() {
        for ([rows, heads, time, d_head], kv_heads, slots) in
            [([1, 6, 1, 32], 6, 9), ([3, 4, 2, 24], 2, 5), ([33, 8, 1, 64], 4, 300)]
        {
            let queries = normal([rows, time, heads, d_head]).swap_dims(1, 2);
            let [keys, values] = [(); 2].map(|()| normal([rows, kv_heads, slots + 7, d_head]).narrow(2, 3, slots));
            for bias in [None, Some([1, heads, time, slots]), Some([rows, 1, 1, slots]), Some([1, 1, time, slots])] {
                let bias = bias.map(normal);
                let expected = formula(&queries, &keys, &values, bias.as_ref());
                let found = attention(&queries, &keys, &values, bias.as_ref()).expect("tensors on the CPU");
                let difference = difference(found, expected);
                assert!(difference < 1e-5, "{rows} rows: {difference}");
            }
        }
    }

    #[test]
    fn rows_and_slots_of_a_cache_are_read_where_they_are() {
        let [queries, bias] = [normal([2, 4, 3, 8]), normal([2, 1, 3, 5])];
        let [keys, values] = [(); 2].map(|()| normal([6, 2, 9, 8]));
        let rows = [4, 1];
        let selected = |tensor: &Tensor<4>| {
            let rows = rows.map(|row| tensor.clone().narrow(0, row, 1));
            Tensor::cat(rows.to_vec(), 0).narrow(2, 0, 5)
        };
        let expected = attention(&queries, &selected(&keys), &selected(&values), Some(&bias));
        let cache = CacheView { keys: &keys, values: &values, rows: Some(&rows), slots: 5 };
        let found = attention_to(&queries, cache, Some(&bias));
        assert_eq!(found.map(Tensor::into_data), expected.map(Tensor::into_data));
    }

    #[test]
    fn masked_slots_change_nothing() {
        let queries = normal([2, 2, 1, 8]);
        let [keys, values] = [(); 2].map(|()| normal([2, 2, 9, 8]));
        let part = |tensor: &Tensor<4>| tensor.clone().narrow(2, 0, 5);
        let masked = Tensor::<4>::full([1, 1, 1, 4], -3e4, &Device::flex());
        let bias = Tensor::cat(vec![Tensor::zeros([1, 1, 1, 5], &Device::flex()), masked], 3);
        let expected = attention(&queries, &part(&keys), &part(&values), None);
        let found = attention(&queries, &keys, &values, Some(&bias));
        assert_eq!(found.map(Tensor::into_data), expected.map(Tensor::into_data));
    }

    #[test]
    fn attention_of_many_queries_equals_its_formula() {
        for ([rows, heads, time, d_head], kv_heads, slots) in [
            ([1, 6, MANY_QUERIES, 32], 6, 9),
            ([3, 4, 67, 24], 2, 80),
            ([2, 2, 130, 64], 1, 130),
            ([1, 1, 40, 5], 1, 1),
            ([1, 2, 40, 3], 1, 9),
        ] {
            let queries = normal([rows, time, heads, d_head]).swap_dims(1, 2);
            for keys_and_values in [
                [(); 2].map(|()| normal([rows, kv_heads, slots + 7, d_head]).narrow(2, 3, slots)),
                [(); 2].map(|()| normal([rows, slots, kv_heads, d_head]).swap_dims(1, 2)),
            ] {
                let [keys, values] = keys_and_values;
                for bias in [None, Some([1, heads, time, slots]), Some([rows, 1, 1, slots]), Some([1, 1, time, slots])]
                {
                    let bias = bias.map(normal);
                    let expected = formula(&queries, &keys, &values, bias.as_ref());
                    let found = attention(&queries, &keys, &values, bias.as_ref()).expect("tensors on the CPU");
                    let difference = difference(found, expected);
                    assert!(difference < 2e-5, "{rows} rows: {difference}");
                }
            }
        }
    }

    #[test]
    fn many_queries_with_a_causal_mask_see_rows_and_slots_of_a_cache() {
        let (time, first, slots) = (150, 3, 153);
        let queries = normal([2, 4, time, 16]);
        let [keys, values] = [(); 2].map(|()| normal([5, 2, slots + 9, 16]));
        let mut mask = vec![0.0; time * slots];
        for (query, mask) in mask.chunks_exact_mut(slots).enumerate() {
            mask[query + first + 1..].fill(-3e4);
        }
        let mask = Tensor::from_data(TensorData::new(mask, [1, 1, time, slots]), &Device::flex());
        let rows = [4, 1];
        let selected = |tensor: &Tensor<4>| {
            let rows = rows.map(|row| tensor.clone().narrow(0, row, 1));
            Tensor::cat(rows.to_vec(), 0).narrow(2, 0, slots)
        };
        let expected = formula(&queries, &selected(&keys), &selected(&values), Some(&mask));
        let cache = CacheView { keys: &keys, values: &values, rows: Some(&rows), slots };
        let found = attention_to(&queries, cache, Some(&mask)).expect("tensors on the CPU");
        let difference = difference(found, expected);
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn nan_is_not_lost() {
        let mut many = normal([1, 1, MANY_QUERIES, 8]);
        many = many.slice_assign([0..1, 0..1, 3..4, 0..1], Tensor::full([1, 1, 1, 1], f32::NAN, &Device::flex()));
        let [plain, other] = [(); 2].map(|()| normal([1, 1, 40, 8]));
        let found = attention(&many, &plain, &other, None).expect("tensors on the CPU");
        let numbers = found.into_data().try_to_vec::<f32>().unwrap_or_default();
        assert!(
            numbers[24..32].iter().all(|number| number.is_nan())
                && numbers[..24].iter().all(|number| number.is_finite())
        );

        let mut scores = [1.0, f32::NAN, 2.0];
        super::softmax(&mut scores);
        assert!(scores.iter().all(|score| score.is_nan()));
    }

    #[test]
    fn burn_computes_what_has_gradients_or_many_queries() {
        let tracked = Tensor::<4>::ones([1, 1, 1, 4], &Device::flex().autodiff());
        assert!(attention(&tracked, &tracked, &tracked, None).is_none());
        let many = normal([1, 1, FEW_QUERIES + 1, 4]);
        assert!(attention(&many, &many, &many, None).is_none());
    }
}
