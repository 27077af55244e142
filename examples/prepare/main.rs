//! Makes the corpora of this project from apt's package lists.
//!
//!     apt-get update -o Acquire::Languages=en,it      # once, as root, on Debian bookworm
//!     cargo run --release --example prepare -- --out data --language it
//!
//! It writes English texts with their translations (`debian-en-it.{train,valid,test}.jsonl`) and with their summaries
//! (`debian-summary-en.{train,valid,test}.jsonl`). Each line is a JSON object with `source` and `target`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod debian;
#[path = "../support/program.rs"]
mod program;
mod splits;
mod stanza;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use debian::DebianLists;

/// Makes corpora from Debian's package descriptions and their translations.
#[derive(Parser)]
struct Flags {
    /// The folder for the corpora. It is created if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The language to pair with English, as apt's code (it, de, pt_BR). Repeat the flag for several languages.
    #[arg(long, value_name = "CODE", default_value = "it")]
    language: Vec<String>,
    #[command(flatten)]
    lists: DebianLists,
}

fn main() -> ExitCode {
    program::main(run)
}

fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    let archive = flags.lists.open()?;
    println!("{} packages, {} English descriptions", archive.packages(), archive.descriptions());
    let mut corpora = Vec::new();
    for language in &flags.language {
        corpora.push((format!("debian-en-{language}"), archive.translations(language)?));
    }
    corpora.push(("debian-summary-en".to_owned(), archive.summaries()));
    for (name, splits) in &corpora {
        let paths = splits.save(&flags.out, name)?;
        for ((_, dataset), path) in splits.parts().into_iter().zip(paths) {
            println!("{:>8} examples in {}", dataset.len(), path.display());
        }
    }
    Ok(())
}
