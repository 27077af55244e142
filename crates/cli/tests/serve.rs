//! `wheels serve` answers requests, and stops when it is asked to.
#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{fails, wheels};

#[test]
fn a_server_answers_within_the_budgets_of_its_flags_and_stops_at_ctrl_c() {
    let mut server = wheels("serve")
        .args(["--device", "cpu", "--listen", "127.0.0.1:0", "--max-budget", "30%", "--name", "en-it", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let printed: Value = serde_json::from_str(&line).expect("JSON");
    let address = printed["url"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
    for (budget, status) in [("30%", "200"), ("40%", "400")] {
        let body = json!({ "model": "en-it", "prompt": "A fast web browser.", "budget": budget }).to_string();
        let length = body.len();
        let mut client = TcpStream::connect(address).expect("a connection");
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        client.write_all((head + &body).as_bytes()).expect("it is sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(if status == "200" { "teacher_tokens" } else { "ceiling of 30%" }), "{answer}");
    }
    let stopped = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
    assert!(stopped.expect("kill runs").success());
    assert!(server.wait().expect("it ends").success());
}

#[test]
fn a_budget_above_the_ceiling_is_an_error_before_the_server_runs() {
    let message = fails(wheels("serve").args(["--device", "cpu", "--budget", "20%", "--max-budget", "10%"]));
    assert!(message.contains("20%") && message.contains("10%"), "{message}");
}
