//! A key goes to one server only, and is shown nowhere.
#![allow(clippy::unwrap_used)]

mod server;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::config::Config;
use burn::tensor::Device;
use server::model::{Dialect, model_handler};
use server::{Fault, MODEL, MockServer};
use wheels_lm::TabularLmConfig;
use wheels_remote::{RemoteConfig, RemoteError, RemoteTeacher};
use wheels_text::{Tokenizer, TokenizerConfig};

const KEY: &str = "sk-very-secret";
const VARIABLE: &str = "WHEELS_TEST_KEY";

/// What was logged, by all crates.
static LOG: Mutex<String> = Mutex::new(String::new());
/// Whether the HTTP library logs every byte that it sends and receives.
static SHOWS_BYTES: AtomicBool = AtomicBool::new(true);

struct Record;

impl log::Log for Record {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        SHOWS_BYTES.load(Ordering::SeqCst) || metadata.target() != "ureq_proto::util"
    }
    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        LOG.lock().unwrap().push_str(&format!("{} {}\n", record.target(), record.args()));
    }
    fn flush(&self) {}
}

/// The only test of this program, because it sets the environment and the logger.
#[test]
fn a_key_goes_to_its_server_only_and_is_shown_nowhere() {
    log::set_logger(&Record).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    if std::env::var(VARIABLE).is_err() {
        // A test may not change its own environment while other threads read it: it runs itself again.
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_key_goes_to_its_server_only_and_is_shown_nowhere", "--nocapture"])
            .env(VARIABLE, KEY)
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(270), ["a".to_owned()]).unwrap();
    let vocab = tokenizer.vocab_size();
    let model = TabularLmConfig::new(vocab, 0).with_logits(vec![0.0; vocab], &Device::flex());
    let server = MockServer::start(model_handler(model, tokenizer.clone(), Dialect::VLLM));
    let other = MockServer::start(Box::new(|_, _| Err(500)));
    let config =
        RemoteConfig::new(server.url.clone(), MODEL.into()).with_api_key_env(Some(VARIABLE.into())).with_retries(0);

    let error = RemoteTeacher::connect(config.clone(), &tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::KeyInLog), "{error}");
    assert!(server.take_seen().is_empty());
    SHOWS_BYTES.store(false, Ordering::SeqCst);

    let teacher = RemoteTeacher::connect(config.clone(), &tokenizer).unwrap();
    let sent = server.take_seen();
    assert!(sent.iter().all(|seen| seen.authorization.as_deref() == Some(&format!("Bearer {KEY}"))));
    let mut shown = format!("{teacher:?} {config:?} {config}");
    let folder = std::env::temp_dir().join(format!("wheels-remote-{}.json", std::process::id()));
    config.save(&folder).unwrap();
    shown += &std::fs::read_to_string(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();

    // Servers that repeat the key, and one that redirects to another.
    for fault in [
        Fault::Status(401, None, "{\"error\": {\"message\": \"Incorrect API key provided: sk-very-secret\"}}"),
        Fault::Status(400, None, "{\"error\": {\"message\": \"bad key sk-very-secret\"}}"),
        Fault::Status(500, None, "{\"error\": {\"message\": \"sk-very-secret\"}}"),
        Fault::Body("{\"choices\": \"sk-very-secret\"}"),
    ] {
        server.fail_always(Some(fault));
        let error = RemoteTeacher::connect(config.clone(), &tokenizer).unwrap_err();
        shown += &format!("{error} {error:?}");
    }
    let target: &'static str = Box::leak(format!("{}/completions", other.url).into_boxed_str());
    server.fail_always(Some(Fault::Redirect(target)));
    let error = RemoteTeacher::connect(config.clone(), &tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::Redirect { .. }), "{error}");
    assert!(other.take_seen().is_empty());

    // 192.0.2.1 is on no network: the error comes before a connection.
    let plain = RemoteConfig { base_url: "http://192.0.2.1/v1".into(), ..config.clone() };
    let error = RemoteTeacher::connect(plain, &tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::KeyOverHttp { .. }), "{error}");
    shown += &format!("{error} {error:?}");
    let missing = config.with_api_key_env(Some("WHEELS_TEST_NO_KEY".into()));
    let error = RemoteTeacher::connect(missing, &tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::MissingKey { .. }), "{error}");

    let log = LOG.lock().unwrap();
    assert!(log.contains("ureq"), "the log of the HTTP library is recorded");
    for text in [&shown, &*log] {
        assert!(!text.contains(KEY), "{text}");
    }
}
