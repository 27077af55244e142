//! Sums over slices, and exponentials in place, with vector instructions.

use pulp::Simd;

use crate::exp::exp;

/// The sum of numbers.
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(x);
    let mut sum = simd.splat_f32s(0.0);
    for vector in vectors {
        sum = simd.add_f32s(sum, *vector);
    }
    let mut total = simd.reduce_sum_f32s(sum);
    for x in rest {
        total += x;
    }
    total
}

/// The dot product of two slices of the same length.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_f32s(*a, *b, sum);
    }
    let mut total = simd.reduce_sum_f32s(sum);
    for (a, b) in a_rest.iter().zip(b_rest) {
        total += a * b;
    }
    total
}

/// Replaces each number by `e^(x - maximum)`, and returns the sum of the new numbers.
#[inline(always)]
pub(crate) fn exponentials<S: Simd>(simd: S, x: &mut [f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(x);
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    for vector in vectors {
        largest = simd.max_f32s(largest, *vector);
    }
    let mut max = simd.reduce_max_f32s(largest);
    for x in rest {
        max = max.max(*x);
    }
    for x in x.iter_mut() {
        *x = exp(*x - max);
    }
    sum(simd, x)
}
