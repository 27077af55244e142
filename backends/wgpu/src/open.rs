//! Bringing up the adapter that a spec names.

use std::sync::{Mutex, PoisonError};

use burn::cubecl::Device as CubeDevice;
use burn::cubecl::device::WgpuDeviceKind;
use burn::tensor::Device;
use burn_wgpu::graphics::AutoGraphicsApi;
use burn_wgpu::{RuntimeOptions, WgpuBackend, WgpuDevice, WgpuInitError, try_init_setup};
use wheels_device::{
    Accelerator, Adapter, AdapterKind, Capabilities, DeviceError, DeviceSpec, PlatformName, Precision, Selector, guard,
};

use crate::probe;

/// The devices that are up. Asking burn to bring one up twice is an error, and costs a second device on the way to it.
static UP: Mutex<Vec<WgpuDevice>> = Mutex::new(Vec::new());

pub(crate) fn open(adapter: Adapter, precision: Precision) -> Result<Accelerator, DeviceError> {
    let device = device(&adapter);
    guard(adapter.spec, || {
        bring_up(&device).map_err(|error| DeviceError::Driver { spec: adapter.spec, source: Box::new(error) })?;
        let client = CubeDevice::Wgpu(device.clone()).client();
        let memory = &client.properties().memory;
        let handle = Device::new(device);
        let capabilities = Capabilities {
            largest_buffer_bytes: Some(memory.max_page_size),
            memory_bytes: memory.max_memory(),
            unified_memory: unified(adapter.kind),
            ..Capabilities::of(&handle)
        };
        Accelerator::new(handle, adapter, capabilities, precision)
    })
}

fn bring_up(device: &WgpuDevice) -> Result<(), WgpuInitError> {
    let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
    if up.contains(device) {
        return Ok(());
    }
    let _instances = probe::instances();
    match try_init_setup::<AutoGraphicsApi>(device, RuntimeOptions::try_default()?) {
        // Registered already: a tensor that was made past this crate brought it up.
        Ok(_) | Err(WgpuInitError::Registration { .. }) => {
            up.push(device.clone());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// burn's name for a listed adapter: its kind and place, on the API that it was listed on.
fn device(adapter: &Adapter) -> WgpuDevice {
    let DeviceSpec::Named { selector: Selector::Kind { kind, index }, .. } = adapter.spec else {
        unreachable!("graphics adapters are listed by kind");
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
        // Naming Metal would insist on native MSL; where the API is free, WGSL does as well.
        _ => WgpuBackend::Auto,
    };
    WgpuDevice::new(kind).on(api)
}

fn unified(kind: AdapterKind) -> Option<bool> {
    match kind {
        AdapterKind::Integrated | AdapterKind::Cpu => Some(true),
        AdapterKind::Discrete => Some(false),
        AdapterKind::Virtual | AdapterKind::Other => None,
    }
}
