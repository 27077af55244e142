//! The precision of the CPU. A device keeps it until the process ends, so this test is in a process of its own.

use burn::tensor::{DType, Tensor};
use wheels_cpu::Cpu;
use wheels_device::{AdapterKind, DeviceError, Platform, Precision};

#[test]
fn the_cpu_opens_again_only_in_its_first_precision() {
    let spec = "cpu".parse().expect("a spec");
    let flex32 = Cpu.open(&spec, Precision::Flex32).expect_err("flex has no flex32").to_string();
    assert!(flex32.contains("cpu does not compute in flex32") && flex32.contains("f32"), "{flex32}");

    let first = Cpu.open(&spec, Precision::F16).expect("the CPU");
    assert_eq!(first.adapter.kind, AdapterKind::Cpu);
    assert!(first.capabilities.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
    assert!(!first.capabilities.fits(u64::MAX));
    assert!(first.capabilities.dtypes.contains(&DType::BF16));
    assert_eq!(Tensor::<1>::zeros([2], &first.device).dtype(), DType::F16);

    let second = Cpu.open(&spec, Precision::F16).expect("the same device again");
    assert_eq!(second.device, first.device);
    let other = Cpu.open(&spec, Precision::F32).expect_err("the precision is fixed");
    assert!(matches!(other, DeviceError::AlreadyConfigured { .. }), "{other}");
    assert!(other.to_string().contains("already computes in f16"), "{other}");

    let beyond = Cpu.open(&"cpu:1".parse().expect("a spec"), Precision::F16).expect_err("there is one CPU").to_string();
    assert!(beyond.contains("no adapter cpu:1; this machine has cpu ("), "{beyond}");
}
