//! T5's relative position bias.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A learned bias for each head and each bucket of distances between a query and a key (Raffel et al. 2020, arXiv
/// 1910.10683, section 2.1). Each short distance has its own bucket, and long distances share logarithmic buckets.
#[derive(Module, Debug)]
pub(crate) struct RelativeBias {
    /// `[buckets, heads]`.
    pub(crate) weight: Param<Tensor<2>>,
    max_distance: usize,
    bidirectional: bool,
}

impl RelativeBias {
    /// A bias of the shape `[buckets, heads]`, drawn from a normal distribution with the given standard deviation.
    pub(crate) fn init(shape: [usize; 2], max_distance: usize, bidirectional: bool, std: f64, device: &Device) -> Self {
        let weight = Initializer::Normal { mean: 0.0, std }.init(shape, device);
        Self { weight, max_distance, bidirectional }
    }

    /// The bias of each query and each of the first `keys` slots. Query `i` of row `r` is at slot `offsets[r] + i`.
    ///
    /// # Shapes
    /// `[offsets, heads, queries, keys]`.
    pub(crate) fn forward(&self, offsets: &[usize], queries: usize, keys: usize) -> Tensor<4> {
        let buckets: Vec<i32> = offsets
            .iter()
            .flat_map(|&offset| (0..queries).map(move |query| (offset + query) as i64))
            .flat_map(|position| (0..keys).map(move |key| self.bucket(key as i64 - position) as i32))
            .collect();
        let weight = self.weight.val();
        let [_, heads] = weight.dims();
        let count = buckets.len();
        let buckets = Tensor::<1, Int>::from_data(TensorData::new(buckets, [count]), &weight.device());
        weight.transpose().select(1, buckets).reshape([heads, offsets.len(), queries, keys]).swap_dims(0, 1)
    }

    /// The bucket of a key that is `distance` positions after the query, or before it if `distance` is negative.
    fn bucket(&self, distance: i64) -> usize {
        let mut buckets = self.weight.lazy_shape()[0];
        let mut first = 0;
        let distance = if self.bidirectional {
            buckets /= 2;
            if distance > 0 {
                first = buckets;
            }
            distance.unsigned_abs() as usize
        } else {
            (-distance).max(0) as usize
        };
        let exact = buckets / 2;
        if distance < exact {
            return first + distance;
        }
        // In f32, like the reference implementation: at the edges of the buckets, rounding decides.
        let octaves = (distance as f32 / exact as f32).ln() / (self.max_distance as f32 / exact as f32).ln();
        first + (exact + (octaves * (buckets - exact) as f32) as usize).min(buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_distances_have_their_own_bucket_and_long_ones_share_the_last() {
        let causal = RelativeBias::init([32, 1], 128, false, 1.0, &Device::default());
        assert_eq!([0, -1, -15, 3].map(|d| causal.bucket(d)), [0, 1, 15, 0]);
        assert_eq!([-16, -127, -128, -5000].map(|d| causal.bucket(d)), [16, 31, 31, 31]);
        let both = RelativeBias::init([32, 1], 128, true, 1.0, &Device::default());
        assert_eq!([0, -7, 7, 8, -128, 500].map(|d| both.bucket(d)), [0, 7, 23, 24, 15, 31]);
    }
}
