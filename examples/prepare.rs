//! Makes the corpora of this project again from the package lists that apt keeps.
//!
//!     apt-get update -o Acquire::Languages=en,it      # once, as root, on Debian bookworm
//!     cargo run --release --example prepare -- --out data --language it
//!
//! Writes English sentences with their translations (`debian-en-it.{train,valid,test}.jsonl`), and English texts with
//! their summaries (`debian-summary-en.*.jsonl`), one JSON object with `source` and `target` a line.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use training_wheels::text::{DebianLists, Splits, TextError};

/// Makes corpora from Debian's package descriptions and their translations.
#[derive(Parser)]
struct Args {
    /// The folder to write into; it is made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// A language to pair with English, by apt's code (it, de, pt_BR); may be given several times.
    #[arg(long, value_name = "CODE", default_value = "it")]
    language: Vec<String>,

    /// The folder of apt's lists.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/apt/lists")]
    lists: PathBuf,

    /// The release whose lists to read.
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    suite: String,

    /// The architecture of the package list.
    #[arg(long, value_name = "NAME", default_value = "amd64")]
    architecture: String,
}

fn main() -> ExitCode {
    env_logger::init();
    match prepare(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(args: &Args) -> Result<(), TextError> {
    let lists =
        DebianLists { folder: args.lists.clone(), suite: args.suite.clone(), architecture: args.architecture.clone() };
    let archive = lists.open()?;
    println!("{} packages, {} English descriptions", archive.packages(), archive.descriptions());
    for language in &args.language {
        let splits = archive.translations(language)?;
        write(&splits, args, &format!("debian-en-{language}"))?;
    }
    write(&archive.summaries(), args, "debian-summary-en")
}

fn write(splits: &Splits, args: &Args, name: &str) -> Result<(), TextError> {
    let paths = splits.save(&args.out, name)?;
    for ((_, dataset), path) in splits.parts().into_iter().zip(paths) {
        println!("{:>8} examples in {}", dataset.len(), path.display());
    }
    Ok(())
}
