//! The trait that a backend implements, and the choice of a device among several backends.

use crate::{Accelerator, Adapter, AdapterKind, DeviceError, DeviceSpec, PlatformName, Selector};

/// One way to use hardware, such as CUDA or Vulkan.
pub trait Platform: Send + Sync {
    /// The name of the platform.
    fn name(&self) -> PlatformName;

    /// The adapters on this machine. Empty if the driver is missing.
    fn adapters(&self) -> Vec<Adapter>;

    /// Opens an adapter. `auto` opens the best adapter of this platform.
    ///
    /// Opening an adapter twice returns the same device.
    ///
    /// # Errors
    /// - [`DeviceError::NoAdapter`] or [`DeviceError::NoSuchAdapter`] if the machine does not have the adapter.
    /// - [`DeviceError::Driver`] if the driver does not open it.
    fn open(&self, spec: &DeviceSpec) -> Result<Accelerator, DeviceError>;

    /// Finds the adapter that a spec names, without opening it.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`] or [`DeviceError::NoSuchAdapter`] if the machine does not have the adapter.
    fn find(&self, spec: &DeviceSpec) -> Result<Adapter, DeviceError> {
        select(self.name(), spec, &self.adapters()).cloned()
    }
}

fn select<'a>(name: PlatformName, spec: &DeviceSpec, adapters: &'a [Adapter]) -> Result<&'a Adapter, DeviceError> {
    if adapters.is_empty() {
        return Err(DeviceError::NoAdapter { platform: name });
    }
    let found = match spec {
        DeviceSpec::Auto => best(adapters),
        DeviceSpec::Named { platform, .. } if *platform != name => None,
        DeviceSpec::Named { selector, .. } => match *selector {
            Selector::Best => best(adapters),
            Selector::Index(index) => adapters.get(index),
            Selector::Kind { kind, index } => adapters.iter().filter(|adapter| adapter.kind == kind).nth(index),
        },
    };
    found.ok_or_else(|| {
        let available = adapters.iter().map(Adapter::to_string).collect::<Vec<_>>().join(", ");
        DeviceError::NoSuchAdapter { spec: *spec, available }
    })
}

/// The best adapter. Among equals it is the first, because `min_by_key` returns the first minimum.
fn best(adapters: &[Adapter]) -> Option<&Adapter> {
    adapters.iter().min_by_key(|adapter| adapter.kind)
}

/// All adapters of `platforms`. An adapter that two platforms list with the same API appears once, under the first
/// platform.
pub fn list(platforms: &[&dyn Platform]) -> Vec<Adapter> {
    let mut listed: Vec<Adapter> = Vec::new();
    for adapter in platforms.iter().flat_map(|platform| platform.adapters()) {
        if !listed.iter().any(|other| other.is_same_adapter(&adapter)) {
            listed.push(adapter);
        }
    }
    listed
}

/// Opens the device that `spec` names on one of `platforms`.
///
/// `auto` selects the best GPU that opens: discrete before integrated before virtual before other. Among
/// equals it selects the one whose platform comes first. If no GPU opens, it selects the CPU. It selects a software
/// adapter only if the build has no platform for the CPU. The log says which device is used.
///
/// To use a software adapter, name it: `wgpu:cpu`, or `wgpu` if it is the only adapter.
///
/// # Errors
/// - [`DeviceError::FeatureOff`] if no platform has the name.
/// - [`DeviceError::NoPlatform`] if `platforms` is empty.
/// - The errors of [`Platform::open`].
pub fn open(platforms: &[&dyn Platform], spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
    let DeviceSpec::Named { platform, .. } = spec else {
        return open_best(platforms);
    };
    let accelerator = named(platforms, *platform)?.open(spec)?;
    log::info!("using {}", accelerator.adapter);
    Ok(accelerator)
}

/// Finds the adapter that `spec` names on one of `platforms`, without opening it. For `auto` it is the adapter that
/// [`open`] tries first.
///
/// # Errors
/// - [`DeviceError::FeatureOff`] if no platform has the name.
/// - [`DeviceError::NoPlatform`] if `platforms` is empty.
/// - [`DeviceError::NoAdapter`] or [`DeviceError::NoSuchAdapter`] if the machine does not have the adapter.
pub fn find(platforms: &[&dyn Platform], spec: &DeviceSpec) -> Result<Adapter, DeviceError> {
    match spec {
        DeviceSpec::Auto => by_preference(list(platforms)).into_iter().next().ok_or_else(|| no_adapter(platforms)),
        DeviceSpec::Named { platform, .. } => named(platforms, *platform)?.find(spec),
    }
}

