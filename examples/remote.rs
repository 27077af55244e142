//! A student writes here, and asks a teacher behind an OpenAI-compatible server, such as vLLM or `wheels serve`.
//!
//!     cargo run --release --example remote -- --student DIR --url http://localhost:8000/v1 --model NAME "A fast web browser."
//!
//! `crates/remote/README.md` says what the server must do.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use training_wheels::decode::BudgetUnit;
use training_wheels::prelude::*;
use training_wheels::remote::SpendingCap;

/// Writes texts with the help of a teacher behind a server.
#[derive(Parser)]
struct Flags {
    /// The texts that the student reads.
    #[arg(required = true)]
    texts: Vec<String>,
    /// The folder of the student, or a model of the hub. It needs a help token or a calibration.
    #[arg(long)]
    student: PathBuf,
    /// The address of the server, up to the version of its API.
    #[arg(long)]
    url: String,
    /// The name of the teacher at the server.
    #[arg(long)]
    model: String,
    /// The environment variable with the API key. If absent: no key is sent.
    #[arg(long)]
    key_env: Option<String>,
    /// The largest number of tokens that one call brings.
    #[arg(long, default_value_t = 1)]
    span: usize,
    /// The largest number of tokens that all calls together may use.
    #[arg(long)]
    max_tokens: Option<u64>,
    /// The most help for each text: "20%" or "3 tokens", which are calls if --count-calls.
    #[arg(long, default_value_t = HelpBudget::percent(20))]
    budget: HelpBudget,
    /// Let the budget count calls instead of tokens.
    #[arg(long)]
    count_calls: bool,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let student = TextModel::open(&flags.student, &device::open(&flags.device)?.device)?;
    let config = RemoteConfig::new(flags.url.clone(), flags.model.clone())
        .with_api_key_env(flags.key_env.clone())
        .with_span(flags.span)
        .with_cap(SpendingCap::new().with_tokens(flags.max_tokens));
    let teacher = RemoteTeacher::connect(config, &student.tokenizer)?;

    let unit = if flags.count_calls { BudgetUnit::Calls } else { BudgetUnit::Tokens };
    let decoder = student.decoder_of(student.policy(), &teacher).with_budget_unit(unit);
    let prompts = flags.texts.iter().map(|text| student.prompt(text, flags.budget)).collect::<Result<Vec<_>, _>>()?;
    for answer in student.answers(&decoder.decode(&prompts, Seed(0))?)? {
        println!("{}", answer.marked("[", "]"));
        answer.failures.iter().for_each(|failure| println!("  finished without the teacher: {}", failure.reason));
    }
    println!("\n{}", teacher.spending());
    Ok(())
}
