//! The names by which a user selects a device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AdapterKind, DeviceError};

/// The name of a platform, which is one way to use hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PlatformName {
    /// NVIDIA GPUs through CUDA.
    Cuda,
    /// GPUs through Vulkan, with shaders in SPIR-V.
    Vulkan,
    /// GPUs through Metal, with shaders in MSL.
    Metal,
    /// GPUs through the WebGPU of a browser.
    WebGpu,
    /// GPUs through the best graphics API of the machine.
    Wgpu,
    /// The CPU.
    Cpu,
}

impl PlatformName {
    /// All names, in the order in which `auto` prefers them.
    pub const ALL: [Self; 6] = [Self::Cuda, Self::Vulkan, Self::Metal, Self::WebGpu, Self::Wgpu, Self::Cpu];

    /// The name that a user types. The Cargo feature that compiles the platform in has the same name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::WebGpu => "webgpu",
            Self::Wgpu => "wgpu",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for PlatformName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Selects one of the adapters of a platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The best adapter: discrete before integrated before virtual before other. A software adapter is last.
    #[default]
    Best,
    /// The adapter at this index of the platform's list, from 0.
    Index(usize),
    /// The adapter at this index among those of one kind.
    Kind {
        /// The kind.
        kind: AdapterKind,
        /// The index among the adapters of that kind, from 0.
        index: usize,
    },
}

/// A device by name, such as `auto`, `cpu` or `cuda:1`.
///
/// | text | device |
/// |------|--------|
/// | `auto` | the best GPU that opens, otherwise the CPU |
/// | `cpu` | the CPU |
/// | `cuda`, `cuda:1` | the first and the second CUDA GPU |
/// | `wgpu` | the best adapter of the machine's best graphics API; a software adapter if there is no other |
/// | `wgpu:1` | the second adapter of that API |
/// | `wgpu:discrete:0` | the first discrete GPU; also with `integrated`, `virtual` or `other` |
/// | `wgpu:cpu` | the software adapter (lavapipe, WARP) |
/// | `vulkan…`, `metal…`, `webgpu…` | the same as `wgpu…`, on that graphics API only |
///
/// Upper and lower case are equal. A spec prints as a text that parses to the same spec. serde stores it as this text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceSpec {
    /// The best GPU that opens, otherwise the CPU.
    #[default]
    Auto,
    /// An adapter of a named platform.
    Named {
        /// The platform.
        platform: PlatformName,
        /// Which of its adapters.
        selector: Selector,
    },
}

impl DeviceSpec {
    /// The best adapter of a platform.
    pub fn best(platform: PlatformName) -> Self {
        Self::Named { platform, selector: Selector::Best }
    }

    /// The adapter at `index` in the platform's list.
    pub fn index(platform: PlatformName, index: usize) -> Self {
        Self::Named { platform, selector: Selector::Index(index) }
    }

