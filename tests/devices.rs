//! One program on several devices: the same tokens and the same decisions to ask.
//!
//! Every adapter that this build reaches is compared with the CPU. `WHEELS_DEVICES=wgpu:cpu,cuda:0` names the devices to
//! compare instead, and then the test fails if one of them is missing.

mod support;

use std::io::Write;
use std::time::Instant;

use training_wheels::decode::{Action, Source};
use training_wheels::device::{self, Adapter, PlatformName};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

use support::{NearestTies, TIE};

/// Writes to standard error directly, which the test harness does not capture: every run shows what was compared and
/// what was skipped.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn other_adapters() -> Vec<Adapter> {
    let Ok(names) = std::env::var("WHEELS_DEVICES") else {
        return device::list().into_iter().filter(|adapter| adapter.platform != PlatformName::Cpu).collect();
    };
    let mut adapters = Vec::new();
    for name in names.split(',') {
        let found = name.parse().and_then(|spec| device::find(&spec));
        adapters.push(found.unwrap_or_else(|error| panic!("WHEELS_DEVICES: {error}")));
    }
    adapters
}

/// What must be equal in a text: every token, who chose it, and where help was asked for. Log-probs may be rounded
/// differently.
type Decisions = Vec<(u32, Source, Action)>;

/// The number of texts that are also decoded speculatively.
const SPECULATIVE: usize = 24;

/// The number of texts that are also sampled. A draw within rounding of the boundary between two tokens could differ; the
/// chance of that is about one in a million per token.
const SAMPLED: usize = 8;

/// The decisions in some texts, and the nearest tie of each.
struct Decoded {
    texts: Vec<Decisions>,
    ties: Vec<f64>,
}

impl Decoded {
    fn new() -> Self {
        Self { texts: vec![], ties: vec![] }
    }

    fn add(&mut self, decoder: BudgetedDecoder<'_>, policy: &Policy<'_>, prompts: &[Prompt]) {
        let mut ties = NearestTies::new(policy, prompts);
        let decoder = decoder.with_max_new_tokens(48);
        let trajectories = decoder.decode_with(prompts, Seed(7), &mut ties).expect("decoding works").trajectories;
        for text in &trajectories {
            self.texts.push(text.steps.iter().map(|step| (step.token, step.source, step.action)).collect());
        }
        self.ties.extend(ties.of_texts);
    }
}

/// Decodes the embedded sample on a device with a student that asks, and its first texts by speculative decoding and by
/// sampling.
fn decode(spec: &DeviceSpec) -> Decoded {
    let device = device::open(spec).expect("the device opens").device;
    let pair = support::pair(&TRANSLATION, &device);
    let sample = support::sample(&TRANSLATION);
    let evaluation = Evaluation::new(&sample, &pair.student.tokenizer, &pair.student.template);
    let prompts = |percent| evaluation.prompts(HelpBudget::percent(percent)).expect("prompts");
    let mut decoded = Decoded::new();
    decoded.add(pair.decoder(), &pair.policy(), &prompts(30));
    let drafting = pair.policy().with_help_rule(HelpRule::Adaptive(4));
    let speculative = pair.decoder_with(drafting).with_verification(Verification::LOSSLESS);
    decoded.add(speculative, &drafting, &prompts(100)[..SPECULATIVE]);
    let mut sampling = pair.policy();
    sampling.sampler = Sampler::plain();
    decoded.add(pair.decoder_with(sampling), &sampling, &prompts(30)[..SAMPLED]);
    decoded
}

/// Single precision is enough for this. A device that multiplies in fewer bits (TF32) decides more steps differently.
#[test]
fn every_adapter_decodes_the_same_tokens_and_asks_in_the_same_places() {
    let cpu = DeviceSpec::best(PlatformName::Cpu);
    let adapters = other_adapters();
    if adapters.is_empty() {
        return say("SKIPPED: no adapter beside the CPU; build with --features wgpu, and install a Vulkan driver");
    }
    if let Err(missing) = device::find(&cpu) {
        return say(&format!("SKIPPED: nothing to compare with: {missing}"));
    }
    let expected = decode(&cpu);
    let steps = || expected.texts.iter().flatten();
    assert!(steps().any(|step| step.1 != Source::Student), "the teacher is asked at least once");
    assert!(steps().any(|step| step.1 == Source::Student), "the student writes at least once");
    for adapter in adapters {
        let started = Instant::now();
        let found = decode(&adapter.spec);
        let mut differing = 0;
        for (index, (found, expected_text)) in found.texts.iter().zip(&expected.texts).enumerate() {
            let tie = expected.ties[index];
            if found != expected_text && tie < TIE {
                differing += 1;
                say(&format!("text {index} on {adapter} differs after a tie within {tie:.0e}"));
                continue;
            }
            assert_eq!(found, expected_text, "text {index} on {adapter}; its nearest tie is within {tie:.0e}");
        }
        let texts = expected.texts.len();
        assert!(100 * differing <= texts, "{differing} of {texts} texts differ on {adapter}");
        let (steps, seconds) = (steps().count(), started.elapsed().as_secs());
        let tie = expected.ties.iter().copied().fold(f64::INFINITY, f64::min);
        say(&format!(
            "{adapter} decides {steps} steps as the CPU does, the nearest tie within {tie:.0e}, in {seconds} s"
        ));
    }
}
