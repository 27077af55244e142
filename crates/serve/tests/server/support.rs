//! A server for the tests, and what they send to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use burn::tensor::Device;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use training_wheels::lm::{FloatFormat, LlamaConfig, Pretrained};
use training_wheels::student::Student;
use training_wheels::text::{GenerationConfig, PromptTemplate, Tokenizer, TokenizerConfig};
use training_wheels::{Pair, TextModel};
use wheels_embedded::TRANSLATION;
use wheels_serve::{ServeError, Served, Server, ServerConfig};

/// A text that the embedded models translate, and for which the student asks.
pub(crate) const TEXT: &str = "A fast and small web browser.";

/// A server that stops when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

/// The settings of the tests: the defaults, on a free port.
pub(crate) fn config() -> ServerConfig {
    ServerConfig { listen: ([127, 0, 0, 1], 0).into(), ..ServerConfig::default() }
}

pub(crate) fn embedded() -> Pair {
    Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &Device::flex()).unwrap()
}

/// The embedded pair behind a server.
pub(crate) fn translation(config: ServerConfig) -> Running {
    Running::start(Served::pair(embedded()), config)
}

/// An answer: its status, its header Retry-After, and its JSON.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) json: Value,
}

impl Running {
    pub(crate) fn start(served: Served, config: ServerConfig) -> Self {
        let server = Server::bind(served, config).unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(|| {
            server.run_until(async {
                let _ = stopped.await;
            })
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Asks the server to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().unwrap().unwrap();
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut response = agent().get(self.url(path)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        let mut response =
            agent().post(self.url(path)).header("content-type", "application/json").send(body.to_string()).unwrap();
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string().unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
        Reply { status: response.status().as_u16(), retry_after, json }
    }

    /// The JSON of a completion that succeeds.
    pub(crate) fn complete(&self, body: Value) -> Value {
        let reply = self.post("/v1/completions", &body);
        assert_eq!(reply.status, 200, "{}", reply.json);
        reply.json
    }

    /// The message of a completion that is refused with the status 400.
    pub(crate) fn refused(&self, body: Value) -> String {
        let reply = self.post("/v1/completions", &body);
        assert_eq!(reply.status, 400, "{}", reply.json);
        reply.json["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The frames of a stream.
    pub(crate) fn stream(&self, path: &str, mut body: Value) -> Vec<String> {
        body["stream"] = json!(true);
        let response =
            agent().post(self.url(path)).header("content-type", "application/json").send(body.to_string()).unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let lines = BufReader::new(response.into_body().into_reader()).lines().map(Result::unwrap);
        lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
    }

    /// The value of a number in the metrics; 0 if it is missing.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    /// Waits until a number in the metrics has a value.
    pub(crate) fn wait_for(&self, name: &str, value: f64) {
        for _ in 0..3000 {
            if self.metric(name) == value {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} is {}, not {value}", self.metric(name));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .into()
}

/// A tiny Llama with random weights and a chat template, whose greedy texts hardly end.
pub(crate) fn llama() -> TextModel {
    llama_of(5)
}

/// The models by their seeds. They are made once, because all tests share the random numbers of the device.
static LLAMAS: Mutex<BTreeMap<u64, TextModel>> = Mutex::new(BTreeMap::new());

/// The same with the weights of another seed.
pub(crate) fn llama_of(seed: u64) -> TextModel {
    LLAMAS.lock().unwrap().entry(seed).or_insert_with(|| random_llama(seed)).clone()
}

fn random_llama(seed: u64) -> TextModel {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let lines = ["one and two", "three and four"].map(str::to_owned);
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(300), lines).unwrap();
    let config: LlamaConfig = serde_json::from_value(json!({
        "model_type": "llama", "vocab_size": tokenizer.vocab_size(), "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": true,
        "initializer_range": 0.2, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": null,
    }))
    .unwrap();
    device.seed(seed);
    let model = Student::new(Pretrained::Llama(config.init(&device).unwrap()));
    let (template, generation) = (PromptTemplate::default(), GenerationConfig::default().with_max_new_tokens(12));
    let model = TextModel { model, tokenizer, template, generation, calibration: None, prices: None };
    model.save(&folder, FloatFormat::F32).unwrap();
    let turns = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: ";
    let config = json!({ "chat_template": turns, "eos_token": "</s>" });
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    TextModel::open(&folder, &device).unwrap()
}
