//! A student whose teacher's server misbehaves finishes every text, and says what went wrong.
#![allow(clippy::unwrap_used)]

mod server;

use std::time::{Duration, Instant};

use burn::tensor::Device;
use server::model::{Dialect, model_handler};
use server::{Fault, MODEL, MockServer};
use wheels_decode::{
    BudgetedDecoder, Decoded, Decoder, Experts, FailureReason, HelpRule, Policy, Source, Verification,
};
use wheels_lm::{TabularLm, TabularLmConfig};
use wheels_remote::{RemoteConfig, RemoteError, RemoteTeacher, Spending, SpendingCap};
use wheels_text::{HelpBudget, Prompt, Seed, Tokenizer, TokenizerConfig};

/// The number of tokens of a text.
const LENGTH: usize = 6;

fn tokenizer() -> Tokenizer {
    let lines = ["the editor of the text".to_owned()];
    Tokenizer::train(TokenizerConfig::default().with_vocab_size(270), lines).unwrap()
}

/// A model in which every token is followed by this one.
fn always(token: u32) -> TabularLm {
    let mut logits = vec![0.0; 270];
    logits[token as usize] = 5.0;
    TabularLmConfig::new(270, 0).with_logits(logits, &Device::flex())
}

/// A server whose model always writes the token of "t".
fn start() -> (MockServer, Tokenizer, u32) {
    let tokenizer = tokenizer();
    let helped = tokenizer.encode("t").unwrap()[0];
    let server = MockServer::start(model_handler(always(helped), tokenizer.clone(), Dialect::VLLM));
    (server, tokenizer, helped)
}

fn config(server: &MockServer) -> RemoteConfig {
    RemoteConfig::new(server.url.clone(), MODEL.into())
        .with_timeout_seconds(2.0)
        .with_retries(1)
        .with_backoff_seconds(0.001)
        .with_concurrency(1)
}

/// Texts of a student that always asks, and that writes "e" by itself.
fn decode(teacher: &RemoteTeacher, tokenizer: &Tokenizer, texts: usize) -> Decoded {
    let student = always(tokenizer.encode("e").unwrap()[0]);
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Always);
    let decoder = BudgetedDecoder::new(policy, Experts::new().with(270, teacher)).with_max_new_tokens(LENGTH);
    let prompt = Prompt { student: vec![5, 1], expert: vec![5, 1], budget: HelpBudget::percent(100) };
    decoder.decode(&vec![prompt; texts], Seed(0)).unwrap()
}

/// Decodes one text with a server that works at first, and checks that the student finishes it alone for this reason.
fn finished_alone(faults: &[Fault], reason: FailureReason) -> Decoded {
    let (server, tokenizer, helped) = start();
    let teacher = RemoteTeacher::connect(config(&server), &tokenizer).unwrap();
    // Two answers first: the failure comes in the middle of the text.
    server.fail_next(&[Fault::Slow(Duration::ZERO); 2]);
    server.fail_next(faults);
    let decoded = decode(&teacher, &tokenizer, 1);
    let text = &decoded.trajectories[0];
    assert_eq!(text.steps.len(), LENGTH);
    let expert: Vec<usize> = (0..LENGTH).filter(|&at| text.steps[at].source == Source::Expert(0)).collect();
    assert_eq!((expert, text.steps[1].token), (vec![0, 1], helped), "{faults:?}");
    let failures: Vec<_> =
        text.failures.iter().map(|failure| (failure.expert, failure.position, failure.reason)).collect();
    assert_eq!(failures, [(0, 2, reason)], "{faults:?}");
    assert_eq!(decoded.stats.help_given, 2);
    decoded
}

