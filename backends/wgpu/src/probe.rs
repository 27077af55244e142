//! Lists the adapters of the machine without opening them.

use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wgpu::{AdapterInfo, Backend, DeviceType, Instance, InstanceDescriptor};
use wheels_device::{Adapter, AdapterKind, DeviceSpec, PlatformName};

/// The instances of the graphics APIs. They are kept until the process ends, because the Vulkan loader fails if several
/// threads create and drop instances at the same time. Code that creates an instance holds this lock, also if burn
/// creates it.
static INSTANCES: Mutex<Vec<(Backend, Instance)>> = Mutex::new(Vec::new());

pub(crate) type Instances = MutexGuard<'static, Vec<(Backend, Instance)>>;

pub(crate) fn instances() -> Instances {
    // The lock is poisoned if a driver panicked on another thread. The list itself is intact.
    INSTANCES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An adapter with its index among those of its kind, on its graphics API.
pub(crate) struct Found {
    info: AdapterInfo,
    kind: AdapterKind,
    index: usize,
}

impl Found {
    pub(crate) fn adapter(self, platform: PlatformName) -> Adapter {
        let driver = [self.info.driver, self.info.driver_info].join(" ").trim().to_owned();
        Adapter {
            platform,
            name: self.info.name,
            kind: self.kind,
            api: self.info.backend.to_str().to_owned(),
            driver,
            spec: DeviceSpec::kind(platform, self.kind, self.index),
        }
    }
}

/// The adapters of the first API that has a GPU, or else of the first API that has an adapter.
pub(crate) fn list(apis: &[Backend]) -> Vec<Found> {
    let mut software = Vec::new();
    for api in apis {
        let found = number_by_kind(infos(*api));
        if found.iter().any(|adapter| adapter.kind.is_gpu()) {
            return found;
        }
        if software.is_empty() {
            software = found;
        }
    }
    software
}

/// The driver's information about each adapter of an API.
fn infos(api: Backend) -> Vec<AdapterInfo> {
    if !Instance::enabled_backend_features().contains(api.into()) {
        return Vec::new();
    }
    // A driver that panics has no adapter.
    catch_unwind(|| {
        let mut instances = instances();
        let index = instances.iter().position(|(held, _)| *held == api).unwrap_or_else(|| {
            let descriptor =
                InstanceDescriptor { backends: api.into(), ..InstanceDescriptor::new_without_display_handle() };
            instances.push((api, Instance::new(descriptor)));
            instances.len() - 1
        });
        let adapters = pollster::block_on(instances[index].1.enumerate_adapters(api.into()));
        adapters.iter().map(wgpu::Adapter::get_info).collect()
    })
    .unwrap_or_default()
}

/// Gives each adapter its index within its kind. burn can open only the first software adapter, so the others are left
/// out.
fn number_by_kind(infos: Vec<AdapterInfo>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for info in infos {
        let kind = adapter_kind(info.device_type);
        let index = found.iter().filter(|other| other.kind == kind).count();
        if kind.is_gpu() || index == 0 {
            found.push(Found { info, kind, index });
        }
    }
    found
}

fn adapter_kind(device_type: DeviceType) -> AdapterKind {
    match device_type {
        DeviceType::DiscreteGpu => AdapterKind::Discrete,
        DeviceType::IntegratedGpu => AdapterKind::Integrated,
        DeviceType::VirtualGpu => AdapterKind::Virtual,
        DeviceType::Cpu => AdapterKind::Cpu,
        DeviceType::Other => AdapterKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(device_type: DeviceType) -> AdapterInfo {
        AdapterInfo::new(device_type, Backend::Vulkan)
    }

    #[test]
    fn indices_count_within_a_kind_and_a_second_software_adapter_is_left_out() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let found = number_by_kind([Cpu, DiscreteGpu, IntegratedGpu, DiscreteGpu, Cpu].map(info).to_vec());
        let specs: Vec<_> =
            found.into_iter().map(|found| found.adapter(PlatformName::Vulkan).spec.to_string()).collect();
        assert_eq!(specs, ["vulkan:cpu", "vulkan:discrete:0", "vulkan:integrated:0", "vulkan:discrete:1"]);
    }

    #[test]
    fn an_api_that_is_not_compiled_in_has_no_adapters() {
        assert!(list(&[Backend::BrowserWebGpu]).is_empty());
    }
}