fn named<'a>(platforms: &[&'a dyn Platform], name: PlatformName) -> Result<&'a dyn Platform, DeviceError> {
    if platforms.is_empty() {
        return Err(DeviceError::NoPlatform);
    }
    platforms.iter().copied().find(|platform| platform.name() == name).ok_or_else(|| {
        let names: Vec<_> = platforms.iter().map(|platform| platform.name().as_str()).collect();
        DeviceError::FeatureOff { platform: name, available: names.join(", ") }
    })
}

fn no_adapter(platforms: &[&dyn Platform]) -> DeviceError {
    match platforms.first() {
        Some(platform) => DeviceError::NoAdapter { platform: platform.name() },
        None => DeviceError::NoPlatform,
    }
}

fn open_best(platforms: &[&dyn Platform]) -> Result<Accelerator, DeviceError> {
    let mut first_error = None;
    for adapter in by_preference(list(platforms)) {
        match named(platforms, adapter.platform)?.open(&adapter.spec) {
            Ok(accelerator) => {
                log_choice(&accelerator);
                return Ok(accelerator);
            }
            Err(error) => {
                log::warn!("auto skips {adapter}: {error}");
                first_error.get_or_insert(error);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| no_adapter(platforms)))
}

fn log_choice(accelerator: &Accelerator) {
    let adapter = &accelerator.adapter;
    match (adapter.kind, adapter.platform) {
        (AdapterKind::Cpu, PlatformName::Cpu) => log::info!("no GPU found; using the CPU, {adapter}"),
        (AdapterKind::Cpu, _) => log::warn!(
            "no GPU found and no CPU backend compiled in; using the software adapter {adapter}, which is slow; build \
             with --features cpu for a fast one"
        ),
        _ => log::info!("using {adapter}"),
    }
}

/// The adapters that `auto` may select, in the order in which it tries them.
fn by_preference(adapters: Vec<Adapter>) -> Vec<Adapter> {
    let (mut gpus, cpus): (Vec<_>, Vec<_>) = adapters.into_iter().partition(|adapter| adapter.kind.is_gpu());
    gpus.sort_by_key(|adapter| adapter.kind);
    let (native, software): (Vec<_>, Vec<_>) =
        cpus.into_iter().partition(|adapter| adapter.platform == PlatformName::Cpu);
    gpus.extend(if native.is_empty() { software } else { native });
    gpus
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::Capabilities;

    /// A platform with the given adapters. If it is `broken`, none of them opens.
    struct Listed {
        name: PlatformName,
        adapters: Vec<Adapter>,
        broken: bool,
    }

    impl Listed {
        fn new(name: PlatformName, api: &str, kinds: &[AdapterKind]) -> Self {
            let index_in_kind = |at: usize| kinds[..at].iter().filter(|kind| **kind == kinds[at]).count();
            let adapters = kinds.iter().enumerate().map(|(at, kind)| Adapter {
                platform: name,
                name: format!("{api} {kind}"),
                kind: *kind,
                api: api.to_owned(),
                driver: String::new(),
                spec: DeviceSpec::kind(name, *kind, index_in_kind(at)),
            });
            Self { name, adapters: adapters.collect(), broken: false }
        }

        fn broken(self) -> Self {
            Self { broken: true, ..self }
        }
    }

    impl Platform for Listed {
        fn name(&self) -> PlatformName {
            self.name
        }

        fn adapters(&self) -> Vec<Adapter> {
            self.adapters.clone()
        }

        fn open(&self, spec: &DeviceSpec) -> Result<Accelerator, DeviceError> {
            let adapter = self.find(spec)?;
            if self.broken {
                return Err(DeviceError::Driver { spec: adapter.spec, source: "out of order".into() });
            }
            let device = Device::flex();
            let capabilities = Capabilities::of(&device);
            Ok(Accelerator { device, adapter, capabilities })
        }
    }

    use AdapterKind::{Cpu as Soft, Discrete, Integrated};

    fn cpu() -> Listed {
        Listed::new(PlatformName::Cpu, "flex", &[Soft])
    }

    fn opened(platforms: &[&dyn Platform], spec: &str) -> Result<String, DeviceError> {
        let spec: DeviceSpec = spec.parse()?;
        Ok(open(platforms, &spec)?.adapter.spec.to_string())
    }

    #[test]
    fn auto_prefers_a_discrete_gpu_and_the_first_platform() {
        let cuda = Listed::new(PlatformName::Cuda, "cuda", &[Discrete]);
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Soft, Integrated, Discrete]);
        assert_eq!(opened(&[&cuda, &wgpu, &cpu()], "auto").expect("cuda"), "cuda:discrete:0");
        assert_eq!(opened(&[&wgpu, &cpu()], "auto").expect("wgpu"), "wgpu:discrete:0");
    }

    #[test]
    fn auto_skips_a_gpu_that_does_not_open() {
        let cuda = Listed::new(PlatformName::Cuda, "cuda", &[Discrete]).broken();
        assert_eq!(opened(&[&cuda, &cpu()], "auto").expect("the CPU"), "cpu:cpu");
        let error = opened(&[&cuda], "auto").expect_err("the only GPU is broken");
        assert!(matches!(error, DeviceError::Driver { .. }), "{error}");
    }

    #[test]
    fn auto_selects_a_software_adapter_only_if_the_build_has_no_cpu() {
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Soft]);
        assert_eq!(opened(&[&wgpu, &cpu()], "auto").expect("the CPU"), "cpu:cpu");
        assert_eq!(opened(&[&wgpu], "auto").expect("lavapipe"), "wgpu:cpu");
        assert_eq!(find(&[&wgpu, &cpu()], &DeviceSpec::Auto).expect("the CPU").spec.to_string(), "cpu:cpu");
    }

    #[test]
    fn a_software_adapter_is_used_if_it_is_named() {
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Soft]);
        assert_eq!(opened(&[&wgpu, &cpu()], "wgpu").expect("the only one"), "wgpu:cpu");
        assert_eq!(opened(&[&wgpu, &cpu()], "wgpu:cpu").expect("the software adapter"), "wgpu:cpu");
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Soft, Integrated]);
        assert_eq!(opened(&[&wgpu, &cpu()], "wgpu").expect("the GPU"), "wgpu:integrated:0");
        assert_eq!(opened(&[&wgpu, &cpu()], "wgpu:0").expect("the first of the list"), "wgpu:cpu");
    }

    #[test]
    fn an_index_counts_within_the_kind_or_within_the_list() {
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Integrated, Discrete, Discrete]);
        assert_eq!(opened(&[&wgpu], "wgpu:discrete:1").expect("second discrete"), "wgpu:discrete:1");
        assert_eq!(opened(&[&wgpu], "wgpu:1").expect("second of all"), "wgpu:discrete:0");
    }

    #[test]
    fn errors_name_what_is_missing_and_what_is_available() {
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Discrete]);
        let message = |platforms: &[&dyn Platform], spec| opened(platforms, spec).expect_err(spec).to_string();
        let off = message(&[&wgpu, &cpu()], "cuda");
        assert_eq!(off, "this build has no cuda; build with --features cuda, or pass one of: wgpu, cpu");
        let range = message(&[&wgpu], "wgpu:7");
        assert!(range.contains("no adapter wgpu:7") && range.contains("wgpu:discrete:0 (vulkan discrete)"), "{range}");
        let kind = message(&[&wgpu], "wgpu:cpu");
        assert!(kind.contains("no adapter wgpu:cpu"), "{kind}");
        let none = message(&[&Listed::new(PlatformName::Cuda, "cuda", &[])], "cuda:0");
        assert!(none.starts_with("no CUDA adapter found; ") && none.ends_with("or pass --device cpu"), "{none}");
        assert!(message(&[], "auto").contains("--features cpu"));
        assert!(message(&[], "cpu").contains("--features cpu"));
    }

    #[test]
    fn an_adapter_that_two_platforms_list_is_listed_once() {
        let vulkan = Listed::new(PlatformName::Vulkan, "vulkan", &[Discrete, Soft]);
        let wgpu = Listed::new(PlatformName::Wgpu, "vulkan", &[Discrete, Soft]);
        let specs: Vec<_> = list(&[&vulkan, &wgpu, &cpu()]).iter().map(|adapter| adapter.spec.to_string()).collect();
        assert_eq!(specs, ["vulkan:discrete:0", "vulkan:cpu", "cpu:cpu"]);
    }
}
