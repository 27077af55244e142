//! Summarises package descriptions in one line: a small student writes, and asks its larger teacher for help.
//!
//!     cargo run --release --example summarize
//!     cargo run --release --example summarize -- --budget 10% "ripgrep searches folders for a pattern."
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use training_wheels::prelude::*;
use wheels_embedded::SUMMARY;

/// Summarises package descriptions in one line: a small student writes, and asks its larger teacher for help.
#[derive(Parser)]
struct Flags {
    /// The texts to summarise. If absent: the lines of piped standard input, or short texts of the test sample.
    texts: Vec<String>,
    /// The most that the teacher may write in each text: "20%" of the tokens, or "3 tokens".
    #[arg(long, default_value = "20%")]
    budget: HelpBudget,
    /// The folder of your own student, instead of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// The folder of your own teacher, instead of the embedded one.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Print JSON: one object for each text, and then one with the statistics.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    program::main(|| run(Flags::parse()))
}

fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open(&flags.device)?;
    let pair = match flags.student.zip(flags.teacher) {
        Some((student, teacher)) => {
            Pair::open(program::model_folder(&student)?, program::model_folder(&teacher)?, &device.device)?
        }
        None => Pair::from_files(SUMMARY.student, SUMMARY.teacher, &device.device)?,
    };
    let mut texts = if flags.texts.is_empty() { program::piped_lines()? } else { flags.texts };
    if texts.is_empty() {
        texts = program::short_texts(SUMMARY.sample, 20..=40, 4)?;
        eprintln!("No text given. These are texts of 20 to 40 words from the test sample, which suit small models.");
    }
    let prompts = pair.prompts(&texts, flags.budget)?;
    let decoded = pair.decoder().decode(&prompts, Seed(7))?;
    let answers = pair.answers(&decoded)?;
    if flags.json {
        return answers::print_json(&answers, &decoded.stats);
    }
    answers::print_marked(&texts, &answers, flags.budget, &decoded.stats);
    Ok(())
}
