//! What the examples share: logging, error messages, and the texts that they read.

use std::error::Error;
use std::io::{BufRead, IsTerminal, stdin};
use std::ops::RangeInclusive;
use std::process::ExitCode;

use training_wheels::text::Dataset;

/// Runs an example with logging on, and prints an error with its causes in one line.
pub(crate) fn main(run: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    // wgpu logs an error for each driver that it skips. RUST_LOG=error shows them.
    let filter = "warn,training_wheels=info,wgpu_hal=off";
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter)).format_timestamp(None).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", training_wheels::report(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The lines of standard input that are not blank. Empty if standard input is a terminal.
#[allow(dead_code)]
pub(crate) fn piped_lines() -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    if !stdin().is_terminal() {
        for (index, line) in stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| format!("standard input, line {}: {error}", index + 1))?;
            if !line.trim().is_empty() {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

/// The first `count` sources of a sample (JSON lines) that end in a full stop and have a number of words in `words`.
#[allow(dead_code)]
pub(crate) fn short_texts(
    sample: &str,
    words: RangeInclusive<usize>,
    count: usize,
) -> Result<Vec<String>, Box<dyn Error>> {
    let sample = Dataset::from_reader(sample.as_bytes(), "the sample")?;
    let sources = sample.into_iter().map(|example| example.source);
    let whole = |text: &String| text.ends_with('.') && words.contains(&text.split_whitespace().count());
    Ok(sources.filter(whole).take(count).collect())
}
