//! What a server refuses, and how texts end before the model ends them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::*;
use serde_json::{Value, json};
use training_wheels::text::HelpBudget;
use wheels_serve::{ApiKey, Served, ServerConfig};

/// A server whose model hardly ends its texts, with one row.
fn endless(config: ServerConfig) -> Running {
    Running::start(Served::model(llama()).unwrap(), ServerConfig { batch_size: 1, max_new_tokens: 1_000_000, ..config })
}

/// A text that takes longer than any test.
fn long() -> Value {
    json!({ "prompt": "one", "max_tokens": 1_000_000 })
}

/// Sends a request without waiting for its answer.
fn send(server: &Running, body: &Value) -> TcpStream {
    let mut client = TcpStream::connect(server.address).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).unwrap();
    client
}

#[test]
fn what_a_request_must_not_ask_for_is_named() {
    let server = translation(ServerConfig { max_budget: HelpBudget::percent(50), ..config() });
    for (body, name) in [
        (json!({ "prompt": TEXT, "n": 2 }), "`n`"),
        (json!({ "prompt": TEXT, "logit_bias": { "7": -100 } }), "`logit_bias`"),
        (json!({ "prompt": TEXT, "temperatures": 1 }), "`temperatures`"),
        (json!({ "prompt": TEXT, "temperature": 3 }), "`temperature`"),
        (json!({ "prompt": TEXT, "top_p": -0.1 }), "`top_p`"),
        (json!({ "prompt": TEXT, "max_tokens": 100_000 }), "`max_tokens`"),
        (json!({ "prompt": TEXT, "max_tokens": -1 }), "`max_tokens`"),
        (json!({ "prompt": TEXT, "stop": ["a", "b", "c", "d", "e"] }), "`stop`"),
        (json!({ "prompt": TEXT, "stop": "" }), "`stop`"),
        (json!({ "prompt": TEXT, "logprobs": 21 }), "`logprobs`"),
        (json!({ "prompt": TEXT, "echo": true }), "`echo`"),
        (json!({ "prompt": TEXT, "budget": "60%" }), "ceiling of 50%"),
        (json!({ "prompt": TEXT, "budget": "3 tokens" }), "state it in percent"),
        (json!({ "prompt": TEXT, "budget": "much" }), "much"),
        (json!({ "prompt": TEXT, "budget": [] }), "`budget`"),
        (json!({ "prompt": "" }), "empty"),
        (json!({ "prompt": [] }), "empty"),
        (json!({ "prompt": [7, -1] }), "no token id"),
        (json!({ "prompt": [7, 1_000_000] }), "vocabulary"),
        (json!({ "prompt": { "text": "a" } }), "`prompt`"),
        (json!({}), "`prompt`"),
        (json!({ "prompt": "word ".repeat(500) }), "token"),
        (json!([1]), "JSON object"),
    ] {
        let message = server.refused(body);
        assert!(message.contains(name), "{name}: {message}");
    }
    let chat = json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "user", "content": "b" }] });
    assert_eq!(server.post("/v1/chat/completions", &chat).status, 400, "a T5 makes no conversations");
    let model = server.post("/v1/completions", &json!({ "prompt": TEXT, "model": "gpt-4" }));
    assert_eq!((model.status, &model.json["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.get("/v1/completions").0, 405);
    let alone = Running::start(Served::model(llama()).unwrap(), config());
    assert!(alone.refused(json!({ "prompt": "one", "budget": "20%" })).contains("no teacher"));
}

#[test]
fn bodies_have_a_largest_size_and_a_type() {
    let server = translation(ServerConfig { max_body_bytes: 1000, ..config() });
    assert_eq!(server.post("/v1/completions", &json!({ "prompt": "a".repeat(1000) })).status, 413);
    let plain = agent().post(server.url("/v1/completions")).header("content-type", "text/plain").send("{}").unwrap();
    assert_eq!(plain.status().as_u16(), 415, "a page of another site can send this type without asking");
    assert!(plain.headers().get("access-control-allow-origin").is_none());
}

#[test]
fn only_clients_with_the_key_are_answered() {
    let server = translation(ServerConfig { api_key: Some(ApiKey::new("secret")), ..config() });
    for (key, status) in [("Bearer secret", 200), ("Bearer wrong", 401), ("secret", 401)] {
        for path in ["/v1/models", "/metrics"] {
            let response = agent().get(server.url(path)).header("authorization", key).call().unwrap();
            assert_eq!(response.status().as_u16(), status, "{path} with {key}");
        }
    }
    assert_eq!(server.get("/health").0, 200);
    assert_eq!(server.post("/v1/completions", &json!({ "prompt": TEXT })).status, 401);
}

#[test]
fn requests_past_the_queue_get_429_and_those_in_it_are_answered() {
    let server = endless(ServerConfig { queue: 2, ..config() });
    let running = send(&server, &long());
    server.wait_for("wheels_running_texts", 1.0);
    let waiting: Vec<TcpStream> = (0..2).map(|_| send(&server, &json!({ "prompt": "one", "max_tokens": 1 }))).collect();
    server.wait_for("wheels_waiting_texts", 2.0);
    let refused = server.post("/v1/completions", &json!({ "prompt": "one" }));
    assert_eq!((refused.status, refused.retry_after.as_deref()), (429, Some("1")));
    assert_eq!(refused.json["error"]["type"], "rate_limit_error");
    drop(running);
    for mut client in waiting {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert!(server.refused(json!({ "prompt": ["one", "one", "one"] })).contains("at most 2"));
}

#[test]
fn the_row_of_a_client_that_leaves_is_freed() {
    let server = endless(config());
    for (index, stream) in [false, true].into_iter().enumerate() {
        let mut body = long();
        body["stream"] = json!(stream);
        let mut client = send(&server, &body);
        server.wait_for("wheels_running_texts", 1.0);
        if stream {
            client.read_exact(&mut [0; 400]).unwrap();
        }
        drop(client);
        server.wait_for("wheels_texts_total{end=\"cancelled\"}", index as f64 + 1.0);
        server.complete(json!({ "prompt": "one", "max_tokens": 1 }));
    }
}

#[test]
fn a_text_that_takes_too_long_is_ended_with_504() {
    let server = endless(ServerConfig { request_timeout_s: 1, ..config() });
    let late = server.post("/v1/completions", &long());
    assert_eq!((late.status, &late.json["error"]["type"]), (504, &json!("timeout_error")));
    let frames = server.stream("/v1/completions", long());
    assert!(frames.last().unwrap().contains("timeout_error"), "{:?}", frames.last());
    server.wait_for("wheels_texts_total{end=\"timed_out\"}", 2.0);
}

#[test]
fn a_server_that_stops_lets_texts_end_and_cuts_those_that_do_not() {
    let mut server = endless(config());
    let mut clients = [2000, 100].map(|tokens| send(&server, &json!({ "prompt": "one", "max_tokens": tokens })));
    server.wait_for("wheels_running_texts", 1.0);
    server.stop();
    for client in &mut clients {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "running and waiting texts are finished");
    }

    let mut server = endless(ServerConfig { shutdown_grace_s: 1, ..config() });
    let mut clients = [send(&server, &long()), send(&server, &long())];
    server.wait_for("wheels_waiting_texts", 1.0);
    let started = Instant::now();
    server.stop();
    assert!(started.elapsed() < Duration::from_secs(30));
    for client in &mut clients {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503");
    }
}

#[test]
fn health_models_and_metrics_are_told() {
    let server = translation(ServerConfig { model_name: "en-it".into(), ..config() });
    assert_eq!(server.get("/health"), (200, r#"{"status":"ok"}"#.into()));
    let models: Value = serde_json::from_str(&server.get("/v1/models").1).unwrap();
    assert_eq!((&models["data"][0]["id"], &models["data"][0]["max_budget"]), (&json!("en-it"), &json!("100%")));
    assert_eq!(server.get("/v1/models/en-it").0, 200);
    assert_eq!(server.get("/v1/models/other").0, 404);
    let usage = &server.complete(json!({ "prompt": TEXT, "budget": "100%" }))["usage"];
    // Texts and requests are counted when their answers are on their way.
    server.wait_for("wheels_tokens_total{author=\"teacher\"}", usage["teacher_tokens"].as_f64().unwrap());
    server.wait_for("wheels_teacher_calls_total", usage["teacher_calls"].as_f64().unwrap());
    server.wait_for("wheels_texts_total{end=\"stop\"}", 1.0);
    server.wait_for("wheels_requests_total{path=\"/v1/completions\",status=\"200\"}", 1.0);
    server.wait_for("wheels_request_seconds_count", 1.0);
}
