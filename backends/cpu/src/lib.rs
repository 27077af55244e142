//! The CPU backend of Training Wheels, through burn's flex backend.
//!
//! The platform has one adapter, the CPU. It needs no driver. It computes on all cores with rayon's threads, and
//! `RAYON_NUM_THREADS` limits their number.
//!
//! ```
//! use burn::tensor::Tensor;
//! use wheels_cpu::Cpu;
//! use wheels_device::Platform;
//!
//! let cpu = Cpu.open(&"cpu".parse()?)?;
//! let sum = Tensor::<1>::from_floats([1.0, 2.0], &cpu.device).sum();
//! assert_eq!(sum.into_scalar::<f32>(), 3.0);
//! # Ok::<(), wheels_device::DeviceError>(())
//! ```

mod adamw;
mod attention;
mod attention_weights;
mod exp;
mod factors;
mod gate;
mod gradient;
mod int8;
mod linear;
mod matrix;
mod norm;
mod parallel;
mod product;
mod rotary;
mod rows;
mod softmax;
#[cfg(test)]
mod testing;
#[cfg(target_arch = "x86_64")]
mod transpose;
mod vectors;
mod weight;
mod words;

use std::thread::available_parallelism;

use burn::tensor::Device;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use wheels_device::{Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, Platform, PlatformName};

pub use adamw::{AdamWStep, adamw, is_f32, square_sum};
pub use attention::{CacheView, attention, attention_to};
pub use attention_weights::softmax;
pub use factors::scaled;
pub use gate::silu_gate;
pub use gradient::with_gradient;
pub use int8::int8;
pub use linear::{linear, linears};
pub use norm::{layer_norm, rms_norm};
pub use rotary::rotate;
pub use softmax::{CrossEntropy, RowFacts, computes, cross_entropy, log_softmax, row_facts};
pub use words::{Coefficients, Words};

/// The platform of this machine's CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl Platform for Cpu {
    fn name(&self) -> PlatformName {
        PlatformName::Cpu
    }

    fn adapters(&self) -> Vec<Adapter> {
        let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()));
        let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default();
        let threads = available_parallelism().map_or(1, usize::from);
        let adapter = Adapter {
            platform: PlatformName::Cpu,
            name: if brand.is_empty() { std::env::consts::ARCH.to_owned() } else { brand },
            kind: AdapterKind::Cpu,
            api: "flex".to_owned(),
            driver: if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") },
            spec: DeviceSpec::best(PlatformName::Cpu),
        };
        vec![adapter]
    }

    fn open(&self, spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
        let adapter = self.find(spec)?;
        let device = Device::flex();
        let capabilities = Capabilities {
            memory_bytes: memory_bytes(),
            largest_buffer_bytes: memory_bytes(),
            unified_memory: Some(true),
            ..Capabilities::of(&device)
        };
        Ok(Accelerator { device, adapter, capabilities })
    }
}

/// The memory of the machine, or of the container if that is less, bytes. `None` if unknown.
fn memory_bytes() -> Option<u64> {
    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let machine = system.total_memory();
    let limit = system.cgroup_limits().map_or(machine, |limits| limits.total_memory);
    Some(machine.min(limit)).filter(|bytes| *bytes > 0)
}
