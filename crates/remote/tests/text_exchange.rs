//! A teacher with another tokenizer: texts are exchanged, and no character is cut.
#![allow(clippy::unwrap_used)]

mod server;

use burn::tensor::Device;
use server::model::script_handler;
use server::{MODEL, MockServer};
use wheels_decode::{BudgetedDecoder, Decoder, End, Experts, HelpRule, Policy, Trajectory, Verification};
use wheels_lm::TabularLmConfig;
use wheels_remote::{
    ChatContinuation, RemoteApi, RemoteConfig, RemoteTeacher, ServerFeatures, TextLogProbs, TokenExchange,
};
use wheels_text::{HelpBudget, Prompt, Seed, Tokenizer, TokenizerConfig};

/// What the teacher writes. Its tokens have three bytes, which cut the characters of two and more bytes.
const TARGET: &str = "Così è la città: un caffè da 3 €, 日本語 e 👨‍👩‍👧 qui.";

fn tokenizer() -> Tokenizer {
    let lines = ["the editor of the text".to_owned(), "la città del caffè".to_owned()];
    Tokenizer::train(TokenizerConfig::default().with_vocab_size(275), lines).unwrap()
}

fn decode(teacher: &RemoteTeacher, tokenizer: &Tokenizer, budget: HelpBudget, rule: HelpRule) -> Trajectory {
    let vocab = tokenizer.vocab_size();
    let mut logits = vec![0.0; vocab];
    logits[tokenizer.encode("x").unwrap()[0] as usize] = 5.0;
    let student = TabularLmConfig::new(vocab, 0).with_logits(logits, &Device::flex());
    let policy = Policy::greedy(&student).with_help_rule(rule);
    let experts = Experts::new().with(vocab as u32, teacher).with_closed_token(0).with_closed_token(2);
    let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(200);
    let ids = tokenizer.encode_prompt("where?").unwrap();
    let prompt = Prompt { student: ids.clone(), expert: ids, budget };
    decoder.decode(&[prompt], Seed(0)).unwrap().trajectories.remove(0)
}

#[test]
fn a_text_of_another_tokenizer_arrives_whole_whatever_the_span() {
    let tokenizer = tokenizer();
    for chat in [false, true] {
        let server = MockServer::start(script_handler(TARGET, chat));
        for span in [1, 2, 3, 4, 7, 16, 64] {
            let config = RemoteConfig::new(server.url.clone(), MODEL.into()).with_span(span);
            let teacher = RemoteTeacher::connect(config, &tokenizer).unwrap();
            let api = if chat { RemoteApi::Chat(ChatContinuation::Flags) } else { RemoteApi::Completions };
            let features = teacher.features();
            assert_eq!((features.api, features.tokens), (api, TokenExchange::Text));
            // A span below the number of tokens of a character cannot bring this character.
            if span < 4 {
                continue;
            }
            let text = decode(&teacher, &tokenizer, HelpBudget::percent(100), HelpRule::Always);
            assert_eq!(tokenizer.decode(&text.tokens()).unwrap(), TARGET, "span {span}, chat {chat}");
            assert_eq!((text.end, text.helped()), (End::Eos, text.steps.len()));
            assert!(text.failures.is_empty());
        }
    }
}

#[test]
fn no_prefix_of_a_text_that_an_expert_ended_has_a_part_of_a_character() {
    let tokenizer = tokenizer();
    let server = MockServer::start(script_handler(TARGET, false));
    for span in [1, 2, 3, 5] {
        for budget in [HelpBudget::tokens(1), HelpBudget::tokens(5), HelpBudget::tokens(9), HelpBudget::percent(30)] {
            let config = RemoteConfig::new(server.url.clone(), MODEL.into()).with_span(span);
            let teacher = RemoteTeacher::connect(config, &tokenizer).unwrap();
            let text = decode(&teacher, &tokenizer, budget, HelpRule::Always);
            let written = tokenizer.decode(&text.tokens()).unwrap();
            assert!(!written.contains(char::REPLACEMENT_CHARACTER), "span {span}, {budget}: {written}");
        }
    }
}

#[test]
fn a_chat_server_without_flags_is_asked_to_go_on_in_words() {
    let tokenizer = tokenizer();
    let server = MockServer::start(Box::new(|path, body| {
        if path != "/v1/chat/completions" {
            return Err(404);
        }
        let last = body["messages"].as_array().unwrap().last().unwrap().clone();
        if body.get("continue_final_message").is_some() || last["role"] != "user" {
            return Err(400);
        }
        let text = if last["content"].as_str().unwrap().contains("cut off") { "and that." } else { "This" };
        let reason = if text == "This" { "length" } else { "stop" };
        let message = serde_json::json!({ "role": "assistant", "content": text });
        Ok(serde_json::json!({ "choices": [{ "message": message, "finish_reason": reason }] }))
    }));
    let config = RemoteConfig::new(server.url, MODEL.into()).with_span(16);
    let teacher = RemoteTeacher::connect(config, &tokenizer).unwrap();
    assert_eq!(teacher.features().api, RemoteApi::Chat(ChatContinuation::Instruction));
    let text = decode(&teacher, &tokenizer, HelpBudget::percent(100), HelpRule::Always);
    assert_eq!(tokenizer.decode(&text.tokens()).unwrap(), "This and that.");
}

#[test]
fn verification_of_texts_without_ids_is_refused() {
    let tokenizer = tokenizer();
    let server = MockServer::start(script_handler(TARGET, false));
    let teacher = RemoteTeacher::connect(RemoteConfig::new(server.url.clone(), MODEL.into()), &tokenizer).unwrap();
    let refused = wheels_decode::Expert::check_verification(&teacher, &Verification::LOSSLESS);
    assert!(refused.unwrap_err().to_string().contains("log-probs"));
    let features = ServerFeatures { text_log_probs: TextLogProbs::Echo, ..teacher.features() };
    let config = RemoteConfig::new(server.url, MODEL.into()).with_features(Some(features));
    let teacher = RemoteTeacher::connect(config, &tokenizer).unwrap();
    let refused = wheels_decode::Expert::check_verification(&teacher, &Verification::LOSSLESS);
    assert!(refused.unwrap_err().to_string().contains("token ids"));
}