#[test]
fn a_server_that_fails_in_the_middle_of_a_text_leaves_the_student_alone_and_the_text_says_why() {
    let twice = |fault| [fault; 2];
    for (faults, reason) in [
        (twice(Fault::Drop).as_slice(), FailureReason::Unreachable),
        (&twice(Fault::Truncate), FailureReason::Unreachable),
        (&twice(Fault::Status(500, None, "oops")), FailureReason::ServerError),
        (&twice(Fault::Status(429, None, "{}")), FailureReason::RateLimited),
        (&twice(Fault::Status(503, Some("0"), "{}")), FailureReason::RateLimited),
        (&[Fault::Status(401, None, "{}")], FailureReason::Refused),
        (&[Fault::Status(404, None, "{}")], FailureReason::Refused),
        (&[Fault::Status(400, None, "{}")], FailureReason::Refused),
        (&[Fault::Redirect("http://127.0.0.2:1/v1/completions")], FailureReason::Refused),
        (&[Fault::Body("<html>not JSON</html>")], FailureReason::InvalidReply),
        (&[Fault::Body("")], FailureReason::InvalidReply),
        // Halves of characters, in UTF-8 and in UTF-16.
        (&[Fault::Bytes(b"{\"choices\": [{\"text\": \"\xc3\"}]}")], FailureReason::InvalidReply),
        (&[Fault::Body("{\"choices\": [{\"text\": \"\\ud83d\"}]}")], FailureReason::InvalidReply),
        (&[Fault::Body("{\"choices\": []}")], FailureReason::InvalidReply),
    ] {
        finished_alone(faults, reason);
    }
}

#[test]
fn an_answer_that_cannot_be_true_is_not_used() {
    let faults: [(&str, Fault); 6] = [
        (
            "too many tokens",
            Fault::Edit(|reply| {
                let logprobs = &mut reply["choices"][0]["logprobs"];
                for list in ["tokens", "token_logprobs", "top_logprobs"] {
                    let first = logprobs[list][0].clone();
                    logprobs[list].as_array_mut().unwrap().push(first);
                }
            }),
        ),
        (
            "more tokens than log-probs",
            Fault::Edit(|reply| {
                let first = reply["choices"][0]["logprobs"]["tokens"][0].clone();
                reply["choices"][0]["logprobs"]["tokens"].as_array_mut().unwrap().push(first);
            }),
        ),
        (
            "no tokens at all",
            Fault::Edit(|reply| {
                reply["choices"][0]["logprobs"] = serde_json::Value::Null;
                reply["choices"][0]["text"] = "".into();
            }),
        ),
        (
            "log-probs that are not numbers",
            Fault::Replace(|body| body.replace("\"token_logprobs\":[", "\"token_logprobs\":[NaN,")),
        ),
        ("log-probs above 0", Fault::Replace(|body| body.replace(":-", ":"))),
        ("a part of its JSON", Fault::Replace(|body| body[..body.len() - 9].to_owned())),
    ];
    for (_, fault) in faults {
        finished_alone(&[fault], FailureReason::InvalidReply);
    }
}

#[test]
fn log_probs_that_are_missing_do_not_matter_without_verification() {
    let (server, tokenizer, helped) = start();
    let teacher = RemoteTeacher::connect(config(&server), &tokenizer).unwrap();
    server.fail_always(Some(Fault::Edit(|reply| reply["choices"][0]["logprobs"] = serde_json::Value::Null)));
    let decoded = decode(&teacher, &tokenizer, 1);
    assert!(decoded.trajectories[0].failures.is_empty());
    assert_eq!(decoded.trajectories[0].tokens(), [helped; LENGTH]);
}

#[test]
fn log_probs_that_are_missing_stop_a_verification() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server), &tokenizer).unwrap();
    let student = always(tokenizer.encode("e").unwrap()[0]);
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Every(3));
    let decoder = BudgetedDecoder::new(policy, Experts::new().with(270, &teacher)).with_max_new_tokens(LENGTH);
    let decoder = decoder.with_verification(Verification::LOSSLESS);
    let prompt = Prompt { student: vec![5, 1], expert: vec![5, 1], budget: HelpBudget::percent(100) };
    for missing in [
        Fault::Edit(|reply| reply["choices"][0]["logprobs"] = serde_json::Value::Null),
        Fault::Edit(|reply| {
            for log_prob in reply["choices"][0]["logprobs"]["token_logprobs"].as_array_mut().unwrap() {
                *log_prob = serde_json::Value::Null;
            }
        }),
    ] {
        server.fail_always(Some(missing));
        let text = &decoder.decode(std::slice::from_ref(&prompt), Seed(0)).unwrap().trajectories[0];
        assert_eq!(text.steps.len(), LENGTH);
        assert_eq!(text.failures[0].reason, FailureReason::InvalidReply);
        assert_eq!(text.helped(), 0);
    }
}

