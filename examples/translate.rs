//! Translates English into Italian: a small student writes, and asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --sentences < description.txt
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use training_wheels::prelude::*;
use unicode_segmentation::UnicodeSegmentation;
use wheels_embedded::TRANSLATION;

/// Translates English into Italian: a small student writes, and asks its larger teacher for help.
#[derive(Parser)]
struct Flags {
    /// The texts to translate. If absent: the lines of piped standard input, or short sentences of the test sample.
    texts: Vec<String>,
    /// Translate each sentence of a text by itself: small models translate sentences better than paragraphs.
    #[arg(long)]
    sentences: bool,
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
        None => Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &device.device)?,
    };
    let mut texts = if flags.texts.is_empty() { program::piped_lines()? } else { flags.texts };
    if texts.is_empty() {
        texts = program::short_texts(TRANSLATION.sample, 4..=8, 6)?;
        eprintln!("No text given. These are sentences of 4 to 8 words from the test sample, which suit small models.");
    }
    if flags.sentences {
        texts = texts.iter().flat_map(|text| text.split_sentence_bounds()).map(|text| text.trim().to_owned()).collect();
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
