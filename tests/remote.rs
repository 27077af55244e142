//! The embedded student with its teacher behind a server, and training from such a teacher.
#![cfg(feature = "remote")]
#![allow(clippy::unwrap_used)]

#[path = "../crates/remote/tests/server/mod.rs"]
mod server;

use server::model::{Dialect, model_handler};
use server::{Fault, MODEL, MockServer};
use training_wheels::decode::{BudgetedDecoder, FailureReason, Trajectory};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

fn models() -> Pair {
    let device = device::open(&"cpu".parse().unwrap()).unwrap().device;
    Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &device).unwrap()
}

/// A server of the embedded teacher, and a client of it.
fn connect(pair: &Pair, set: impl Fn(RemoteConfig) -> RemoteConfig) -> (MockServer, RemoteTeacher) {
    let TextModel { model, tokenizer, .. } = pair.teacher.clone();
    let server = MockServer::start(model_handler(model, tokenizer, Dialect::VLLM));
    let config =
        set(RemoteConfig::new(server.url.clone(), MODEL.into()).with_top_log_probs(20).with_backoff_seconds(0.0));
    let teacher = RemoteTeacher::connect(config, &pair.student.tokenizer).unwrap();
    (server, teacher)
}

const TEXTS: [&str; 4] = [
    "A fast web browser.",
    "Documentation for the GNU compiler",
    "fonts for the screen",
    "A library of colours in C++",
];

fn decode(decoder: BudgetedDecoder<'_>, pair: &Pair, budget: HelpBudget) -> Vec<Trajectory> {
    let decoder = decoder.with_max_new_tokens(24);
    decoder.decode(&pair.prompts(&TEXTS, budget).unwrap(), Seed(0)).unwrap().trajectories
}

#[test]
fn texts_with_a_remote_teacher_equal_those_with_a_local_one_at_every_budget() {
    let pair = models();
    let (_server, remote) = connect(&pair, |config| config);
    for budget in [HelpBudget::percent(0), HelpBudget::percent(20), HelpBudget::tokens(3), HelpBudget::percent(100)] {
        let local = decode(pair.decoder(), &pair, budget);
        let found = decode(pair.student.decoder_of(pair.student.policy(), &remote), &pair, budget);
        assert_eq!(found, local, "{budget}");
        let verification = Verification { tolerance_nats: 0.5, ..Verification::LOSSLESS };
        let local = decode(pair.decoder().with_verification(verification), &pair, budget);
        let found = pair.decoder_of(pair.policy(), &remote).with_verification(verification);
        assert_eq!(decode(found, &pair, budget), local, "{budget}, with verification");
    }
}

#[test]
fn an_answer_says_who_wrote_it_and_that_its_teacher_failed() {
    let pair = models();
    let (server, remote) = connect(&pair, |config| config.with_retries(0));
    let budget = HelpBudget::percent(50);
    let helped = pair.student.generate_with(&remote, TEXTS[0], budget).unwrap();
    assert_eq!(helped, pair.generate(TEXTS[0], budget).unwrap());
    assert!(helped.helped > 0 && helped.failures.is_empty());
    server.fail_always(Some(Fault::Drop));
    let alone = pair.student.generate_with(&remote, TEXTS[0], budget).unwrap();
    assert_eq!((alone.helped, alone.failures[0].reason), (0, FailureReason::Unreachable));
    assert!(!alone.text.is_empty());
}
