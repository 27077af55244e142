//! What the tests of the program need.
#![allow(dead_code)]

#[path = "../../../../tests/support/mod.rs"]
mod shared;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
#[allow(unused_imports)]
pub(crate) use shared::{logits, open, pair, sample, short_lines, tiny, unpack, worst};

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

/// Runs a command with an input.
pub(crate) fn run_with(command: &mut Command, input: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = piped.spawn().expect("the program runs");
    // A program that ends before it has read everything closes its input, which is not a failure of the test.
    let _ = run.stdin.take().expect("the input is a pipe").write_all(input);
    run.wait_with_output().expect("the program ends")
}

/// The sources of the answers that a successful `generate --json` prints, and the number of helped tokens in all.
pub(crate) fn answered(output: &Output) -> (Vec<String>, u64) {
    let [text, messages] =
        [&output.stdout, &output.stderr].map(|bytes| std::str::from_utf8(bytes).expect("the output is text"));
    assert!(output.status.success(), "{messages}");
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let stats = lines.pop().unwrap_or_default();
    let helped = stats["help_given"].as_u64().unwrap_or_else(|| panic!("statistics come last: {text}"));
    (lines.iter().map(|answer| answer["source"].as_str().expect("a source").to_owned()).collect(), helped)
}
