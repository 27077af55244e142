//! Rows of logits in place, and sums over them with vector instructions.

use std::ops::Range;

use burn::backend::{BackendTypes, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pulp::Arch;
use rayon::prelude::*;

use crate::parallel::{in_parallel, joined};

/// Numbers that are computed together.
const LANES: usize = 16;
/// The numbers of whole rows that a thread changes at a time.
const BLOCK: usize = 1 << 14;

/// A contiguous matrix in place.
#[derive(Clone)]
pub(crate) struct Matrix {
    tensor: <Flex as BackendTypes>::FloatTensorPrimitive,
    start: usize,
    pub(crate) dims: [usize; 2],
    pub(crate) device: Device,
}

impl Matrix {
    pub(crate) fn new(tensor: &Tensor<2>) -> Option<Self> {
        let (dims, device) = (tensor.dims(), tensor.device());
        if device.is_autodiff() || tensor.dtype() != DType::F32 || dims[0] * dims[1] == 0 {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        let (start, _) = tensor.layout().contiguous_offsets()?;
        Some(Self { tensor, start, dims, device })
    }

    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.tensor.storage::<f32>()[self.start + row * self.dims[1]..][..self.dims[1]]
    }

    /// What `write` makes of each row: `width` numbers. `nanos` is about the time per 16 numbers of a row, nanoseconds.
    pub(crate) fn parts(
        self,
        width: usize,
        nanos: f64,
        write: impl Fn(&Self, usize, &mut [f32]) + Send + Sync + 'static,
    ) -> Vec<f32> {
        let [rows, columns] = self.dims;
        let part = move |range: Range<usize>| {
            let mut found = vec![0.0; range.len() * width];
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (row, found) in range.zip(found.chunks_exact_mut(width)) {
                        write(&self, row, found);
                    }
                },
            );
            found
        };
        joined(in_parallel(rows, 1, nanos * (rows * columns) as f64 / LANES as f64, part))
    }

    /// `K` numbers for each row, one vector for each of the `K`.
    pub(crate) fn columns<const K: usize>(
        self,
        nanos: f64,
        facts: impl Fn(&Self, usize) -> [f32; K] + Send + Sync + 'static,
    ) -> [Vec<f32>; K] {
        let found = self.parts(
            K,
            nanos,
            #[inline(always)]
            move |matrix, row, found| found.copy_from_slice(&facts(matrix, row)),
        );
        std::array::from_fn(|column| found.iter().skip(column).step_by(K).copied().collect())
    }
}

/// Calls `change` with the index of each row and the row, on all threads of the caller's pool.
pub(crate) fn for_rows(numbers: &mut [f32], width: usize, change: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = (BLOCK / width).max(1);
    numbers.par_chunks_mut(rows * width).enumerate().for_each(|(block, numbers)| {
        for (row, numbers) in (block * rows..).zip(numbers.chunks_exact_mut(width)) {
            change(row, numbers);
        }
    });
}

pub(crate) fn column(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), device)
}

/// A row without one of its columns, in two parts.
#[inline(always)]
pub(crate) fn without(row: &[f32], skipped: Option<usize>) -> [&[f32]; 2] {
    match skipped {
        Some(skipped) => [&row[..skipped], &row[skipped + 1..]],
        None => [row, &[]],
    }
}

/// The larger number; the first one if it is NaN.
#[inline(always)]
pub(crate) fn largest(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// The two largest numbers.
#[inline(always)]
pub(crate) fn two_largest(parts: [&[f32]; 2]) -> [f32; 2] {
    let mut best = [f32::NEG_INFINITY; LANES];
    let mut second = best;
    let mut see = |lane: usize, x: f32| {
        let lower = if x < best[lane] { x } else { best[lane] };
        second[lane] = largest(second[lane], lower);
        best[lane] = largest(best[lane], x);
    };
    for part in parts {
        let (blocks, rest) = part.as_chunks::<LANES>();
        for block in blocks {
            for (lane, &x) in block.iter().enumerate() {
                see(lane, x);
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            see(lane, x);
        }
    }
    let mut found = [f32::NEG_INFINITY; 2];
    for x in best.into_iter().chain(second) {
        if x > found[0] {
            found = [x, found[0]];
        } else if x > found[1] {
            found[1] = x;
        }
    }
    found
}

/// The sums of what `terms` makes of each pair of numbers.
#[inline(always)]
pub(crate) fn sums<const K: usize>(a: [&[f32]; 2], b: [&[f32]; 2], terms: impl Fn(f32, f32) -> [f32; K]) -> [f32; K] {
    let mut totals = [[0.0; LANES]; K];
    for (a, b) in a.into_iter().zip(b) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let found = terms(a[lane], b[lane]);
                for (totals, found) in totals.iter_mut().zip(found) {
                    totals[lane] += found;
                }
            }
        }
        for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let found = terms(a, b);
            for (totals, found) in totals.iter_mut().zip(found) {
                totals[lane] += found;
            }
        }
    }
    totals.map(|lanes| lanes.iter().sum())
}
