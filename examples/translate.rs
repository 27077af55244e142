//! Translates texts: a small student writes, and asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --sentences < description.txt
//!     cargo run --release --example translate -- --student distilled --teacher teacher --budget 10% "A fast web browser."
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
use unicode_segmentation::UnicodeSegmentation;
use wheels_embedded::TRANSLATION;

/// Translates texts: a small student writes, and asks its larger teacher for help.
///
/// The embedded models translate from English into Italian. Your own models do what they were trained for.
#[derive(Parser)]
struct Flags {
    /// The texts to translate. If absent: the lines of piped standard input; or, for the embedded models, short sentences of
    /// the test sample.
    texts: Vec<String>,
    /// Translate each sentence of a text by itself: small models translate sentences better than paragraphs.
    #[arg(long)]
    sentences: bool,
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
        texts = program::short_texts(TRANSLATION.sample, 4..=8, 6)?;
        eprintln!("No text given. These are sentences of 4 to 8 words from the test sample, which suit small models.");
    }
    if flags.sentences {
        texts = texts.iter().flat_map(|text| text.split_sentence_bounds()).map(|text| text.trim().to_owned()).collect();
    }
    flags.answers.answer(&texts, &TRANSLATION)
}
