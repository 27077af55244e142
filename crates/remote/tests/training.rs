//! Texts and log-probs of a remote teacher, for training.
#![allow(clippy::unwrap_used)]

mod server;

use std::time::Duration;

use burn::tensor::Device;
use server::model::{Dialect, model_handler, script_handler};
use server::{Fault, MODEL, MockServer};
use wheels_decode::Sampler;
use wheels_lm::TabularLm;
use wheels_remote::{RemoteConfig, RemoteError, RemoteTeacher, SpendingCap};
use wheels_text::{Example, GenerationConfig, PromptTemplate, Seed, Tokenizer, TokenizerConfig};

fn tokenizer() -> Tokenizer {
    let lines = ["the editor of the text".to_owned()];
    Tokenizer::train(TokenizerConfig::default().with_vocab_size(265), lines).unwrap()
}

/// A model that writes "abcd" after a prompt, and then ends. Other tokens are a little likely.
fn alphabet(tokenizer: &Tokenizer) -> TabularLm {
    let size = tokenizer.vocab_size();
    let id = |text: &str| tokenizer.encode(text).unwrap()[0] as usize;
    let mut logits = vec![0.0; size * size];
    for (before, after) in [(1, id("a")), (id("a"), id("b")), (id("b"), id("c")), (id("c"), id("d")), (id("d"), 1)] {
        logits[before * size + after] = 8.0;
    }
    TabularLm::from_logits(size, 1, logits, &Device::flex())
}

fn connect(handler: server::Handler, tokenizer: &Tokenizer) -> (MockServer, RemoteTeacher) {
    let server = MockServer::start(handler);
    let config = RemoteConfig::new(server.url.clone(), MODEL.into()).with_retries(0).with_concurrency(4);
    let teacher = RemoteTeacher::connect(config, tokenizer).unwrap();
    (server, teacher)
}

fn examples(count: usize) -> Vec<Example> {
    (0..count).map(|index| Example::new(format!("text {index}"), "")).collect()
}

#[test]
fn texts_come_in_the_order_of_their_sources() {
    let tokenizer = tokenizer();
    let template = PromptTemplate::default();
    let generation = GenerationConfig::default();
    let (_server, by_ids) = connect(model_handler(alphabet(&tokenizer), tokenizer.clone(), Dialect::VLLM), &tokenizer);
    let texts = by_ids.write_texts(&template, &generation, &examples(9), Seed(0)).unwrap();
    assert_eq!(texts.len(), 9);
    for (index, text) in texts.iter().enumerate() {
        assert_eq!((text.source.as_str(), text.target.as_str()), (format!("text {index}").as_str(), "abcd"));
    }
    let short = GenerationConfig { max_new_tokens: 2, ..generation.clone() };
    let texts = by_ids.write_texts(&template, &short, &examples(1), Seed(0)).unwrap();
    assert_eq!(texts.examples()[0].target, "ab");
    for chat in [false, true] {
        let (server, by_text) = connect(script_handler("È così.", chat), &tokenizer);
        server.take_seen();
        let texts = by_text.write_texts(&template, &generation, &examples(3), Seed(0)).unwrap();
        assert!(texts.iter().all(|text| text.target == "È così."));
        assert!(server.take_seen().iter().any(|seen| seen.body.to_string().contains("text 2")));
    }
}

#[test]
fn sampled_texts_send_the_sampler_and_a_seed_for_each_text() {
    let tokenizer = tokenizer();
    let (server, teacher) = connect(model_handler(alphabet(&tokenizer), tokenizer.clone(), Dialect::VLLM), &tokenizer);
    let teacher = teacher.with_sampler(Sampler::Sample { temperature: 0.7, top_k: None, top_p: Some(0.9) });
    server.take_seen();
    let generation = GenerationConfig::default();
    teacher.write_texts(&PromptTemplate::default(), &generation, &examples(2), Seed(7)).unwrap();
    let seen = server.take_seen();
    assert!(seen.iter().all(|seen| seen.body["temperature"] == 0.7 && seen.body["top_p"] == 0.9));
    assert_ne!(seen[0].body["seed"], seen[1].body["seed"]);
}

