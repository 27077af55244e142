//! Linear layers of a few positions: this crate's products beside burn's, in the same run.
//!
//!     cargo bench --bench linear
//!
//! Weights are drawn from a set that is larger than the caches, as in a model. The read bandwidth is the limit for few
//! positions.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// The bytes of the weights that a case goes through, unless one matrix has more.
const SET: usize = 128 << 20;
const REPEATS: usize = 5;

fn main() {
    let numbers = vec![1.0_f32; SET];
    let threads = rayon::current_num_threads();
    let seconds = median(|| {
        black_box(numbers.par_chunks(1 << 18).map(|numbers| Arch::new().dispatch(Sum(numbers))).sum::<f32>());
    });
    let bandwidth = size_of_val(numbers.as_slice()) as f64 / seconds;
    println!("read bandwidth of {threads} threads: {:.1} GB/s", bandwidth / 1e9);
    println!(
        "{:>7} {:>7} {:>5} {:>9}  {:>11} {:>11}  {:>6}",
        "outputs", "inputs", "type", "positions", "burn", "ours", "ratio"
    );
    let device = Device::flex();
    for [outputs, inputs] in [[192, 192], [768, 192], [4097, 192], [576, 576], [1536, 576], [49_152, 576], [4864, 896]]
    {
        for (format, bytes) in [("f32", 4), ("f16", 2), ("int8", 1)] {
            let count = (SET / (outputs * inputs * bytes)).clamp(1, 200);
            let random = |_| {
                let weight = Tensor::<2>::random([outputs, inputs], Distribution::Uniform(-0.1, 0.1), &device);
                match format {
                    "f32" => weight,
                    "f16" => weight.cast(DType::F16),
                    _ => wheels_cpu::int8(&weight).expect("tensors on the CPU"),
                }
            };
            let weights: Vec<Tensor<2>> = (0..count).map(random).collect();
            for positions in [1, 4, 16, 32, 64, 255] {
                let x = Tensor::<2>::random([positions, inputs], Distribution::Uniform(-1.0, 1.0), &device);
                let burn = |weight: &Tensor<2>| {
                    // burn widens weights in int8 at every product.
                    let (x, weight) = match format {
                        "f16" => (x.clone().cast(DType::F16), weight.clone()),
                        _ => (x.clone(), weight.clone().dequantize()),
                    };
                    let y = match positions {
                        2..=64 => weight.matmul(x.transpose()).transpose(),
                        _ => x.matmul(weight.transpose()),
                    };
                    black_box(y.cast(DType::F32));
                };
                let ours = |weight: &Tensor<2>| {
                    black_box(wheels_cpu::linear(&x, weight).expect("tensors on the CPU"));
                };
                let [burn, ours] = [median(|| weights.iter().for_each(burn)), median(|| weights.iter().for_each(ours))]
                    .map(|seconds| seconds / count as f64 * 1e6);
                println!(
                    "{outputs:7} {inputs:7} {format:>5} {positions:9}  {burn:8.1} us {ours:8.1} us  {:6.2}",
                    burn / ours
                );
            }
        }
    }
}

/// The sum of numbers, whose time is that of reading them.
struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat_f32s(0.0); 8];
        for vectors in S::as_simd_f32s(self.0).0.as_chunks::<8>().0 {
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = simd.add_f32s(*sum, *vector);
            }
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}

fn median(mut run: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[REPEATS / 2]
}
