//! Translates English into Italian: a small student writes, and asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --sentences < description.txt
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use training_wheels::prelude::*;
use unicode_segmentation::UnicodeSegmentation;
use wheels_embedded::TRANSLATION;

/// Translates English into Italian: a small student writes, and asks its larger teacher for help.
#[derive(Parser)]
struct Flags {
    /// Texts to translate. Without any: the lines of piped standard input, or short sentences of the test sample.
    texts: Vec<String>,
    /// Translate each sentence of a text by itself. Small models read sentences better than paragraphs.
    #[arg(long)]
    sentences: bool,
    /// How much the teacher may write: "20%" of the tokens of each text, or "3 tokens".
    #[arg(long, default_value = "20%")]
    budget: HelpBudget,
    /// The folder of your own student, in place of the embedded one.
    #[arg(long, requires = "teacher")]
    student: Option<PathBuf>,
    /// The folder of your own teacher.
    #[arg(long, requires = "student")]
    teacher: Option<PathBuf>,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Print one JSON object per text, and one with the statistics.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    program::main(|| run(Flags::parse()))
}

fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open(&flags.device)?;
    let pair = match flags.student.zip(flags.teacher) {
        Some((student, teacher)) => Pair::open(student, teacher, &device.device)?,
        None => Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &device.device)?,
    };
    let mut texts = if flags.texts.is_empty() { program::piped_lines()? } else { flags.texts };
    if texts.is_empty() {
        texts = program::short_texts(TRANSLATION.sample, 4..=8, 6)?;
        eprintln!("The first sentences of 4 to 8 words in the test sample: short ones, which these models read well.");
    }
    if flags.sentences {
        texts = texts.iter().flat_map(|text| text.split_sentence_bounds()).map(|text| text.trim().to_owned()).collect();
    }
    let prompts = pair.prompts(&texts, flags.budget)?;
    let decoded = pair.decoder().decode(&prompts, Seed(7))?;
    let answers = pair.answers(&decoded)?;
    if flags.json {
        for answer in &answers {
            println!("{}", serde_json::to_string(answer)?);
        }
        println!("{}", serde_json::to_string(&decoded.stats)?);
        return Ok(());
    }
    let (open, close) = if stdout().is_terminal() { ("\x1b[1;32m", "\x1b[0m") } else { ("[", "]") };
    println!("The teacher wrote what is marked {open}like this{close}, the student the rest.\n");
    for (text, answer) in texts.iter().zip(&answers) {
        let cut = if answer.truncated { " (cut at the length limit)" } else { "" };
        println!("{text}\n  {}{cut}", answer.marked(open, close));
    }
    println!("\nbudget   {}\n{}", flags.budget, decoded.stats);
    Ok(())
}
