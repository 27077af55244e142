//! Writes a model's texts for the sources of a dataset, as data for sequence-level distillation.
//!
//!     cargo run --release --example texts -- --model teacher --data train.jsonl --out teacher-texts.jsonl
//!     cargo run --release --example train -- --init student --data teacher-texts.jsonl --valid valid.jsonl --out trained
//!
//! The student may have another tokenizer than the teacher. The same command again goes on where it stopped.
#![allow(clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::prelude::*;
use training_wheels::text::Example;

/// Writes the texts of a model for the sources of a dataset.
#[derive(Parser)]
struct Flags {
    /// The folder of the model.
    #[arg(long)]
    model: PathBuf,
    /// The data: JSON lines, a JSON list, CSV or TSV. The targets are not used.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    fields: program::DataFlags,
    /// The file for the texts: JSON lines with `source` and `target`. If it exists, the command goes on after its last
    /// text.
    #[arg(long)]
    out: PathBuf,
    /// Write texts for this many sources only.
    #[arg(long)]
    limit: Option<usize>,
    /// The number of texts that are written between two writes of the file.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// The seed of texts that are sampled (`do_sample` in generation_config.json).
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let device = device::open(&flags.device)?.device;
    let model = TextModel::open(program::trained_model_folder(&flags.model)?, &device)?;
    let data = flags.fields.open(&flags.data)?.take(flags.limit.unwrap_or(usize::MAX));
    // A source that cannot become a prompt is an error now, and not after hours.
    for (index, example) in data.iter().enumerate() {
        let prompt = model.template.prompt_of(&model.tokenizer, example, HelpBudget::percent(0));
        prompt.map_err(|error| format!("example {}: {error}", index + 1))?;
    }
    let mut texts: Vec<Example> = match std::fs::metadata(&flags.out) {
        Ok(file) if file.len() > 0 => Dataset::open(&flags.out)?.into_iter().collect(),
        _ => vec![],
    };
    let done = done(&data, &texts)
        .ok_or_else(|| format!("{} has texts for other data: give another --out", flags.out.display()))?;
    let rest = &data.examples()[done..];
    let bar = ProgressBar::new(data.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} texts, {per_sec}, {eta} left")?);
    bar.set_position(done as u64);
    bar.reset_eta();
    for (index, chunk) in rest.chunks(flags.save_every as usize).enumerate() {
        let seed = Seed(flags.seed).nth((done + index * flags.save_every as usize) as u64);
        texts.extend(model.write_texts(chunk, seed)?);
        texts.iter().cloned().collect::<Dataset>().save_jsonl(&flags.out)?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    eprintln!("{} texts for {} sources in {}", texts.len(), data.len(), flags.out.display());
    Ok(())
}

/// The number of examples up to the last one that has a text. The texts are in the order of the data, and an example for
/// which the model wrote nothing has none. None if a text belongs to no example.
fn done(data: &Dataset, texts: &[Example]) -> Option<usize> {
    let mut done = 0;
    for text in texts {
        let same = |example: &Example| (&example.source, &example.turns) == (&text.source, &text.turns);
        done += 1 + data.examples()[done..].iter().position(same)?;
    }
    Some(done)
}