#[test]
fn an_error_of_training_data_is_an_error_and_no_data() {
    let tokenizer = tokenizer();
    let (server, teacher) = connect(model_handler(alphabet(&tokenizer), tokenizer.clone(), Dialect::VLLM), &tokenizer);
    let (template, generation) = (PromptTemplate::default(), GenerationConfig::default());
    let empty = [examples(1), vec![Example::new(" ", "")]].concat();
    let error = teacher.write_texts(&template, &generation, &empty, Seed(0)).unwrap_err();
    assert!(matches!(error, RemoteError::Prompt { index: 2, .. }), "{error}");
    server.fail_next(&[Fault::Status(500, None, "")]);
    let error = teacher.write_texts(&template, &generation, &examples(6), Seed(0)).unwrap_err();
    assert!(matches!(error, RemoteError::Server { status: 500, .. }), "{error}");
    let capped = RemoteConfig::new(server.url.clone(), MODEL.into()).with_cap(SpendingCap::new().with_calls(Some(5)));
    let teacher = RemoteTeacher::connect(capped, &tokenizer).unwrap();
    let error = teacher.write_texts(&template, &generation, &examples(6), Seed(0)).unwrap_err();
    assert!(matches!(error, RemoteError::SpendingCap { .. }), "{error}");
}

#[test]
fn no_call_follows_an_error_of_training_data() {
    let tokenizer = tokenizer();
    let (server, teacher) = connect(model_handler(alphabet(&tokenizer), tokenizer.clone(), Dialect::VLLM), &tokenizer);
    let (template, generation) = (PromptTemplate::default(), GenerationConfig::default());
    server.take_seen();
    let empty = [examples(5), vec![Example::new(" ", "")]].concat();
    let error = teacher.write_texts(&template, &generation, &empty, Seed(0)).unwrap_err();
    assert!(matches!(error, RemoteError::Prompt { index: 6, .. }), "{error}");
    assert!(server.take_seen().is_empty());

    // One call after the other, and an error after which the server may be called again.
    let config = RemoteConfig::new(server.url.clone(), MODEL.into()).with_retries(0).with_concurrency(1);
    let teacher = RemoteTeacher::connect(config, &tokenizer).unwrap();
    let refusal = [Fault::Slow(Duration::ZERO), Fault::Status(400, None, "")];
    server.take_seen();
    server.fail_next(&refusal);
    let error = teacher.write_texts(&template, &generation, &examples(6), Seed(0)).unwrap_err();
    assert!(matches!(error, RemoteError::Rejected { status: 400, .. }), "{error}");
    assert_eq!(server.take_seen().len(), 2);
    let (source, target) = (tokenizer.encode_prompt("x").unwrap(), tokenizer.encode_with_end("ab").unwrap());
    server.fail_next(&refusal);
    let error = teacher.score(&[(&*source, &*target); 6], 3).unwrap_err();
    assert!(matches!(error, RemoteError::Rejected { status: 400, .. }), "{error}");
    assert_eq!(server.take_seen().len(), 2);
}

#[test]
fn the_log_probs_of_given_texts_are_those_of_the_model() {
    let tokenizer = tokenizer();
    let model = alphabet(&tokenizer);
    let (source, target) = (tokenizer.encode_prompt("x").unwrap(), tokenizer.encode_with_end("abz").unwrap());
    let size = tokenizer.vocab_size() as f64;
    let total = (8_f64.exp() + size - 1.0).ln();
    for dialect in [Dialect::VLLM, Dialect::PLAIN, Dialect { echo: false, ..Dialect::VLLM }] {
        let (_server, teacher) = connect(model_handler(model.clone(), tokenizer.clone(), dialect), &tokenizer);
        let scored = teacher.score(&[(&source, &target), (&source, &target)], 3).unwrap();
        assert_eq!(scored[0], scored[1]);
        assert_eq!(scored[0].len(), target.len());
        for (position, (top, &token)) in scored[0].iter().zip(&target).enumerate() {
            let own = top.iter().find(|(id, _)| *id == token).unwrap().1;
            // After "z", every token is as likely as every other.
            let expected = [8.0 - total, 8.0 - total, -total, -size.ln()][position];
            assert!((own - expected).abs() < 1e-4, "{dialect:?} {position}: {own} is not {expected}");
        }
    }
    let none = Dialect { echo: false, prompt_logprobs: false, ..Dialect::VLLM };
    let (_server, teacher) = connect(model_handler(model, tokenizer.clone(), none), &tokenizer);
    let error = teacher.score(&[(&source, &target)], 3).unwrap_err();
    assert!(matches!(error, RemoteError::Unsupported { .. }), "{error}");
}
