//! Finds the thresholds at which a student asks its teacher at given rates, on held-out texts.
//!
//!     cargo run --release --example calibrate -- --student DIR --teacher DIR --data valid.jsonl
//!
//! Rates shift once help is given, so each threshold is found by bisection with the teacher in the loop and no ledger.
//! The thresholds go into `asking.json` in the student's folder.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use training_wheels::decode::{Bisection, Calibration, Enforcement, Point};
use training_wheels::eval::{Evaluation, Scores};
use training_wheels::prelude::*;
use training_wheels::text::Dataset;

/// Finds the thresholds at which a student asks at given rates.
#[derive(Parser)]
struct Flags {
    /// The student's folder.
    #[arg(long)]
    student: PathBuf,
    /// The teacher's folder.
    #[arg(long)]
    teacher: PathBuf,
    /// JSON lines that neither model was trained on.
    #[arg(long)]
    data: PathBuf,
    /// What is measured.
    #[arg(long, value_enum, default_value = "max-prob")]
    measure: Confidence,
    /// Texts of the data that are used.
    #[arg(long, default_value_t = 300)]
    texts: usize,
    /// Rates of help, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 70.0, 90.0])]
    rates: Vec<f64>,
    /// Most bisection steps for each rate.
    #[arg(long, default_value_t = 14, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    bisections: usize,
    /// How near to a rate is near enough, in percent of the tokens.
    #[arg(long, default_value_t = 0.3)]
    tolerance: f64,
    /// Only print the thresholds and the quality at each rate; write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Device.
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

#[derive(Clone, Copy, ValueEnum)]
enum Confidence {
    MaxProb,
    Margin,
    Entropy,
    /// The log-odds of the student's own help token.
    Help,
}

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    let device = device::open(&flags.device)?.device;
    let models = Models::from_dirs(&flags.student, &flags.teacher, &device)?;
    let student = &models.student;
    let measure = match flags.measure {
        Confidence::MaxProb => Measure::MaxProb,
        Confidence::Margin => Measure::Margin,
        Confidence::Entropy => Measure::Entropy,
        Confidence::Help => Measure::HelpLogOdds,
    };
    let bisection = Bisection {
        tolerance: flags.tolerance / 100.0,
        guesses: flags.bisections,
        ..measure.bisection(student.model.spec().vocab_size)
    };
    let data = Dataset::from_jsonl(&flags.data)?.shuffled(Seed(1)).take(flags.texts);
    let evaluation = Evaluation::new(&data, &student.tokenizer, &student.format);

    let mut points = Vec::new();
    for rate in flags.rates.iter().map(|percent| percent / 100.0) {
        // A student that reads its budget is told the one that it is calibrated for.
        let prompts = evaluation.prompts(HelpBudget::percent((100.0 * rate).round() as u8))?;
        let (threshold, outcome) = bisection.search(rate, |threshold| {
            let decoder = models.asking(Asking::Confidence { measure, threshold }).enforcement(Enforcement::Off);
            let outcome = evaluation.run(&decoder, &prompts, Seed(7))?;
            Ok::<_, Error>((outcome.stats.asked_rate(), outcome))
        })?;
        let Scores { bleu, chrf, rouge_l, .. } = evaluation.judge(&outcome).scores();
        println!(
            "{:>4.0}%: threshold {threshold:.4}, asks {:.1}%, BLEU {bleu:.2}, chrF {chrf:.2}, ROUGE-L {rouge_l:.2}",
            100.0 * rate,
            100.0 * outcome.stats.asked_rate(),
        );
        points.push(Point { rate, threshold });
    }
    let calibration = Calibration::new(measure, points)?;
    if !flags.dry_run {
        Bundle::save_calibration(&calibration, &flags.student)?;
    }
    Ok(())
}
