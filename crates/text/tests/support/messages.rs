//! A logger for tests that keeps all messages.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

/// The messages so far, each with its level.
static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Messages;

impl log::Log for Messages {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        MESSAGES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

/// Installs the logger. A program can do this once.
pub(crate) fn install(level: log::LevelFilter) {
    log::set_logger(&Messages).unwrap();
    log::set_max_level(level);
}

/// The messages so far.
pub(crate) fn all() -> Vec<String> {
    MESSAGES.lock().unwrap().clone()
}
