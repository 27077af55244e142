//! A small hub on the loopback interface: one model with one commit, whose large files are on another server.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

/// The only commit of the model.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The hub, and the server with the large files. Their threads end with the process.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

/// What a server was asked, and what it sent.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// Bytes of the body.
    pub(crate) sent: usize,
}

/// What the servers do wrong.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// Close the connection after this many bytes of the body of a file, this many times.
    pub(crate) cut: Option<(String, usize, usize)>,
    /// Answer ranges with the whole file.
    pub(crate) ignore_range: bool,
    /// Announce these sizes.
    pub(crate) sizes: HashMap<String, usize>,
    /// Send these contents instead of those that were announced.
    pub(crate) contents: HashMap<String, Vec<u8>>,
    /// Answer each request for a list with this status and X-Error-Code.
    pub(crate) list: Option<(u16, &'static str)>,
    /// Answer each request for a file with this status and X-Error-Code.
    pub(crate) file: Option<(u16, &'static str)>,
    /// Redirect small files to another path of the hub first, as the hub does.
    pub(crate) relative_redirects: bool,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Faults,
    seen: Vec<Seen>,
    cdn: String,
}

impl Server {
    /// Starts the hub with a model `owner/name` that has these files. Safetensors are large files.
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
        let state = State { files, faults: Faults::default(), seen: vec![], cdn: String::new() };
        let state = Arc::new(Mutex::new(state));
        let cdn = listen(&state, "cdn");
        state.lock().unwrap().cdn = cdn;
        let endpoint = listen(&state, "hub");
        Self { endpoint, state }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state.lock().unwrap().faults = faults;
    }

    /// All requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

/// The name of a content at the hub.
pub(crate) fn etag(name: &str, content: &[u8]) -> String {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    // Small files are named by git, whose hashes have 40 digits.
    if is_large(name) { hash } else { hash[..40].to_owned() }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors")
}

/// Answers requests on a free port, and returns the address.
fn listen(state: &Arc<Mutex<State>>, role: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || answer(&stream, &state, role));
        }
    });
    address
}

/// An answer before it is sent.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// How many bytes of the body are sent before the connection is closed.
    cut: Option<usize>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: vec![], body: vec![], cut: None }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn error((status, code): (u16, &str)) -> Self {
        let answer = Self::new(status);
        if code.is_empty() { answer } else { answer.with("X-Error-Code", code) }
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>, role: &str) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers: HashMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let range = headers.get("range").cloned();

    let mut state = state.lock().unwrap();
    let answer = if role == "cdn" {
        let name = path.trim_start_matches("/lfs/").split('?').next().unwrap().to_owned();
        content(&mut state, &name, range.as_deref(), Answer::new(200).with("ETag", "\"of-the-cdn\""), &method)
    } else {
        hub(&mut state, &method, &path, range.as_deref())
    };
    let sent = if method == "HEAD" { 0 } else { answer.cut.unwrap_or(answer.body.len()) };
    let authorization = headers.get("authorization").cloned();
    state.seen.push(Seen { method, path: format!("{role}:{path}"), range, authorization, sent });
    drop(state);

    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| *name == "Content-Length") {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    for (name, value) in answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body[..sent]);
}

fn hub(state: &mut State, method: &str, path: &str, range: Option<&str>) -> Answer {
    if let Some(revision) = path.strip_prefix("/api/models/owner/name/revision/") {
        if let Some(error) = state.faults.list {
            return Answer::error(error);
        }
        if !["main", "refs%2Fpr%2F1", COMMIT].contains(&revision) {
            return Answer::error((404, "RevisionNotFound"));
        }
        let siblings: Vec<_> = state.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let list = serde_json::json!({ "sha": COMMIT, "siblings": siblings });
        return Answer { body: list.to_string().into(), ..Answer::new(200) };
    }
    if path.starts_with("/api/models/") {
        return Answer::error((401, "RepoNotFound"));
    }
    if let Some(error) = state.faults.file {
        return Answer::error(error);
    }
    let resolved = path.strip_prefix("/resolved/");
    let Some(name) = resolved.or_else(|| path.strip_prefix(&format!("/owner/name/resolve/{COMMIT}/"))) else {
        return Answer::error((404, ""));
    };
    let Some(bytes) = state.files.get(name) else { return Answer::error((404, "EntryNotFound")) };
    let etag = etag(name, bytes);
    let size = state.faults.sizes.get(name).copied().unwrap_or(bytes.len());
    let answer = Answer::new(200).with("X-Repo-Commit", COMMIT);
    if is_large(name) {
        let location = format!("{}/lfs/{name}?signature=secret", state.cdn);
        let answer = Answer { status: 302, ..answer }.with("Location", location);
        return answer.with("X-Linked-Etag", format!("\"{etag}\"")).with("X-Linked-Size", size.to_string());
    }
    if state.faults.relative_redirects && resolved.is_none() {
        return Answer { status: 307, ..answer }.with("Location", format!("/resolved/{name}"));
    }
    let name = name.to_owned();
    content(state, &name, range, answer.with("ETag", format!("W/\"{etag}\"")), method)
}

/// The content of a file, or of a range.
fn content(state: &mut State, name: &str, range: Option<&str>, answer: Answer, method: &str) -> Answer {
    let faults = &mut state.faults;
    if method == "HEAD" {
        let size = faults.sizes.get(name).copied().unwrap_or(state.files[name].len());
        return answer.with("Content-Length", size.to_string());
    }
    let body = faults.contents.get(name).unwrap_or(&state.files[name]).clone();
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let mut answer = match start.filter(|_| !faults.ignore_range) {
        Some(start) if start >= body.len() => Answer { status: 416, ..answer },
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            Answer { status: 206, body: body[start..].to_vec(), ..answer.with("Content-Range", range) }
        }
        None => Answer { body, ..answer },
    };
    if let Some((file, bytes, times)) = &mut faults.cut
        && file == name
        && *times > 0
    {
        *times -= 1;
        answer.cut = Some((*bytes).min(answer.body.len()));
    }
    answer
}
