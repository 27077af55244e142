//! Summarises package descriptions in one line: a small student writes, and asks its larger teacher for help.
//!
//!     cargo run --release --example summarize
//!     cargo run --release --example summarize -- --budget 10% "ripgrep searches folders for a pattern."
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/batching.rs"]
mod batching;
#[path = "support/model.rs"]
mod model;
#[path = "support/program.rs"]
mod program;

use std::process::ExitCode;

use clap::Parser;
use wheels_embedded::SUMMARY;

/// Summarises texts in one line: a small student writes, and asks its larger teacher for help.
///
/// The embedded models summarise English package descriptions. Your own models do what they were trained for.
#[derive(Parser)]
struct Flags {
    /// The texts to summarise. If absent: the lines of piped standard input; or, for the embedded models, short texts of the
    /// test sample.
    texts: Vec<String>,
    #[command(flatten)]
    answers: answers::AnswerFlags,
}

fn main() -> ExitCode {
    program::main(run)
}

fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let mut texts = if flags.texts.is_empty() { program::piped_lines()? } else { flags.texts };
    if texts.is_empty() {
        if !flags.answers.is_embedded() {
            return Err("no text given: write texts after the flags, or pipe lines into the program".into());
        }
        texts = program::short_texts(SUMMARY.sample, 20..=40, 4)?;
        eprintln!("No text given. These are texts of 20 to 40 words from the test sample, which suit small models.");
    }
    flags.answers.answer(&texts, &SUMMARY)
}
