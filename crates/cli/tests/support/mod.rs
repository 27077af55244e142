//! What the tests of the program need.
#![allow(dead_code)]

#[path = "../../../../tests/support/mod.rs"]
mod shared;

use std::process::{Command, Output, Stdio};

#[allow(unused_imports)]
pub(crate) use shared::{pair, sample, short_lines, unpack};

/// The program with one of its commands, and nothing on its standard input.
pub(crate) fn wheels(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wheels"));
    program.arg(command).stdin(Stdio::null());
    program
}

/// The standard output and the messages of a command that succeeds.
pub(crate) fn succeeds(command: &mut Command) -> [String; 2] {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let [printed, messages] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert!(status.success(), "{command:?}: {messages}");
    [printed, messages]
}

/// The message of a command that fails without a panic. Its standard output is empty.
pub(crate) fn fails(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().expect("the program runs");
    let message = String::from_utf8(stderr).expect("messages are text");
    assert!(!status.success() && !message.contains("panicked"), "{command:?}: {message}");
    message
}
