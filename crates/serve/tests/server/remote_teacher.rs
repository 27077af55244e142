//! A server as the teacher of a student on another machine.

use serde_json::json;
use training_wheels::Pair;
use training_wheels::decode::{BudgetUnit, Decoder, HelpRule, Verification};
use training_wheels::remote::{RemoteConfig, RemoteError, RemoteTeacher};
use training_wheels::text::{Example, HelpBudget, Seed};
use wheels_remote::{TextLogProbs, TokenExchange};
use wheels_serve::{ServeError, Served, Server};

use crate::support::{Running, config, embedded, llama, llama_of};

#[test]
fn a_student_with_this_server_as_its_teacher_writes_the_texts_of_the_pair() {
    let pair = Pair::new(llama_of(6).with_help_token("teacher").unwrap(), llama()).unwrap();
    let server = Running::start(Served::model(llama()).unwrap(), config());
    let config =
        RemoteConfig::new(server.url("/v1"), wheels_serve::ServerConfig::default().model_name).with_top_log_probs(20);
    let remote = RemoteTeacher::connect(config, &pair.student.tokenizer).unwrap();
    let features = remote.features();
    assert_eq!((features.tokens, features.text_log_probs), (TokenExchange::Ids, TextLogProbs::Echo));
    let policy = pair.policy().with_help_rule(HelpRule::Every(2));
    for budget in [HelpBudget::percent(20), HelpBudget::percent(100), HelpBudget::tokens(3)] {
        let prompts = pair.prompts(&["one and two", "three", "four and one and two"], budget).unwrap();
        for verification in [Verification::default(), Verification::LOSSLESS] {
            let local = pair.decoder_with(policy).with_verification(verification);
            let found = pair.decoder_of(policy, &remote).with_verification(verification);
            let [local, found] = [local, found].map(|decoder| decoder.decode(&prompts, Seed(3)).unwrap().trajectories);
            assert_eq!(found, local, "{budget}, {verification:?}");
        }
    }
    let sources = ["one", "two and four"].map(|source| Example::new(source, ""));
    let teacher = &pair.teacher;
    let texts = remote.write_texts(&teacher.template, &teacher.generation, &sources, Seed(0)).unwrap();
    let expected = teacher.write_texts(&sources, Seed(0)).unwrap();
    assert_eq!(texts.len(), expected.len());
    for (found, expected) in texts.iter().zip(expected.iter()) {
        // The server leaves out a character of which a text that was cut has only a part.
        assert_eq!(
            (&found.source, found.target.as_str()),
            (&expected.source, expected.target.trim_end_matches('\u{fffd}'))
        );
    }
}

#[test]
fn an_encoder_decoder_behind_this_server_is_no_teacher() {
    let pair = embedded();
    let server = Running::start(Served::model(pair.teacher).unwrap(), config());
    let config = RemoteConfig::new(server.url("/v1"), wheels_serve::ServerConfig::default().model_name);
    let error = RemoteTeacher::connect(config, &pair.student.tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::Unsupported { .. }), "{error}");
}

#[test]
fn a_server_of_a_student_asks_a_teacher_behind_another_server() {
    let student = llama_of(6).with_help_token("teacher").unwrap();
    let mut upstream = Running::start(Served::model(llama()).unwrap(), config());
    let served = |span| {
        let config = RemoteConfig::new(upstream.url("/v1"), wheels_serve::ServerConfig::default().model_name);
        let config = config.with_retries(0).with_span(span);
        let teacher = RemoteTeacher::connect(config, &student.tokenizer).unwrap();
        Served::remote(student.clone(), teacher).unwrap().with_help_rule(HelpRule::Every(3))
    };
    let local = Served::pair(Pair::new(student.clone(), llama()).unwrap()).with_help_rule(HelpRule::Every(3));
    let [local, remote, by_calls] = [local, served(1), served(2).with_budget_unit(BudgetUnit::Calls)]
        .map(|served| Running::start(served, config()));

    let body = json!({ "prompt": "one and two", "budget": "100%", "max_tokens": 12 });
    let [expected, found] = [&local, &remote].map(|server| server.complete(body.clone()));
    assert!(expected["usage"]["teacher_calls"].as_u64() > Some(1), "{expected}");
    assert_eq!((&found["choices"], &found["usage"]), (&expected["choices"], &expected["usage"]));
    let counts = |answer: &serde_json::Value| {
        ["teacher_calls", "teacher_tokens", "teacher_failures"].map(|name| answer["usage"][name].as_u64().unwrap())
    };
    let answer = by_calls.complete(json!({ "prompt": "one and two", "budget": "2 calls", "max_tokens": 12 }));
    assert_eq!(counts(&answer), [2, 4, 0], "{answer}");
    assert_eq!(answer["usage"]["budget"], "2 calls");
    let message = remote.refused(json!({ "prompt": "one and two", "budget": "2 calls" }));
    assert!(message.contains("count tokens"), "{message}");

    upstream.stop();
    let answer = remote.complete(body);
    assert_eq!(counts(&answer), [0, 0, 1], "{answer}");
    assert_eq!(answer["usage"]["student_tokens"], expected["usage"]["completion_tokens"], "{answer}");
    assert_eq!(remote.metric("wheels_teacher_failures_total"), 1.0);
}

#[test]
fn a_student_that_cannot_ask_is_not_served_with_a_teacher() {
    let student = llama_of(6).with_help_token("teacher").unwrap();
    let pair = Pair::new(student, llama()).unwrap();
    assert!(matches!(Server::bind(Served::pair(pair.clone()), config()), Err(ServeError::Model(_))));
    Server::bind(Served::pair(pair).with_help_rule(HelpRule::Every(3)), config()).unwrap();
}
