//! Opens an adapter of wgpu.

use std::sync::{Mutex, PoisonError};

use burn::cubecl::Device as CubeDevice;
use burn::cubecl::device::WgpuDeviceKind;
use burn::tensor::Device;
use burn_wgpu::graphics::AutoGraphicsApi;
use burn_wgpu::{RuntimeOptions, WgpuBackend, WgpuDevice, WgpuInitError, try_init_setup};
use wheels_device::{
    Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, PlatformName, Selector,
    catch_driver_panic,
};

use crate::probe;

/// The devices that are initialised already. If a device is initialised twice, burn returns an error, but only after it
/// has created a second device.
static INITIALISED: Mutex<Vec<WgpuDevice>> = Mutex::new(Vec::new());

pub(crate) fn open(adapter: Adapter) -> Result<Accelerator, DeviceError> {
    let device = wgpu_device(&adapter);
    catch_driver_panic(adapter.spec, || {
        initialise(&device).map_err(|error| DeviceError::Driver { spec: adapter.spec, source: Box::new(error) })?;
        let client = CubeDevice::Wgpu(device.clone()).client();
        let memory = &client.properties().memory;
        let handle = Device::new(device);
        let capabilities = Capabilities {
            largest_buffer_bytes: Some(memory.max_page_size),
            memory_bytes: memory.max_memory(),
            unified_memory: unified_memory(adapter.kind),
            ..Capabilities::of(&handle)
        };
        Ok(Accelerator { device: handle, adapter, capabilities })
    })
}

fn initialise(device: &WgpuDevice) -> Result<(), WgpuInitError> {
    let mut initialised = INITIALISED.lock().unwrap_or_else(PoisonError::into_inner);
    if initialised.contains(device) {
        return Ok(());
    }
    let _instances = probe::instances();
    match try_init_setup::<AutoGraphicsApi>(device, RuntimeOptions::try_default()?) {
        // A device is registered already if a tensor was created on it without this crate.
        Ok(_) | Err(WgpuInitError::Registration { .. }) => {
            initialised.push(device.clone());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// burn's device for an adapter, with the kind, the index and the API with which it was listed.
fn wgpu_device(adapter: &Adapter) -> WgpuDevice {
    let DeviceSpec::Named { selector: Selector::Kind { kind, index }, .. } = adapter.spec else {
        unreachable!("this platform lists its adapters by kind");
    };
    let kind = match kind {
        AdapterKind::Discrete => WgpuDeviceKind::DiscreteGpu(index),
        AdapterKind::Integrated => WgpuDeviceKind::IntegratedGpu(index),
        AdapterKind::Virtual => WgpuDeviceKind::VirtualGpu(index),
        AdapterKind::Other => WgpuDeviceKind::Other(index),
        AdapterKind::Cpu => WgpuDeviceKind::Cpu,
    };
    let api = match (adapter.api.as_str(), adapter.platform) {
        ("vulkan", _) => WgpuBackend::Vulkan,
        ("dx12", _) => WgpuBackend::Dx12,
        ("gl", _) => WgpuBackend::Gl,
        ("metal", PlatformName::Metal) => WgpuBackend::Metal,
        // `WgpuBackend::Metal` requires native MSL, and the platform `wgpu` uses WGSL.
        _ => WgpuBackend::Auto,
    };
    WgpuDevice::new(kind).on(api)
}

fn unified_memory(kind: AdapterKind) -> Option<bool> {
    match kind {
        AdapterKind::Integrated | AdapterKind::Cpu => Some(true),
        AdapterKind::Discrete => Some(false),
        AdapterKind::Virtual | AdapterKind::Other => None,
    }
}
