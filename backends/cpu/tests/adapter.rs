//! The adapter of the CPU.

use burn::tensor::DType;
use wheels_cpu::Cpu;
use wheels_device::{AdapterKind, Platform};

#[test]
fn the_cpu_is_one_adapter_that_opens_again_as_the_same_device() {
    let spec = "cpu".parse().expect("a spec");
    let first = Cpu.open(&spec).expect("the CPU");
    assert_eq!(first.adapter.kind, AdapterKind::Cpu);
    assert!(first.capabilities.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
    assert!(!first.capabilities.fits(u64::MAX));
    assert!(first.capabilities.dtypes.contains(&DType::BF16));
    assert_eq!(Cpu.open(&spec).expect("the same device again").device, first.device);

    let beyond = Cpu.open(&"cpu:1".parse().expect("a spec")).expect_err("there is one CPU").to_string();
    assert!(beyond.contains("no adapter cpu:1; this machine has cpu ("), "{beyond}");
}
