//! Texts through `/v1/completions` and `/v1/chat/completions` are those of the library.

use std::thread;

use crate::support::*;
use burn::tensor::activation::log_softmax;
use serde_json::{Value, json};
use training_wheels::decode::{
    Calibration, CalibrationPoint, Confidence, Decoder, Distribution, Observer, Step, Verification,
};
use training_wheels::lm::{LanguageModel, TokenBatch};
use training_wheels::text::{HelpBudget, Prompt, Seed};
use training_wheels::{Pair, TextModel};
use wheels_serve::{Served, ServerConfig};

fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap()
}

#[test]
fn a_text_with_a_budget_is_that_of_the_library_and_counts_student_and_teacher_apart() {
    let (server, pair) = (translation(config()), embedded());
    for budget in ["0%", "20%", "2 tokens", "100%"] {
        let answer = server.complete(json!({ "model": "wheels", "prompt": TEXT, "budget": budget }));
        let prompt = pair.prompt(TEXT, budget.parse().unwrap()).unwrap();
        let decoded = pair.decoder().decode(&[prompt], Seed(0)).unwrap();
        let expected = pair.answers(&decoded).unwrap().remove(0);
        assert_eq!(expected, pair.generate(TEXT, budget.parse().unwrap()).unwrap());
        assert_eq!(text(&answer), expected.text, "{budget}");
        let usage = &answer["usage"];
        assert_eq!(usage["completion_tokens"], expected.tokens, "{budget}");
        assert_eq!(usage["teacher_tokens"], expected.helped);
        assert_eq!(usage["student_tokens"], expected.tokens - expected.helped);
        // The last look at a text is a call too, and brings no token if it finds nothing to change.
        assert_eq!(usage["teacher_calls"], decoded.stats.help_given);
        assert_eq!(usage["budget"], budget);
        assert_eq!(usage["teacher_prompt_tokens"] == 0, decoded.stats.help_given == 0);
        let spans = answer["choices"][0]["spans"].as_array().unwrap();
        let joined: String = spans.iter().map(|span| span["text"].as_str().unwrap()).collect();
        assert_eq!(joined, expected.text);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
    let calls = server.complete(json!({ "prompt": TEXT, "budget": "2 calls" }));
    assert_eq!(calls["usage"]["budget"], "2 tokens");
    assert_eq!(server.complete(json!({ "prompt": TEXT }))["usage"]["budget"], "20%", "the default");
}

#[test]
fn a_stream_has_the_parts_of_the_whole_answer_with_their_authors() {
    let server = translation(config());
    let body = json!({ "prompt": TEXT, "budget": "30%", "stream_options": { "include_usage": true } });
    let mut whole_body = body.clone();
    whole_body["stream_options"] = Value::Null;
    let whole = server.complete(whole_body);
    let frames = server.stream("/v1/completions", body);
    assert_eq!(frames.last().unwrap(), "[DONE]");
    let frames: Vec<Value> =
        frames[..frames.len() - 1].iter().map(|frame| serde_json::from_str(frame).unwrap()).collect();
    let (usage, parts) = frames.split_last().unwrap();
    assert_eq!(usage["usage"], whole["usage"]);
    assert_eq!(usage["choices"], json!([]));
    let joined: String = parts.iter().map(text).collect();
    assert_eq!(joined, text(&whole));
    for author in ["student", "teacher"] {
        let by = |value: &Value| value["author"] == author;
        let streamed: String = parts.iter().filter(|part| by(&part["choices"][0])).map(text).collect();
        let spans = whole["choices"][0]["spans"].as_array().unwrap();
        let expected: String =
            spans.iter().filter(|span| by(span)).map(|span| span["text"].as_str().unwrap()).collect();
        assert_eq!(streamed, expected, "{author}");
        assert!(!streamed.is_empty());
    }
    assert_eq!(parts.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert!(parts.len() > 4, "the text comes in parts");
    let chat = server.stream("/v1/chat/completions", json!({ "messages": [{ "role": "user", "content": TEXT }] }));
    let first: Value = serde_json::from_str(&chat[0]).unwrap();
    assert_eq!(first["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert!(first.get("usage").is_none());
}

#[test]
fn texts_with_different_budgets_and_samplers_that_are_decoded_together_are_those_alone() {
    let body = |index: usize| {
        let mut body =
            json!({ "prompt": format!("{TEXT} Number {index}."), "budget": format!("{}%", 10 * index), "seed": index });
        if index % 2 == 1 {
            body["temperature"] = json!(0.25 * index as f64);
            body["max_tokens"] = json!(4 * index);
        }
        body
    };
    let server = translation(ServerConfig { batch_size: 3, ..config() });
    let together: Vec<Value> = thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|index| {
                scope.spawn({
                    let server = &server;
                    move || server.complete(body(index))
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    for (index, answer) in together.iter().enumerate() {
        let alone = server.complete(body(index));
        assert_eq!(text(answer), text(&alone), "text {index}");
        assert_eq!(answer["usage"], alone["usage"]);
    }
    let lists = server.complete(json!({ "prompt": [TEXT, "A text editor."], "budget": "0%" }));
    assert_eq!(lists["choices"].as_array().unwrap().len(), 2);
    assert_eq!(lists["choices"][1]["index"], 1);
    assert_eq!(
        lists["choices"][1]["text"],
        server.complete(json!({ "prompt": "A text editor.", "budget": "0%" }))["choices"][0]["text"]
    );
}

#[test]
fn a_text_ends_before_a_stop_text_or_at_its_limit() {
    let server = translation(config());
    let whole = server.complete(json!({ "prompt": TEXT }));
    let whole = text(&whole);
    let word = whole.split_whitespace().nth(2).unwrap();
    let stopped = server.complete(json!({ "prompt": TEXT, "stop": [word, "never there"] }));
    assert_eq!(text(&stopped), &whole[..whole.find(word).unwrap()]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let cut = server.complete(json!({ "prompt": TEXT, "max_tokens": 3 }));
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]),
        (&json!("length"), &json!(3))
    );
    assert!(whole.starts_with(text(&cut)));
    server.wait_for("wheels_running_texts", 0.0);
}

#[test]
fn a_decoder_only_model_alone_continues_token_ids_and_scores_them() {
    let model = llama();
    let ids = model.tokenizer.encode("one and two").unwrap();
    let server = Running::start(Served::model(llama()).unwrap(), config());
    let scored = server.complete(json!({
        "prompt": ids, "echo": true, "logprobs": 3, "max_tokens": 2, "temperature": 0, "return_tokens_as_token_ids": true,
    }));
    let log_probs = &scored["choices"][0]["logprobs"];
    let tokens: Vec<u32> = log_probs["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_str().unwrap().strip_prefix("token_id:").unwrap().parse().unwrap())
        .collect();
    assert_eq!((&tokens[..ids.len()], tokens.len()), (&ids[..], ids.len() + 2));
    assert_eq!(log_probs["token_logprobs"][0], Value::Null);

    // The same numbers in one pass of the model.
    let pad = model.model.spec().pad;
    let mut context = model.model.prefill(&TokenBatch::new(&[&tokens[..1]], pad), 0);
    let logits = model.model.forward(&TokenBatch::new(&[&tokens[..tokens.len() - 1]], pad), &mut context).logits;
    let expected: Vec<f32> = log_softmax(logits, 2).try_into_vec_as().unwrap();
    let vocab = model.model.spec().vocab_size;
    for position in 1..tokens.len() {
        let row = &expected[(position - 1) * vocab..position * vocab];
        let found = log_probs["token_logprobs"][position].as_f64().unwrap();
        // Special tokens are left out of the distributions of new tokens, with 1% of the probability of random weights.
        let tolerance = if position < ids.len() { 1e-4 } else { 0.05 };
        let expected = f64::from(row[tokens[position] as usize]);
        assert!((found - expected).abs() < tolerance, "{position}: {found} and {expected}");
        let top = log_probs["top_logprobs"][position].as_object().unwrap();
        assert!(top.len() == 3 || top.len() == 4);
        assert!(top.contains_key(&format!("token_id:{}", tokens[position])));
    }
    let only_scores = server.complete(json!({ "prompt": ids, "echo": true, "logprobs": 0, "max_tokens": 0 }));
    assert_eq!(only_scores["usage"]["completion_tokens"], 0);
    assert_eq!(text(&only_scores), "one and two");

    // The text is that of the library, and a prompt without a template is not changed.
    let ids = model.tokenizer.encode_prompt("one and two").unwrap();
    let prompt = Prompt { student: ids.clone(), expert: ids, budget: HelpBudget::percent(0) };
    let decoded = model.decoder().decode(&[prompt], Seed(0)).unwrap();
    let expected = model.tokenizer.decode(&decoded.trajectories[0].tokens()).unwrap();
    assert_eq!(text(&server.complete(json!({ "prompt": "one and two" }))), expected);
    assert_ne!(
        server.complete(json!({ "prompt": "one and two ", "max_tokens": 1 }))["usage"]["prompt_tokens"],
        server.complete(json!({ "prompt": "one and two", "max_tokens": 1 }))["usage"]["prompt_tokens"]
    );
}

#[test]
fn a_chat_model_answers_conversations_with_log_probs() {
    let server = Running::start(Served::model(llama()).unwrap(), config());
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "one" }] },
        { "role": "assistant", "content": "two" },
        { "role": "user", "content": "three" },
    ]);
    let body = json!({ "messages": messages, "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 2 });
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.json);
    let choice = &answer.json["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 5);
    assert!(content.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
    assert!(content.iter().all(|token| token["logprob"] == token["top_logprobs"][0]["logprob"]), "a greedy text");
    let unfinished =
        server.post("/v1/chat/completions", &json!({ "messages": [{ "role": "assistant", "content": "two" }] }));
    assert_eq!(unfinished.status, 400);
}

#[test]
fn a_decoder_only_pair_decodes_many_texts_together() {
    let points = [(0.2, 0.3), (0.6, 0.6)].map(|(rate, threshold)| CalibrationPoint::new(rate, threshold));
    let calibration = Calibration::new(Confidence::MaxProb, points.to_vec()).unwrap();
    let teacher = llama();
    let student = teacher.clone().with_help_token("teacher").unwrap();
    let student = TextModel { calibration: Some(calibration), ..student };
    let pair = Pair::new(student, teacher).unwrap();
    let server = Running::start(Served::pair(pair), ServerConfig { batch_size: 3, ..config() });
    let body = |index: usize| {
        json!({ "prompt": "one ".repeat(index + 1), "budget": format!("{}%", 12 * index), "max_tokens": 4 + index, "seed": index,
            "temperature": 0.5 * (index % 3) as f64 })
    };
    let together: Vec<Value> = thread::scope(|scope| {
        let send = |index| {
            let server = &server;
            scope.spawn(move || server.complete(body(index)))
        };
        let handles: Vec<_> = (0..8).map(send).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    for (index, answer) in together.iter().enumerate() {
        let alone = server.complete(body(index));
        assert_eq!((text(answer), &answer["usage"]), (text(&alone), &alone["usage"]), "text {index}");
    }
    assert!(server.metric("wheels_teacher_calls_total") > 0.0);
}

/// The embedded pair, whose teacher accepts only what it would have written.
fn verified() -> Pair {
    let point = |rate| CalibrationPoint { verification: Verification::regret(0.0), ..CalibrationPoint::new(rate, 0.4) };
    let mut pair = embedded();
    pair.student.calibration = Some(Calibration::new(Confidence::MaxProb, [0.1, 0.9].map(point).to_vec()).unwrap());
    pair
}

/// Texts with budgets, percent, in which the teacher of the verified pair rolls tokens back.
const ROLLED_BACK: [(&str, u8); 3] =
    [(TEXT, 90), ("The server reads and writes many formats.", 80), ("A text editor for maps.", 70)];

#[test]
fn what_the_teacher_does_not_accept_is_in_no_answer_and_no_stream() {
    let pair = verified();
    let (server, mut rolled_back) = (Running::start(Served::pair(pair.clone()), config()), 0);
    for (source, percent) in ROLLED_BACK {
        let budget = HelpBudget::percent(percent);
        let decoded = pair.decoder().decode(&pair.prompts(&[source], budget).unwrap(), Seed(0)).unwrap();
        rolled_back += decoded.stats.rolled_back;
        let expected = pair.generate(source, budget).unwrap();
        let body = json!({ "prompt": source, "budget": budget, "logprobs": 0 });
        let answer = server.complete(body.clone());
        assert_eq!((text(&answer), &answer["usage"]["teacher_tokens"]), (&*expected.text, &json!(expected.helped)));
        assert_eq!(answer["usage"]["teacher_calls"], decoded.stats.help_given, "with the call at the end of the text");
        assert_eq!(answer["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), expected.tokens);
        let frames = server.stream("/v1/completions", body);
        let parts = frames[..frames.len() - 1].iter().map(|frame| serde_json::from_str::<Value>(frame).unwrap());
        assert_eq!(parts.map(|part| text(&part).to_owned()).collect::<String>(), expected.text);
    }
    assert!(rolled_back > 0);
}

/// The number of rollbacks of tokens that were told before.
struct Rollbacks(usize);

impl Observer for Rollbacks {
    fn rolled_back(&mut self, _row: usize, _length: usize) {
        self.0 += 1;
    }

    fn step(&mut self, _row: usize, _step: &Step) {}
}

#[test]
fn the_log_probs_of_a_text_with_rollbacks_are_those_of_one_pass_over_it() {
    let pair = verified();
    let (server, mut rollbacks) = (Running::start(Served::pair(pair.clone()), config()), Rollbacks(0));
    let (student, decoder) = (&pair.student.model, pair.decoder());
    let vocabulary = decoder.vocabulary().unwrap();
    for (source, percent) in ROLLED_BACK {
        let budget = HelpBudget::percent(percent);
        let prompt = pair.prompt(source, budget).unwrap();
        let decoded = decoder.decode_with(std::slice::from_ref(&prompt), Seed(0), &mut rollbacks).unwrap();
        let tokens: Vec<u32> = decoded.trajectories[0].steps.iter().map(|step| step.token).collect();
        let answer = server
            .complete(json!({ "prompt": source, "budget": budget, "logprobs": 0, "return_tokens_as_token_ids": true }));
        let log_probs = &answer["choices"][0]["logprobs"];
        let names: Vec<String> = tokens.iter().map(|token| format!("token_id:{token}")).collect();
        assert_eq!(log_probs["tokens"], json!(names), "{source}");

        let pad = student.spec().pad;
        let mut context = student.prefill(&TokenBatch::new(&[&prompt.student], pad), 0);
        let read = [context.starts().as_slice(), &tokens[..tokens.len() - 1]].concat();
        let logits = student.forward(&TokenBatch::new(&[read], pad), &mut context).logits;
        let [_, _, width] = logits.dims();
        let mut logits: Vec<f32> = logits.try_into_vec_as().unwrap();
        for (position, row) in logits.chunks_exact_mut(width).enumerate() {
            let distribution = Distribution::read(row, &vocabulary, &tokens[..position]).unwrap();
            let expected = distribution.log_prob(tokens[position]);
            let found = log_probs["token_logprobs"][position].as_f64().unwrap();
            // One pass and one pass per token add in different orders, in f32.
            assert!((found - expected).abs() < 1e-3, "{source}, {position}: {found} and {expected}");
        }
    }
    assert!(rollbacks.0 > 0);
}
