//! Says in one line what a package is, with a small student that asks its larger teacher for help.
//!
//!     cargo run --release --example summarize
//!     cargo run --release --example summarize -- --budget 10% "$(apt-cache show ripgrep | sed -n '/^Description/,/^Homepage/p')"
//!     cargo run --release --example summarize -- --sweep
//!
//! What the teacher wrote is green on a terminal, and in [brackets] elsewhere.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;
#[path = "support/writer.rs"]
mod writer;

use std::process::ExitCode;

use clap::Parser;
use training_wheels::embedded;

/// Says in one line what a package is: a small student writes, and asks its teacher where it is unsure.
#[derive(Parser)]
struct Program {
    #[command(flatten)]
    writer: writer::Flags,
}

fn main() -> ExitCode {
    program::main(|| writer::run(&Program::parse().writer, &embedded::SUMMARY))
}
