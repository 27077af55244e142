//! One program on several devices: the same tokens and the same decisions to ask.
//!
//! Every adapter that this build reaches is compared with the CPU. `WHEELS_DEVICES=wgpu:cpu,cuda:0` names the ones to
//! compare instead, and then it is a failure where one of them is missing.

use std::io::Write;
use std::time::Instant;

use training_wheels::decode::{Action, Source, Trajectory};
use training_wheels::device::{Adapter, PlatformName};
use training_wheels::prelude::*;
use training_wheels::text::Dataset;
use training_wheels::{device, embedded};

/// Past what the test harness captures: what was compared and what was skipped is read in every run.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn others() -> Vec<Adapter> {
    match std::env::var("WHEELS_DEVICES") {
        Ok(names) => names
            .split(',')
            .map(|name| name.parse().and_then(|spec| device::find(&spec)))
            .map(|found| found.unwrap_or_else(|error| panic!("WHEELS_DEVICES: {error}")))
            .collect(),
        Err(_) => device::list().into_iter().filter(|adapter| adapter.platform != PlatformName::Cpu).collect(),
    }
}

/// The embedded sample, decoded on a device.
fn decode(spec: &DeviceSpec) -> Vec<Trajectory> {
    let device = device::open(spec).expect("the device opens").device;
    let student = Bundle::from_files(&embedded::STUDENT, &device).expect("the embedded student");
    let teacher = Bundle::from_files(&embedded::TEACHER, &device).expect("the embedded teacher");
    let sample = Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "sample").expect("the embedded sample");
    let budget = HelpBudget::percent(30);
    let prompts: Vec<Prompt> = sample
        .iter()
        .map(|example| student.format.prompt(&student.tokenizer, &example.source, budget).expect("a prompt"))
        .collect();
    let help = student.tokenizer.help_token("teacher").expect("a help token");
    let policy = Policy::greedy(&student.model).asking(student.asking(budget, &prompts));
    let desk = HelpDesk::new().with(help, Teacher::new(&teacher.model));
    let decoder = BudgetedDecoder::new(policy, desk).max_tokens(48);
    decoder.decode(&prompts, Seed(7)).expect("decoding works").trajectories
}

/// What must be equal: every token, who chose it, and where help was asked for. Log-probabilities may round.
fn decisions(trajectories: &[Trajectory]) -> Vec<Vec<(u32, Source, Action)>> {
    trajectories
        .iter()
        .map(|text| text.steps.iter().map(|step| (step.token, step.source, step.action)).collect())
        .collect()
}

/// A demand that f32 can meet: on the CPU the student's best word leads by 0.0008 nats or more at every one of these
/// steps, and the threshold for asking is 0.0001 or more away in probability. Devices that compute in f32 differ by a
/// hundredth of that; a device that multiplies in fewer bits (TF32) may decide some steps otherwise.
#[test]
fn every_adapter_decodes_the_same_tokens_and_asks_in_the_same_places() {
    let cpu = DeviceSpec::best(PlatformName::Cpu);
    let others = others();
    if others.is_empty() {
        return say("SKIPPED: no adapter beside the CPU; build with --features wgpu, and install a Vulkan driver");
    }
    if let Err(missing) = device::find(&cpu) {
        return say(&format!("SKIPPED: nothing to compare with: {missing}"));
    }
    let expected = decisions(&decode(&cpu));
    let steps = || expected.iter().flatten();
    assert!(steps().any(|step| step.1 != Source::Student), "the teacher is asked at least once");
    assert!(steps().any(|step| step.1 == Source::Student), "the student writes at least once");
    for adapter in others {
        let started = Instant::now();
        let found = decisions(&decode(&adapter.spec));
        for (text, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "text {text} on {adapter}");
        }
        say(&format!("{adapter} decides {} steps as the CPU does, in {:.1?}", steps().count(), started.elapsed()));
    }
}
