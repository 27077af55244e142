//! Texts with different budgets in one batch: each is decoded as if it were alone.

mod support;

use training_wheels::decode::{Enforcement, Source};
use training_wheels::device::{self, PlatformName};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

use support::{NearestTies, TIE};

/// The budgets of the texts, in turn.
fn budgets() -> Vec<HelpBudget> {
    ["0%", "3 tokens", "5%", "20%", "1 token", "50%", "8 tokens", "100%"]
        .map(|budget| budget.parse().expect("a budget"))
        .to_vec()
}

/// The tokens of a text, and who chose each.
type Authored = Vec<(u32, Source)>;

fn authored(decoded: &training_wheels::decode::Decoded) -> Vec<Authored> {
    let mut texts = Vec::new();
    for text in &decoded.trajectories {
        texts.push(text.steps.iter().map(|step| (step.token, step.source)).collect());
    }
    texts
}

fn helped(text: &Authored) -> usize {
    text.iter().filter(|(_, source)| *source != Source::Student).count()
}

fn embedded_pair() -> Pair {
    let device = device::open(&DeviceSpec::best(PlatformName::Cpu)).expect("the CPU opens").device;
    support::pair(&TRANSLATION, &device)
}

#[test]
fn a_batch_of_mixed_budgets_gives_each_text_what_it_gets_alone() {
    let pair = embedded_pair();
    let sample = support::sample(&TRANSLATION).take(40);
    let mut prompts = Vec::new();
    for (example, budget) in sample.iter().zip(budgets().into_iter().cycle()) {
        prompts.push(pair.prompt(&example.source, budget).expect("a prompt"));
    }
    let verify = Verification { tolerance_nats: 1.0, ..Verification::LOSSLESS };
    for (enforcement, verification) in [
        (Enforcement::On, Verification::default()),
        (Enforcement::Off, Verification::default()),
        (Enforcement::On, verify),
    ] {
        let decoder = || pair.decoder().with_enforcement(enforcement).with_verification(verification);
        let together = decoder().decode(&prompts, Seed(7)).expect("decoding works");
        let mut differing = 0;
        for (index, (prompt, found)) in prompts.iter().zip(authored(&together)).enumerate() {
            let alone = std::slice::from_ref(prompt);
            let mut ties = NearestTies::new(&pair.policy(), alone);
            let decoded = decoder().with_batch_size(1).decode_with(alone, Seed(7), &mut ties).expect("decoding works");
            let expected = authored(&decoded).remove(0);
            if found != expected && ties.of_texts[0] < TIE {
                differing += 1;
                continue;
            }
            assert_eq!(
                found, expected,
                "text {index} at {}; its nearest tie is {:.0e}",
                prompt.budget, ties.of_texts[0]
            );
        }
        assert!(differing <= 1, "{differing} of {} texts differ, each after a near tie", prompts.len());
    }
}

#[test]
fn one_text_uses_more_help_under_larger_budgets_in_the_same_batch() {
    let pair = embedded_pair();
    let text = "A fast and lightweight web browser for old computers, with support for many languages.";
    let prompts: Vec<Prompt> =
        budgets().into_iter().map(|budget| pair.prompt(text, budget).expect("a prompt")).collect();
    let decoded = pair.decoder().decode(&prompts, Seed(7)).expect("decoding works");
    let texts = authored(&decoded);
    for (prompt, text) in prompts.iter().zip(&texts) {
        let (used, length) = (helped(text), text.len());
        let allowed = match prompt.budget {
            HelpBudget::Percent(percent) => (usize::from(percent) * length).div_ceil(100),
            HelpBudget::Tokens(tokens) => tokens as usize,
        };
        assert!(used <= allowed, "{used} of {length} tokens are helped under a budget of {}", prompt.budget);
    }
    let used = |budget: &str| {
        let wanted: HelpBudget = budget.parse().expect("a budget");
        let index = prompts.iter().position(|prompt| prompt.budget == wanted).expect("it is in the batch");
        helped(&texts[index])
    };
    assert_eq!((used("0%"), used("100%")), (0, texts[7].len()));
    assert!(used("5%") < used("50%") && used("50%") < used("100%"), "{}, {}", used("5%"), used("50%"));
    assert!(used("1 token") < used("8 tokens"), "{}, {}", used("1 token"), used("8 tokens"));
}