    /// The adapter at `index` among those of one kind.
    pub fn kind(platform: PlatformName, kind: AdapterKind, index: usize) -> Self {
        Self::Named { platform, selector: Selector::Kind { kind, index } }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Auto => "auto".to_owned(),
            Self::Named { platform, selector } => match selector {
                Selector::Best => platform.to_string(),
                Selector::Index(index) => format!("{platform}:{index}"),
                Selector::Kind { kind: AdapterKind::Cpu, index: 0 } => format!("{platform}:cpu"),
                Selector::Kind { kind, index } => format!("{platform}:{kind}:{index}"),
            },
        };
        f.pad(&text)
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(&text.trim().to_ascii_lowercase()).ok_or_else(|| DeviceError::ParseSpec { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<DeviceSpec> {
    if text == "auto" {
        return Some(DeviceSpec::Auto);
    }
    let mut parts = text.split(':');
    let platform_name = parts.next()?;
    let platform = PlatformName::ALL.into_iter().find(|platform| platform.as_str() == platform_name)?;
    let selector = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Selector::Best,
        (Some(part), None, _) => match parse_kind(part) {
            Some(kind) => Selector::Kind { kind, index: 0 },
            None => Selector::Index(parse_index(part)?),
        },
        (Some(kind), Some(index), None) => Selector::Kind { kind: parse_kind(kind)?, index: parse_index(index)? },
        (Some(_), Some(_), Some(_)) => return None,
    };
    Some(DeviceSpec::Named { platform, selector })
}

fn parse_kind(name: &str) -> Option<AdapterKind> {
    AdapterKind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

/// Parses digits only: `usize::from_str` would accept "+1" as well.
fn parse_index(digits: &str) -> Option<usize> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

impl From<DeviceSpec> for String {
    fn from(spec: DeviceSpec) -> Self {
        spec.to_string()
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_spec() -> impl Strategy<Value = DeviceSpec> {
        let platform = prop::sample::select(PlatformName::ALL.to_vec());
        let kind = prop::sample::select(AdapterKind::ALL.to_vec());
        let selector = prop_oneof![
            Just(Selector::Best),
            any::<usize>().prop_map(Selector::Index),
            (kind, any::<usize>()).prop_map(|(kind, index)| Selector::Kind { kind, index }),
        ];
        prop_oneof![
            1 => Just(DeviceSpec::Auto),
            9 => (platform, selector).prop_map(|(platform, selector)| DeviceSpec::Named { platform, selector }),
        ]
    }

    proptest! {
        #[test]
        fn a_spec_parses_from_what_it_prints(spec in any_spec()) {
            prop_assert_eq!(spec.to_string().parse::<DeviceSpec>().expect("a printed spec"), spec);
            let json = serde_json::to_string(&spec).expect("a string");
            prop_assert_eq!(serde_json::from_str::<DeviceSpec>(&json).expect("a stored spec"), spec);
        }

        #[test]
        fn any_text_parses_or_gets_an_error_that_lists_the_accepted_names(text in ".{0,24}") {
            if let Err(error) = text.parse::<DeviceSpec>() {
                prop_assert!(error.to_string().contains("accepted"), "{error}");
            }
        }
    }

    #[test]
    fn the_documented_texts_parse_as_the_table_says() {
        use AdapterKind::{Cpu, Discrete, Integrated, Other, Virtual};
        use PlatformName as P;
        let cases = [
            ("auto", DeviceSpec::Auto),
            ("cpu", DeviceSpec::best(P::Cpu)),
            ("cuda", DeviceSpec::best(P::Cuda)),
            ("cuda:1", DeviceSpec::index(P::Cuda, 1)),
            ("wgpu", DeviceSpec::best(P::Wgpu)),
            ("wgpu:1", DeviceSpec::index(P::Wgpu, 1)),
            ("wgpu:cpu", DeviceSpec::kind(P::Wgpu, Cpu, 0)),
            ("wgpu:discrete:0", DeviceSpec::kind(P::Wgpu, Discrete, 0)),
            ("wgpu:discrete", DeviceSpec::kind(P::Wgpu, Discrete, 0)),
            ("wgpu:integrated:0", DeviceSpec::kind(P::Wgpu, Integrated, 0)),
            ("wgpu:virtual:2", DeviceSpec::kind(P::Wgpu, Virtual, 2)),
            ("wgpu:other:0", DeviceSpec::kind(P::Wgpu, Other, 0)),
            ("Vulkan", DeviceSpec::best(P::Vulkan)),
            ("vulkan:discrete:0", DeviceSpec::kind(P::Vulkan, Discrete, 0)),
            ("metal", DeviceSpec::best(P::Metal)),
            (" webgpu ", DeviceSpec::best(P::WebGpu)),
        ];
        for (text, spec) in cases {
            assert_eq!(text.parse::<DeviceSpec>().expect(text), spec);
        }
    }

    #[test]
    fn invalid_specs_are_rejected() {
        for text in
            ["", ":", "gpu", "auto:0", "cuda:", "cuda:-1", "cuda:+1", "cuda:1:2", "wgpu:discrete:0:1", "wgpu:fast"]
        {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text:?}");
        }
        assert!("cuda:99999999999999999999999".parse::<DeviceSpec>().is_err());
    }
}