#[test]
fn a_slow_server_is_given_up_after_the_whole_time_of_a_call() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server).with_timeout_seconds(0.3), &tokenizer).unwrap();
    server.fail_always(Some(Fault::Slow(Duration::from_secs(30))));
    let started = Instant::now();
    let decoded = decode(&teacher, &tokenizer, 8);
    for text in &decoded.trajectories {
        assert_eq!(text.steps.len(), LENGTH);
        assert_eq!(text.failures[0].reason, FailureReason::TimedOut);
    }
    // The other texts do not wait for it again.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_server_that_is_gone_costs_its_repetitions_once_and_not_for_every_text() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server), &tokenizer).unwrap();
    server.take_seen();
    server.fail_always(Some(Fault::Drop));
    let decoded = decode(&teacher, &tokenizer, 20);
    assert!(decoded.trajectories.iter().all(|text| text.failures[0].reason == FailureReason::Unreachable));
    assert_eq!(server.take_seen().len(), 2, "one call and its repetition");
}

#[test]
fn after_its_pause_a_server_is_called_again() {
    let (server, tokenizer, helped) = start();
    let teacher = RemoteTeacher::connect(config(&server).with_cool_down_seconds(0.05), &tokenizer).unwrap();
    server.fail_next(&[Fault::Drop; 2]);
    assert_eq!(decode(&teacher, &tokenizer, 1).trajectories[0].helped(), 0);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(decode(&teacher, &tokenizer, 1).trajectories[0].tokens(), [helped; LENGTH]);
}

#[test]
fn a_call_is_repeated_after_errors_that_pass() {
    for fault in [
        Fault::Drop,
        Fault::Truncate,
        Fault::Status(500, None, ""),
        Fault::Status(502, None, "<html>"),
        Fault::Status(429, None, ""),
        Fault::Status(429, Some("0.01"), ""),
    ] {
        let (server, tokenizer, helped) = start();
        let teacher = RemoteTeacher::connect(config(&server), &tokenizer).unwrap();
        server.fail_next(&[fault]);
        let decoded = decode(&teacher, &tokenizer, 1);
        assert_eq!(decoded.trajectories[0].tokens(), [helped; LENGTH], "{fault:?}");
        assert!(decoded.trajectories[0].failures.is_empty());
    }
}

#[test]
fn a_server_that_asks_to_wait_longer_than_a_call_may_take_is_not_waited_for() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server), &tokenizer).unwrap();
    server.fail_next(&[Fault::Status(429, Some("60"), "")]);
    let started = Instant::now();
    let decoded = decode(&teacher, &tokenizer, 1);
    assert_eq!(decoded.trajectories[0].failures[0].reason, FailureReason::RateLimited);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_huge_answer_is_not_read() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server).with_max_reply_bytes(20_000), &tokenizer).unwrap();
    server.fail_next(&[Fault::Huge(50_000_000)]);
    let decoded = decode(&teacher, &tokenizer, 1);
    assert_eq!(decoded.trajectories[0].failures[0].reason, FailureReason::InvalidReply);
}

