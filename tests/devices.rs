//! One program on several devices: the same tokens and the same decisions to ask.
#![allow(clippy::print_stderr)]

use training_wheels::decode::{Action, Source, Trajectory};
use training_wheels::device::AdapterKind;
use training_wheels::prelude::*;
use training_wheels::text::Dataset;
use training_wheels::{device, embedded};

/// Texts decoded on each device: few, because a software GPU is slow.
const TEXTS: usize = 6;

fn decode(spec: &str) -> Vec<Trajectory> {
    let device = device::open(&spec.parse().expect("a device spec")).expect("the device opens").device;
    let student = Bundle::from_files(&embedded::STUDENT, &device).expect("the embedded student");
    let teacher = Bundle::from_files(&embedded::TEACHER, &device).expect("the embedded teacher");
    let sample = Dataset::from_jsonl_reader(embedded::SAMPLE.as_bytes(), "sample").expect("the embedded sample");
    let budget = HelpBudget::percent(30);
    let prompts: Vec<Prompt> = sample
        .iter()
        .filter(|example| example.source.len() < 60)
        .take(TEXTS)
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

#[test]
fn every_adapter_decodes_the_same_tokens_and_asks_in_the_same_places() {
    let adapters = device::list();
    let Some(first) = adapters.iter().find(|adapter| adapter.spec.to_string() == "cpu") else {
        eprintln!("SKIPPED: this build has no CPU to compare with; build with the default features");
        return;
    };
    let expected = decisions(&decode(&first.spec.to_string()));
    let steps = || expected.iter().flatten();
    assert!(steps().any(|step| step.1 != Source::Student), "the teacher is asked at least once");
    assert!(steps().any(|step| step.1 == Source::Student), "the student writes at least once");
    let others: Vec<_> = adapters.iter().filter(|adapter| adapter.spec != first.spec).collect();
    if others.is_empty() {
        eprintln!("SKIPPED: no adapter beside the CPU; build with --features wgpu, and install a Vulkan driver");
    }
    for adapter in others {
        eprintln!("comparing {adapter}");
        assert!(decisions(&decode(&adapter.spec.to_string())) == expected, "{adapter} decodes other tokens");
        if adapter.kind == AdapterKind::Cpu {
            eprintln!("{adapter} is a software adapter");
        }
    }
}
