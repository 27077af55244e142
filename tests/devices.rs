//! One program on several devices: the same tokens and the same decisions to ask.
//!
//! Every adapter that this build reaches is compared with the CPU. `WHEELS_DEVICES=wgpu:cpu,cuda:0` names the ones to
//! compare instead, and then it is a failure where one of them is missing.

use std::io::Write;
use std::time::Instant;

use training_wheels::decode::{Action, Hindsight, Law, Observer, Source, Step, Trajectory};
use training_wheels::device::{Adapter, PlatformName};
use training_wheels::prelude::*;
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

/// What must be equal of a text: every token, who chose it, and where help was asked for. Log-probabilities may round.
type Decisions = Vec<(u32, Source, Action)>;

/// How near to a tie each text came: its likeliest word to the second, in probability, or the wish for help to the
/// threshold for asking, in its own unit.
struct Nearest {
    asking: Asking,
    of_text: Vec<f64>,
}

impl Observer for Nearest {
    fn law(&mut self, text: usize, law: &Law<'_>) {
        let to_asking = match self.asking {
            Asking::Confidence { measure, threshold } => (measure.of(law) - threshold).abs(),
            Asking::Learned => law.help_log_odds().abs(),
            _ => f64::INFINITY,
        };
        self.of_text[text] = self.of_text[text].min(law.margin()).min(to_asking);
    }

    fn step(&mut self, _text: usize, _step: &Step) {}
}

/// Texts that are decoded speculatively, too.
const SPECULATIVE: usize = 24;

/// The embedded sample, decoded on a device by a student that asks, and the first of it by speculative decoding.
fn decode(spec: &DeviceSpec) -> (Vec<Decisions>, Vec<f64>) {
    let device = device::open(spec).expect("the device opens").device;
    let models = Models::embedded(&embedded::TRANSLATION, &device).expect("the embedded models");
    let (student, sample) = (&models.student, embedded::TRANSLATION.sample());
    let prompts = |budget| -> Vec<Prompt> {
        let prompt = |source: &str| student.format.prompt(&student.tokenizer, source, budget).expect("a prompt");
        sample.iter().map(|example| prompt(&example.source)).collect()
    };
    let run = |decoder: BudgetedDecoder<'_>, asking, prompts: &[Prompt]| {
        let mut nearest = Nearest { asking, of_text: vec![f64::INFINITY; prompts.len()] };
        let decoder = decoder.max_tokens(48);
        let texts = decoder.decode_with(prompts, Seed(7), &mut nearest).expect("decoding works").trajectories;
        let decisions =
            |text: &Trajectory| text.steps.iter().map(|step| (step.token, step.source, step.action)).collect();
        (texts.iter().map(decisions).collect::<Vec<Decisions>>(), nearest.of_text)
    };
    let budget = HelpBudget::percent(30);
    let prompts_at_30 = prompts(budget);
    let asking = student.asking(budget, &prompts_at_30);
    let (mut texts, mut nearest) = run(models.asking(asking), asking, &prompts_at_30);
    let drafts = Asking::Adaptive(4);
    let speculative = models.asking(drafts).hindsight(Hindsight::LOSSLESS);
    let (drafted, near) = run(speculative, drafts, &prompts(HelpBudget::percent(100))[..SPECULATIVE]);
    texts.extend(drafted);
    nearest.extend(near);
    (texts, nearest)
}

/// Devices round probabilities apart by a few 1e-6. A text that comes as near to a tie as this may go on otherwise, which
/// is no fault of the device; it is told, and at most one text in a hundred may.
const TIE: f64 = 1e-5;

/// A demand that f32 can meet; a device that multiplies in fewer bits (TF32) decides more steps otherwise.
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
    let (expected, nearest) = decode(&cpu);
    let steps = || expected.iter().flatten();
    assert!(steps().any(|step| step.1 != Source::Student), "the teacher is asked at least once");
    assert!(steps().any(|step| step.1 == Source::Student), "the student writes at least once");
    for adapter in others {
        let started = Instant::now();
        let (found, _) = decode(&adapter.spec);
        let mut ties = 0;
        for (text, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let tie = nearest[text];
            if found != expected && tie < TIE {
                ties += 1;
                say(&format!("text {text} on {adapter} differs, past a tie within {tie:.0e}"));
                continue;
            }
            assert_eq!(found, expected, "text {text} on {adapter}; its nearest tie is within {tie:.0e}");
        }
        assert!(100 * ties <= found.len(), "{ties} of {} texts differ on {adapter}", found.len());
        let (steps, seconds) = (steps().count(), started.elapsed().as_secs());
        let tie = nearest.iter().copied().fold(f64::INFINITY, f64::min);
        say(&format!(
            "{adapter} decides {steps} steps as the CPU does, the nearest tie within {tie:.0e}, in {seconds} s"
        ));
    }
}
