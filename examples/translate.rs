//! Translates texts: a small student writes, and asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --budget 10% "A fast web browser."
//!
//! The program `wheels` does this with any models (`wheels generate`).
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use clap::Parser;
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

/// Translates texts from English into Italian with the embedded models.
#[derive(Parser)]
struct Flags {
    /// The texts to translate. If absent: short sentences of the test sample.
    texts: Vec<String>,
    /// The most that the teacher may write in each text: "20%" of the tokens, rounded up, or "3 tokens".
    #[arg(long, allow_hyphen_values = true, default_value_t = HelpBudget::percent(20))]
    budget: HelpBudget,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let device = device::open(&flags.device)?.device;
    let pair = Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &device)?;
    let texts = if flags.texts.is_empty() { short_sentences()? } else { flags.texts.clone() };

    let decoded = pair.decoder().decode(&pair.prompts(&texts, flags.budget)?, Seed(7))?;

    let (open, close) = if stdout().is_terminal() { ("\x1b[1;32m", "\x1b[0m") } else { ("[", "]") };
    println!("The teacher wrote the parts {open}like this{close}, and the student wrote the rest.\n");
    for (text, answer) in texts.iter().zip(pair.answers(&decoded)?) {
        println!("{text}\n  {}", answer.marked(open, close));
    }
    println!("\nbudget   {} of each text, enforced\n{}", flags.budget, decoded.stats);
    Ok(())
}

/// Six sentences of 4 to 8 words from the test sample, which suit the small models.
fn short_sentences() -> Result<Vec<String>, Box<dyn Error>> {
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "the sample")?;
    let sources = sample.into_iter().map(|example| example.source);
    let short = |text: &String| text.ends_with('.') && (4..=8).contains(&text.split_whitespace().count());
    Ok(sources.filter(short).take(6).collect())
}
