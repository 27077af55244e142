//! A server on the loopback interface that speaks the OpenAI-compatible API, and misbehaves when it is told to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod model;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The name of the only model.
pub const MODEL: &str = "big";

/// What a server does with a request for a text: the answer to a path and a body, or a status.
pub type Handler = Box<dyn Fn(&str, &Value) -> Result<Value, u16> + Send + Sync>;

/// A server. Its threads end with the process.
pub struct MockServer {
    /// The address up to the version of the API.
    pub url: String,
    state: Arc<State>,
}

struct State {
    handler: Handler,
    faults: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    together: AtomicUsize,
    most_together: AtomicUsize,
}

/// A request that a server got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// What a server does wrong with one request for a text.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It waits before it answers as it should.
    Slow(Duration),
    /// It closes the connection without an answer.
    Drop,
    /// It closes the connection in the middle of the body.
    Truncate,
    /// It answers with this status, `Retry-After` and body.
    Status(u16, Option<&'static str>, &'static str),
    /// It redirects to another host.
    Redirect(&'static str),
    /// It answers with this body.
    Body(&'static str),
    /// It answers with these bytes.
    Bytes(&'static [u8]),
    /// It answers with a body of this many bytes.
    Huge(usize),
    /// It changes its answer.
    Edit(fn(&mut Value)),
    /// It replaces a part of its answer.
    Replace(fn(String) -> String),
}

impl MockServer {
    pub fn start(handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(State {
            handler,
            faults: Mutex::default(),
            always: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            together: AtomicUsize::new(0),
            most_together: AtomicUsize::new(0),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = shared.clone();
                state.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Self { url, state }
    }

    /// Sets what goes wrong with the next requests for texts, one after the other.
    pub fn fail_next(&self, faults: &[Fault]) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    /// Sets what goes wrong with all later requests for texts.
    pub fn fail_always(&self, fault: Option<Fault>) {
        *self.state.always.lock().unwrap() = fault;
    }

    /// All requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The largest number of requests at the same time.
    pub fn most_together(&self) -> usize {
        self.state.most_together.load(Ordering::SeqCst)
    }
}

/// Answers the requests of one connection until it is closed.
fn serve(stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(seen) = read(&mut reader) {
        state.most_together.fetch_max(state.together.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let goes_on = answer(&stream, &seen, state);
        state.together.fetch_sub(1, Ordering::SeqCst);
        if !goes_on {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { path, authorization, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

/// Answers a request. Returns whether the connection stays open.
fn answer(stream: &TcpStream, seen: &Seen, state: &State) -> bool {
    state.seen.lock().unwrap().push(seen.clone());
    if seen.path == "/v1/models" {
        return send(stream, 200, &[], json!({ "data": [{ "id": MODEL }, { "id": "other" }] }).to_string().as_bytes());
    }
    let fault = state.faults.lock().unwrap().pop_front().or(*state.always.lock().unwrap());
    match fault {
        Some(Fault::Slow(time)) => thread::sleep(time),
        Some(Fault::Drop) => return false,
        Some(Fault::Status(status, after, body)) => {
            let headers: Vec<(&str, &str)> = after.map(|after| ("Retry-After", after)).into_iter().collect();
            return send(stream, status, &headers, body.as_bytes());
        }
        Some(Fault::Redirect(target)) => return send(stream, 307, &[("Location", target)], b""),
        Some(Fault::Body(body)) => return send(stream, 200, &[], body.as_bytes()),
        Some(Fault::Bytes(body)) => return send(stream, 200, &[], body),
        Some(Fault::Huge(bytes)) => return send(stream, 200, &[], " ".repeat(bytes).as_bytes()),
        _ => {}
    }
    let mut reply = match (state.handler)(&seen.path, &seen.body) {
        Ok(reply) => reply,
        Err(status) => {
            let body = json!({ "error": { "message": "this server does not do that" } }).to_string();
            return send(stream, status, &[], body.as_bytes());
        }
    };
    if let Some(Fault::Edit(edit)) = fault {
        edit(&mut reply);
    }
    let mut body = reply.to_string();
    match fault {
        Some(Fault::Replace(replace)) => body = replace(body),
        Some(Fault::Truncate) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut stream = stream;
            let _ = stream.write_all(&[head.as_bytes(), &body.as_bytes()[..body.len() / 2]].concat());
            return false;
        }
        _ => {}
    }
    send(stream, 200, &[], body.as_bytes())
}

fn send(mut stream: &TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(&[head.as_bytes(), body].concat()).is_ok()
}
