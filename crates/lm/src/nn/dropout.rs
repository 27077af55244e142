//! Dropout whose masks are the same on every device.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::LoraConfig;

/// Dropout in one pass over a model (Srivastava et al. 2014). It replaces random values by 0 and divides the others by
/// the probability of being kept.
///
/// Whether a value is dropped follows from a seed, the number of the layer in the pass and the index of the value alone, by
/// a hash in integers. So one seed gives the same masks on every backend, with any number of workers, and again when a
/// block is computed anew. Probabilities are rounded to multiples of 2^-16.
#[derive(Clone)]
pub(crate) struct Dropout {
    /// None outside training.
    masks: Option<Masks>,
    /// The rate of the inputs of adapters.
    lora_rate: f64,
}

/// The masks of one pass.
#[derive(Clone)]
struct Masks {
    /// The seed of the pass.
    seed: u64,
    /// The number of masks so far.
    count: u64,
    /// Whether the device draws the masks; None before the first one.
    on_device: Option<bool>,
}

impl Dropout {
    /// Dropout with masks from `seed`, or none without a seed. `pass` separates the passes of one seed.
    pub(crate) fn new(seed: Option<u64>, pass: u64) -> Self {
        let masks = seed.map(|seed| Masks { seed: scramble(seed ^ scramble(pass)), count: 0, on_device: None });
        Self { masks, lora_rate: 0.0 }
    }

    /// The same dropout, with the rate of these adapters for their inputs.
    pub(crate) fn with_lora(self, lora: Option<&LoraConfig>) -> Self {
        Self { lora_rate: lora.map_or(0.0, |lora| lora.dropout), ..self }
    }

    /// Drops values of the input of an adapter.
    pub(crate) fn apply_to_adapter(&mut self, x: Tensor<2>) -> Tensor<2> {
        self.apply(x, self.lora_rate)
    }

    /// Whether values are dropped at this rate.
    #[cfg(feature = "cpu")]
    pub(crate) fn drops(&self, rate: f64) -> bool {
        self.masks.is_some() && threshold(rate) > 0
    }

    /// Drops each value of `x` with the probability `rate`.
    pub(crate) fn apply<const D: usize>(&mut self, x: Tensor<D>, rate: f64) -> Tensor<D> {
        let dropped = threshold(rate);
        let Some(masks) = self.masks.as_mut().filter(|_| dropped > 0) else { return x };
        let mask = masks.next(dropped);
        #[cfg(feature = "cpu")]
        if let Some(found) = mask.on_cpu(&x) {
            return found;
        }
        let device = x.device().without_autodiff();
        let values = x.shape().num_elements();
        // A backend with a memory of its own reports the state of its allocator. There, the mask need not be copied.
        let on_device = *masks
            .on_device
            .get_or_insert_with(|| device.memory_pool_usage().is_some() && device.supports_dtype(DType::U32));
        let mask = if on_device { mask.on_device(values, &device) } else { mask.on_host(values, &device) };
        let scales = mask.reshape(x.shape()).cast(x.dtype());
        x.clone() * if x.device().is_autodiff() { Tensor::from_inner(scales) } else { scales }
    }
}

impl Masks {
    /// The next mask for values that are dropped with the probability `dropped / 2^16`.
    fn next(&mut self, dropped: u32) -> Mask {
        let keys = scramble(self.seed.wrapping_add(self.count));
        self.count += 1;
        let kept = 65536.0 / (65536 - dropped.min(65535)) as f32;
        Mask { keys: [keys as u32, (keys >> 32) as u32], dropped, kept }
    }
}

/// The mask of a tensor.
#[derive(Clone, Copy)]
struct Mask {
    keys: [u32; 2],
    /// A value is dropped if the upper 16 bits of its hash are smaller.
    dropped: u32,
    /// The factor of the values that are kept.
    kept: f32,
}

impl Mask {
    /// The factor of the value with this index.
    #[inline(always)]
    fn factor(self, index: u32) -> f32 {
        if hash(index, self.keys) >> 16 < self.dropped { 0.0 } else { self.kept }
    }

    /// `x` times its factors, if the CPU computes it.
    #[cfg(feature = "cpu")]
    fn on_cpu<const D: usize>(self, x: &Tensor<D>) -> Option<Tensor<D>> {
        wheels_cpu::scaled(
            x,
            #[inline(always)]
            move |index| self.factor(index),
        )
    }

    /// The factors of all values, from the host.
    fn on_host(self, values: usize, device: &Device) -> Tensor<1> {
        let factors: Vec<f32> = (0..values as u32).map(|index| self.factor(index)).collect();
        Tensor::from_data(TensorData::new(factors, [values]), (device, DType::F32))
    }

