//! Dropout whose masks are drawn on the host.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::LoraConfig;

/// Dropout in one pass over a model (Srivastava et al. 2014). It replaces random values by 0 and divides the others by
/// the probability of being kept.
///
/// The masks are drawn on the host, one after the other, so that one seed gives the same masks on every backend and
/// with any number of workers. Probabilities are rounded to multiples of 2^-16.
#[derive(Clone)]
pub(crate) struct Dropout {
    /// None outside training.
    rng: Option<ChaCha8Rng>,
    /// The rate of the inputs of adapters.
    lora_rate: f64,
}

impl Dropout {
    /// Dropout with masks from `seed`, or none without a seed. `pass` separates the passes of one seed.
    pub(crate) fn new(seed: Option<u64>, pass: u64) -> Self {
        Self {
            rng: seed.map(|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(pass);
                rng
            }),
            lora_rate: 0.0,
        }
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
        self.rng.is_some() && threshold(rate) > 0
    }

    /// Drops each value of `x` with the probability `rate`.
    pub(crate) fn apply<const D: usize>(&mut self, x: Tensor<D>, rate: f64) -> Tensor<D> {
        let dropped = threshold(rate);
        let Some(rng) = self.rng.as_mut().filter(|_| dropped > 0) else { return x };
        let kept = 65536.0 / (65536 - dropped.min(65535)) as f32;
        let mut bytes = vec![0; 2 * x.shape().num_elements()];
        rng.fill_bytes(&mut bytes);
        let scales: Vec<f32> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&pair| if u32::from(u16::from_le_bytes(pair)) < dropped { 0.0 } else { kept })
            .collect();
        let scales = Tensor::from_data(TensorData::new(scales, x.shape()), (&x.device(), x.dtype()));
        x * scales
    }
}

/// Of 2^16 equally likely numbers, those below this one drop a value.
fn threshold(rate: f64) -> u32 {
    (rate * 65536.0).round() as u32
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

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
}
