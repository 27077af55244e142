//! What a user types to name a device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AdapterKind, DeviceError};

/// One way to reach hardware, in the word a user types for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PlatformName {
    /// NVIDIA GPUs through CUDA.
    Cuda,
    /// Vulkan, in SPIR-V.
    Vulkan,
    /// Metal, in MSL.
    Metal,
    /// WebGPU, the browser's own.
    WebGpu,
    /// Whatever graphics API the machine offers.
    Wgpu,
    /// The CPU.
    Cpu,
}

impl PlatformName {
    /// Every name, in the order in which the facade prefers them.
    pub const ALL: [Self; 6] = [Self::Cuda, Self::Vulkan, Self::Metal, Self::WebGpu, Self::Wgpu, Self::Cpu];

    /// The word a user types; also the Cargo feature that compiles the platform in.
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

/// Which of a platform's adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The best one: discrete before integrated before virtual before other, a software adapter last.
    #[default]
    Best,
    /// The one at this place in the platform's list, from 0.
    Index(usize),
    /// The one at this place among those of one kind, from 0.
    Kind {
        /// The kind asked for.
        kind: AdapterKind,
        /// Its place among the adapters of that kind.
        index: usize,
    },
}

/// The device a user asks for.
///
/// | text | device |
/// |------|--------|
/// | `auto` | the best GPU that opens, or else the CPU |
/// | `cpu` | the CPU |
/// | `cuda`, `cuda:1` | the first CUDA GPU, the second |
/// | `wgpu` | the best adapter of whatever graphics API there is, a software adapter if there is nothing else |
/// | `wgpu:1` | the second adapter in that list |
/// | `wgpu:discrete:0` | the first discrete GPU; likewise `integrated`, `virtual` and `other` |
/// | `wgpu:cpu` | the software adapter (lavapipe, WARP) |
/// | `vulkan…`, `metal…`, `webgpu…` | the same, on that graphics API and no other |
///
/// Upper and lower case are the same. A spec prints as the text that it parses from, and is that text in serde.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceSpec {
    /// The best GPU that opens, or else the CPU.
    #[default]
    Auto,
    /// An adapter of one platform.
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
    let word = parts.next()?;
    let platform = PlatformName::ALL.into_iter().find(|name| name.as_str() == word)?;
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

fn parse_kind(word: &str) -> Option<AdapterKind> {
    AdapterKind::ALL.into_iter().find(|kind| kind.as_str() == word)
}

/// `usize::from_str` would also take "+1".
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
            prop_assert_eq!(spec.to_string().parse::<DeviceSpec>().expect("printed"), spec);
            let json = serde_json::to_string(&spec).expect("a string");
            prop_assert_eq!(serde_json::from_str::<DeviceSpec>(&json).expect("written"), spec);
        }

        #[test]
        fn any_text_parses_or_is_named_in_the_error(text in ".{0,24}") {
            if let Err(error) = text.parse::<DeviceSpec>() {
                prop_assert!(error.to_string().contains("accepted"), "{error}");
            }
        }
    }

    #[test]
    fn the_documented_texts_mean_what_the_table_says() {
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
    fn what_is_not_a_spec_is_refused() {
        for text in
            ["", ":", "gpu", "auto:0", "cuda:", "cuda:-1", "cuda:+1", "cuda:1:2", "wgpu:discrete:0:1", "wgpu:fast"]
        {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text:?}");
        }
        assert!("cuda:99999999999999999999999".parse::<DeviceSpec>().is_err());
    }
}
