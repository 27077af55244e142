//! The graphics adapters of this machine open and compute. If there is no adapter, the first test says that it was
//! skipped and passes. If `WHEELS_DEVICES` is set, an adapter is required and the test fails instead.

use std::io::Write;

use burn::tensor::{Tensor, Tolerance};
use wheels_device::{DeviceError, Platform, PlatformName};
use wheels_wgpu::Graphics;

#[test]
fn every_listed_adapter_opens_twice_and_multiplies_correctly() {
    let adapters = Graphics::ANY.adapters();
    if adapters.is_empty() {
        let missing = DeviceError::NoAdapter { platform: PlatformName::Wgpu };
        assert!(std::env::var_os("WHEELS_DEVICES").is_none(), "{missing}");
        // Written directly, because the test harness captures the output of `println!`.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
    }
    for adapter in adapters {
        let first = Graphics::ANY.open(&adapter.spec).expect("a listed adapter");
        let second = Graphics::ANY.open(&adapter.spec).expect("the same adapter again");
        assert_eq!(first.device, second.device);
        assert!(first.capabilities.largest_buffer_bytes.is_some_and(|bytes| bytes >= 128 << 20));
        let left = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &first.device);
        let right = Tensor::<2>::from_floats([[0.5], [0.25]], &second.device);
        let product = left.matmul(right).into_data();
        product.assert_approx_eq::<f32>(&[[1.0f32], [2.5]].into(), Tolerance::absolute(1e-6));
    }
}

#[test]
fn the_error_for_a_missing_adapter_names_the_available_ones() {
    let error = Graphics::ANY.open(&"wgpu:discrete:77".parse().expect("a spec")).expect_err("no machine has 78 GPUs");
    match error {
        DeviceError::NoAdapter { platform } => assert_eq!(platform, PlatformName::Wgpu),
        error => assert!(error.to_string().contains("no adapter wgpu:discrete:77; this machine has wgpu:"), "{error}"),
    }
}
