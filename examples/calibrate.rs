//! Finds, on held-out texts, when a student asks and what its teacher accepts at given rates of help.
//!
//!     cargo run --release --example calibrate -- --student DIR --teacher DIR --data valid.jsonl
//!
//! Help changes a text, and so how often the student asks in the rest of it. Each trial therefore decodes the texts with
//! the teacher in the loop, without enforced budgets. `calibration.json` in the student's folder has the results.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/calibration_bar.rs"]
mod calibration_bar;
#[path = "support/model.rs"]
mod model;
#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use training_wheels::HelpCost;
use training_wheels::prelude::*;

use crate::model::ModelFlags;

/// Finds when a student asks and what its teacher accepts at given rates of help, and writes calibration.json into the
/// student's folder.
///
/// `distill` calibrates its student at the end of a run. Calibrate again for other texts, for other rates, or to let a
/// student ask that has not learned it (--measure max-prob).
#[derive(Parser)]
struct Flags {
    /// The folder of the student. calibration.json is written here, and replaces the one that is there.
    #[arg(long)]
    student: PathBuf,
    /// The folder of the teacher.
    #[arg(long)]
    teacher: PathBuf,
    /// Data that neither model was trained on: JSON lines, a JSON list, CSV or TSV.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    fields: program::DataFlags,
    /// The measure of confidence that the thresholds apply to. `help` needs a distilled student.
    #[arg(long, value_enum, default_value = "help")]
    measure: Measure,
    /// The number of texts to draw from the data.
    #[arg(long, default_value_t = 300)]
    texts: usize,
    /// The rates of help, percent of the tokens, in rising order: 2.5,10 or 2.5%,10%.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, value_parser = rate,
        default_value = "2,5,10,15,20,30,40,50,70,90")]
    rates: Vec<f64>,
    /// The largest number of thresholds to try for each rate.
    #[arg(long, default_value_t = 14, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    max_trials: usize,
    /// The search for a threshold ends when the help used is this close to the rate, percent of the tokens.
    #[arg(long, default_value_t = 0.3)]
    tolerance: f64,
    /// What help costs. At each rate, the teacher may verify the student's tokens if that gives better texts and costs no more
    /// than plain answers.
    #[arg(long, value_enum, default_value = "calls")]
    optimise: Optimise,
    /// Let the teacher only answer, and verify nothing.
    #[arg(long)]
    no_verification: bool,
    /// Print the thresholds without writing calibration.json.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    models: ModelFlags,
}

#[derive(Clone, Copy, ValueEnum)]
enum Measure {
    /// The probability of the most likely token.
    MaxProb,
    /// The probability of the most likely token minus that of the second.
    Margin,
    /// The entropy of the next-token distribution.
    Entropy,
    /// The log-odds of the student's own help token.
    Help,
}

#[derive(Clone, Copy, ValueEnum)]
enum Optimise {
    /// Calls of the teacher, as for a teacher on another machine.
    Calls,
    /// Tokens that the teacher reads.
    Tokens,
    /// Time at batch size 1, from the measured costs of both models on this device.
    Time,
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    if !flags.rates.is_sorted_by(|rate, next| rate < next) {
        let mut rates = flags.rates.clone();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
        return Err(format!("--rates needs rising rates: write {}", rates.join(",")).into());
    }
    let (device, dtype) = flags.models.open()?;
    let student = program::trained_model_folder(&flags.student)?;
    let pair = Pair::open(&student, program::trained_model_folder(&flags.teacher)?, (&device, dtype))?;
    if matches!(flags.measure, Measure::Help) {
        pair.check_help_token()?;
    }
    let confidence = match flags.measure {
        Measure::MaxProb => Confidence::MaxProb,
        Measure::Margin => Confidence::Margin,
        Measure::Entropy => Confidence::Entropy,
        Measure::Help => Confidence::HelpLogOdds,
    };
    let cost = match flags.optimise {
        Optimise::Calls => HelpCost::Calls,
        Optimise::Tokens => HelpCost::Tokens,
        Optimise::Time => HelpCost::Time,
    };
    let mut config = CalibrationConfig::new()
        .with_confidence(confidence)
        .with_cost(cost)
        .with_texts(flags.texts)
        .with_rates(flags.rates.iter().map(|percent| percent / 100.0).collect())
        .with_tolerance(flags.tolerance / 100.0)
        .with_max_trials(flags.max_trials);
    if flags.no_verification {
        config.verifications.clear();
    }
    let data = flags.fields.open(&flags.data)?.shuffled(Seed(1));
    let bar = calibration_bar::new(config.rates.len())?;
    let calibration =
        pair.calibrate(&data, &config, &mut |trial| calibration_bar::show(&bar, trial, |line| println!("{line}")))?;
    if flags.dry_run {
        eprintln!("calibration.json is not written (--dry-run)");
    } else {
        let path = TextModel::save_calibration(&calibration, &student)?;
        eprintln!("wrote {}: the student now asks by these thresholds", path.display());
    }
    Ok(())
}

/// A rate of help in percent, with or without the sign.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end().parse::<f64>();
    number.ok().filter(|percent| *percent > 0.0 && *percent < 100.0).ok_or_else(|| {
        "write percentages between 0% and 100% of the tokens, separated by commas, such as 2.5,10 or 2.5%,10%".into()
    })
}
