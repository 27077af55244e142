//! What this machine's graphics adapters do. Without any these tests say so and pass, unless `WHEELS_DEVICES` is set,
//! which asks for one.

use std::io::Write;

use burn::tensor::{Tensor, Tolerance};
use wheels_device::{DeviceError, Platform, PlatformName, Precision};
use wheels_wgpu::Graphics;

#[test]
fn every_listed_adapter_opens_again_and_multiplies() {
    let adapters = Graphics::ANY.adapters();
    if adapters.is_empty() {
        let missing = DeviceError::NoAdapter { platform: PlatformName::Wgpu };
        assert!(std::env::var_os("WHEELS_DEVICES").is_none(), "{missing}");
        // Past what the test harness captures.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
    }
    for adapter in adapters {
        let first = Graphics::ANY.open(&adapter.spec, Precision::F32).expect("a listed adapter");
        let second = Graphics::ANY.open(&adapter.spec, Precision::F32).expect("the same adapter again");
        assert_eq!(first.device, second.device);
        assert!(first.capabilities.largest_buffer_bytes.is_some_and(|bytes| bytes >= 128 << 20));
        let left = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &first.device);
        let right = Tensor::<2>::from_floats([[0.5], [0.25]], &second.device);
        let product = left.matmul(right).into_data();
        product.assert_approx_eq::<f32>(&[[1.0f32], [2.5]].into(), Tolerance::absolute(1e-6));
    }
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_says_what_is() {
    let error = Graphics::ANY.open(&"wgpu:discrete:77".parse().expect("a spec"), Precision::F32).expect_err("78 GPUs");
    match error {
        DeviceError::NoAdapter { platform } => assert_eq!(platform, PlatformName::Wgpu),
        error => assert!(error.to_string().contains("no adapter wgpu:discrete:77; this machine has wgpu:"), "{error}"),
    }
}