    /// The same factors, computed on the device.
    fn on_device(self, values: usize, device: &Device) -> Tensor<1> {
        let Self { keys: [one, two], dropped, kept } = self;
        let shifted = |x: Tensor<2, Int>, bits: u32| x.clone().bitwise_xor(x.bitwise_right_shift_scalar(bits));
        // `arange` makes its numbers on the host, so the indices come from two short ones.
        const COLUMNS: usize = 4096;
        let up_to = |end: usize| Tensor::<1, Int>::arange(0..end as i64, (device, DType::U32));
        let rows = values.div_ceil(COLUMNS);
        let index = up_to(rows).reshape([rows, 1]).mul_scalar(COLUMNS as u32) + up_to(COLUMNS).reshape([1, COLUMNS]);
        let x = shifted(index.bitwise_xor_scalar(one), 16).mul_scalar(FACTORS[0]).bitwise_xor_scalar(two);
        let x = shifted(shifted(x, 15).mul_scalar(FACTORS[1]), 15);
        let keeps = x.bitwise_right_shift_scalar(16_u32).greater_equal_elem(dropped);
        (keeps.float().cast(DType::F32) * kept).reshape([rows * COLUMNS]).narrow(0, 0, values)
    }
}

/// The factors of [`hash`]. They are below 2^31, so that a product with 32 bits fits 63 bits.
const FACTORS: [u32; 2] = [0x21f0_aaad, 0x735a_2d97];

/// A number of 32 random-looking bits for each index, for two keys (multiplications and shifts as in Murmur3's finaliser,
/// with the constants of the search by Wellons and others, nullprogram.com/blog/2018/07/31).
#[inline(always)]
fn hash(index: u32, [one, two]: [u32; 2]) -> u32 {
    let shifted = |x: u32, bits: u32| x ^ (x >> bits);
    let x = shifted(index ^ one, 16).wrapping_mul(FACTORS[0]) ^ two;
    shifted(shifted(x, 15).wrapping_mul(FACTORS[1]), 15)
}

/// 64 random-looking bits for a number (SplitMix64, Steele et al. 2014).
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Of 2^16 equally likely numbers, those below this one drop a value.
fn threshold(rate: f64) -> u32 {
    (rate * 65536.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(seed: Option<u64>, rate: f64) -> Vec<f32> {
        let x = Tensor::<2>::ones([100, 100], &Device::flex());
        Dropout::new(seed, 0).apply(x, rate).into_data().iter::<f32>().collect()
    }

    #[test]
    fn the_given_fraction_is_dropped_and_the_mean_is_kept() {
        let values = ones(Some(7), 0.1);
        let dropped = values.iter().filter(|&&value| value == 0.0).count();
        // The standard deviation is 30.
        assert!((880..1120).contains(&dropped), "{dropped} of 10,000");
        assert!(values.iter().all(|&value| value == 0.0 || (value - 1.0 / 0.9).abs() < 1e-4));
    }

    #[test]
    fn a_seed_gives_the_same_mask_again() {
        assert_eq!(ones(Some(7), 0.5), ones(Some(7), 0.5));
        assert_ne!(ones(Some(7), 0.5), ones(Some(8), 0.5));
    }

    #[test]
    fn without_a_seed_or_a_rate_nothing_is_dropped() {
        assert!(ones(None, 0.5).iter().chain(&ones(Some(7), 0.0)).all(|&value| value == 1.0));
    }

    /// The correlation of two masks with a rate of one half.
    fn correlation(one: &[f32], other: &[f32]) -> f64 {
        let equal = one.iter().zip(other).filter(|(one, other)| one == other).count();
        2.0 * equal as f64 / one.len() as f64 - 1.0
    }

    #[test]
    fn masks_of_a_pass_of_neighbours_and_of_seeds_are_independent() {
        let mask = |seed: u64, pass: u64, skipped: usize| -> Vec<f32> {
            let mut dropout = Dropout::new(Some(seed), pass);
            let x = Tensor::<1>::ones([100_000], &Device::flex());
            for _ in 0..skipped {
                dropout.apply(x.clone(), 0.5);
            }
            dropout.apply(x, 0.5).into_data().iter::<f32>().collect()
        };
        let first = mask(7, 0, 0);
        // The standard deviation is 0.003.
        for other in [mask(7, 0, 1), mask(7, 1, 0), mask(8, 0, 0), mask(8, 0, 1)] {
            assert!(correlation(&first, &other).abs() < 0.015);
        }
        for distance in [1, 2, 3, 4, 32, 64, 192, 1024, 65536] {
            assert!(correlation(&first[distance..], &first[..100_000 - distance]).abs() < 0.025, "{distance}");
        }
    }

    #[test]
    fn a_device_draws_the_mask_of_the_host() {
        let device = Device::flex();
        for (seed, values) in (0..20).zip([1, 1000, 4096, 5000].into_iter().cycle()) {
            let mask = Masks { seed, count: 0, on_device: None }.next(6554);
            let host = mask.on_host(values, &device).into_data();
            assert_eq!(mask.on_device(values, &device).into_data(), host);
            #[cfg(feature = "cpu")]
            {
                let scaled = mask.on_cpu(&Tensor::<1>::ones([values], &device));
                assert_eq!(scaled.expect("a tensor on the CPU").into_data(), host);
            }
        }
    }
}
