//! A token is in no log. This test has a program of its own, because a logger holds for a whole program.

#![allow(clippy::unwrap_used)]

use log::{LevelFilter, Log, Metadata, Record};
use wheels_hub::{AccessToken, Hub, HubConfig, HubError};

/// A logger that wants everything.
struct Everything;

impl Log for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert!(!record.args().to_string().contains("hf_secret"), "{} logs the token", record.target());
    }

    fn flush(&self) {}
}

#[test]
fn no_token_is_sent_while_the_http_library_logs_every_byte() {
    log::set_logger(&Everything).unwrap();
    log::set_max_level(LevelFilter::Trace);
    // Nobody listens there.
    let endpoint = "http://127.0.0.1:9".to_owned();
    let cache = tempfile::tempdir().unwrap();
    let config = HubConfig { endpoint, retries: 0, ..HubConfig::new(cache.path()) };
    let fetch = |token| Hub::new(HubConfig { token, ..config.clone() })?.fetch(&"owner/name".parse()?, |_| ());
    let error = fetch(AccessToken::new("hf_secret")).unwrap_err();
    assert!(matches!(error, HubError::TokenInLog), "{error}");
    let error = fetch(None).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "without a token, everything may be logged: {error}");
}
