//! Random numbers for the tests.

use std::cell::RefCell;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

thread_local! {
    static GENERATOR: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(0));
}

/// A tensor of random numbers that are the same in every run: each test has its own thread, so its own generator, while the
/// generator of a device is shared by all tests.
pub(crate) fn random<const D: usize>(shape: [usize; D], distribution: Distribution, device: &Device) -> Tensor<D> {
    let data = GENERATOR.with_borrow_mut(|generator| TensorData::random::<f32, _, _>(shape, distribution, generator));
    Tensor::from_data(data, device)
}
