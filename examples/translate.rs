//! Translates English into Italian with a small student that asks its larger teacher for help.
//!
//!     cargo run --release --example translate
//!     cargo run --release --example translate -- --budget "3 tokens" "A fast and lightweight web browser."
//!     cargo run --release --example translate -- --sweep
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

/// Translates English into Italian: a small student writes, and asks its teacher where it is unsure.
#[derive(Parser)]
struct Program {
    #[command(flatten)]
    writer: writer::Flags,
}

fn main() -> ExitCode {
    program::main(|| writer::run(&Program::parse().writer, &embedded::TRANSLATION))
}