#[test]
fn the_cap_ends_help_and_is_never_exceeded() {
    for cap in [SpendingCap::new().with_calls(Some(7)), SpendingCap::new().with_tokens(Some(260))] {
        let (server, tokenizer, _) = start();
        let teacher = RemoteTeacher::connect(config(&server).with_cap(cap), &tokenizer).unwrap();
        let before = teacher.spending();
        assert_eq!(before.calls, 3, "the requests that find out what the server can do");
        let decoded = decode(&teacher, &tokenizer, 3);
        assert!(decoded.trajectories.iter().all(|text| text.steps.len() == LENGTH));
        let capped = |text: &wheels_decode::Trajectory| text.failures[0].reason == FailureReason::SpendingCap;
        assert!(decoded.trajectories.iter().any(capped));
        let Spending { calls, prompt_tokens, completion_tokens, .. } = teacher.spending();
        assert!(calls > 3 && calls <= cap.calls.unwrap_or(u64::MAX), "{calls}");
        assert!(prompt_tokens + completion_tokens <= cap.tokens.unwrap_or(u64::MAX));
        assert_eq!(server.take_seen().len() as u64, 1 + calls, "the list of models costs nothing");
    }
}

#[test]
fn a_call_counts_as_the_most_that_it_can_have_used_if_the_server_does_not_say_more() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server).with_span(4), &tokenizer).unwrap();
    let before = teacher.spending();
    server.fail_always(Some(Fault::Edit(|reply| reply["usage"] = serde_json::Value::Null)));
    decode(&teacher, &tokenizer, 1);
    let Spending { calls, prompt_tokens, completion_tokens, .. } = teacher.spending();
    // The prompt has two tokens. The second call sends four more, and asks for the two that are left.
    let used = (calls - before.calls, prompt_tokens - before.prompt_tokens);
    assert_eq!((used, completion_tokens - before.completion_tokens), ((2, 2 + 6), 4 + 2));
}

#[test]
fn requests_go_out_together_up_to_the_limit_and_use_connections_again() {
    let (server, tokenizer, _) = start();
    let teacher = RemoteTeacher::connect(config(&server).with_concurrency(3), &tokenizer).unwrap();
    server.fail_always(Some(Fault::Slow(Duration::from_millis(20))));
    let decoded = decode(&teacher, &tokenizer, 12);
    assert!(decoded.trajectories.iter().all(|text| text.failures.is_empty()));
    assert_eq!(server.most_together(), 3);
    assert!(server.connections() <= 4, "{} connections for {} calls", server.connections(), 12 * LENGTH);
    assert_eq!(decoded.stats.teacher.calls, 12 * LENGTH as u64);
}

#[test]
fn a_wrong_model_key_or_address_is_an_error_before_work_starts() {
    let (server, tokenizer, _) = start();
    let connect = |config: RemoteConfig| RemoteTeacher::connect(config, &tokenizer).unwrap_err();
    let wrong = RemoteConfig::new(server.url.clone(), "bigg".into());
    let message = connect(wrong).to_string();
    assert!(message.contains("\"bigg\"") && message.contains("big, other"), "{message}");

    server.fail_always(Some(Fault::Status(401, None, "")));
    assert!(matches!(connect(config(&server)), RemoteError::NoAccess { status: 401, .. }));
    server.fail_always(Some(Fault::Status(404, None, "{\"error\": {\"message\": \"no model big\"}}")));
    let message = connect(config(&server)).to_string();
    assert!(message.contains("no model big") && message.contains("base_url"), "{message}");
    server.fail_always(Some(Fault::Redirect("https://elsewhere.example/v1?key=x")));
    let message = connect(config(&server)).to_string();
    assert!(message.contains("https://elsewhere.example;") && !message.contains("key=x"), "{message}");

    // Nothing listens on port 1.
    let gone = RemoteConfig::new("http://127.0.0.1:1/v1".into(), MODEL.into()).with_retries(0);
    assert!(matches!(connect(gone), RemoteError::Unreachable { sent: false, .. }));
    let span = config(&server).with_span(0);
    assert!(matches!(connect(span), RemoteError::Setting { setting: "span", .. }));
    let money = config(&server).with_cap(SpendingCap::new().with_money(Some(1.0)));
    assert!(matches!(connect(money), RemoteError::Setting { setting: "prices", .. }));
}
