//! The embedded student with its teacher behind a server, and training from such a teacher.
#![cfg(feature = "remote")]
#![allow(clippy::unwrap_used)]

#[path = "../crates/remote/tests/server/mod.rs"]
mod server;
mod support;

use server::model::{Dialect, model_handler};
use server::{Fault, MODEL, MockServer};
use training_wheels::decode::{BudgetedDecoder, FailureReason, Trajectory};
use training_wheels::distill::{CacheContent, TeacherCacheConfig};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

fn models() -> Pair {
    let device = device::open(&"cpu".parse().unwrap()).unwrap().device;
    support::pair(&TRANSLATION, &device)
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

#[test]
fn a_student_is_trained_on_the_top_tokens_of_a_remote_teacher() {
    let pair = models();
    let (_server, remote) = connect(&pair, |config| config);
    let lines: Vec<&str> = TRANSLATION.sample.lines().filter(|line| line.len() < 120).take(16).collect();
    let data = Dataset::from_reader(lines.join("\n").as_bytes(), "the sample").unwrap();
    let (valid, train) = data.split(4);
    let folder = tempfile::tempdir().unwrap();
    let (cache, run) = (folder.path().join("cache"), folder.path().join("run"));
    let config = TeacherCacheConfig::new().with_content(CacheContent::TopK(8)).with_teacher_temperature(1.0);
    let student = pair.student.clone();
    let found = student
        .cache_remote_teacher(&remote, &train, student.template.max_tokens, &config, &cache, &mut |_| ())
        .unwrap();
    let local = pair.cache_teacher(&train, 256, &config, folder.path().join("local"), &mut |_| ()).unwrap();
    assert_eq!((found.pairs, found.tokens, &found.data), (local.pairs, local.tokens, &local.data));
    // The embedded teacher has a row for the help token, which no text has.
    let help = pair.student.tokenizer.help_token("teacher").unwrap() as usize;
    assert_eq!((found.vocab_size, &found.eos), (help, &local.eos));

    let mut settings = DistillationConfig::new().with_steps(2).with_valid_texts(2);
    settings.rollout.teacher_temperature = 1.0;
    settings.rollout.batch_tokens = 600;
    let trained =
        Distillation::from_cache(student, &cache).objective(ForwardKl).config(settings).train(&train, &valid, run);
    trained.unwrap();
}
