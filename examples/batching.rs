//! Measures the throughput of decoding with help against the settings that batch the help: `--help-batch` and `--refill`.
//!
//!     cargo run --release --example batching
//!
//! The output is a table of ratios for each budget. All settings run in turn, several times, and each is compared with the
//! first one of the same turn, so that other work on the machine changes the ratios little.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use training_wheels::decode::{DecodeStats, Enforcement};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

/// Measures decoding of the embedded translation models with several settings of `--help-batch` and `--refill`.
#[derive(Parser)]
struct Flags {
    /// Budgets, percent of the tokens.
    #[arg(long, value_delimiter = ',', default_value = "20,50", value_parser = clap::value_parser!(u8).range(1..=100))]
    budgets: Vec<u8>,
    /// When the student asks.
    #[arg(long, value_enum, default_value = "random")]
    rule: Rule,
    /// The values of `--help-batch`. The first one, without refills, is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_value = "1,4,8,16,32",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    help_batches: Vec<usize>,
    /// The values of `--refill`. Decoding without refills is always measured.
    #[arg(long, value_delimiter = ',', default_value = "8",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    refills: Vec<usize>,
    /// The number of texts that are decoded together.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    batch: usize,
    /// Use only this many texts of the embedded sample.
    #[arg(long, default_value_t = 300)]
    limit: usize,
    /// The number of runs of each setting; the median of the ratios is printed.
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    repeats: usize,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// The format of the models' matrices in memory: f32, f16, bf16 or, on CPUs, int8.
    #[arg(long, default_value_t)]
    dtype: WeightFormat,
}

/// When texts wait for help together, and when new ones begin.
#[derive(Clone, Copy)]
struct Setting {
    help_batch: usize,
    refill: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Rule {
    /// At random, at the rate of the budget.
    Random,
    /// By its help token, with the calibrated threshold of the budget.
    Calibrated,
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let device = device::open(&flags.device)?.device;
    let pair = Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, (&device, flags.dtype))?;
    let data = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "the embedded sample")?.take(flags.limit);
    let texts: Vec<&str> = data.iter().map(|example| example.source.as_str()).collect();
    let mut settings = Vec::new();
    for refill in std::iter::once(None).chain(flags.refills.iter().copied().map(Some)) {
        settings.extend(flags.help_batches.iter().map(|&help_batch| Setting { help_batch, refill }));
    }
    for &percent in &flags.budgets {
        let budget = HelpBudget::percent(percent);
        let prompts = pair.prompts(&texts, budget)?;
        let policy = match flags.rule {
            Rule::Random => pair.policy().with_help_rule(HelpRule::Random(f64::from(percent) / 100.0)),
            Rule::Calibrated => pair.policy(),
        };
        let mut decoders = Vec::with_capacity(settings.len());
        for setting in &settings {
            let decoder = pair.decoder_with(policy).with_batch_size(flags.batch).with_enforcement(Enforcement::Off);
            let decoder = decoder.with_help_batch(setting.help_batch);
            decoders.push(match setting.refill {
                Some(rows) => decoder.with_refill(rows),
                None => decoder,
            });
        }
        measure(flags, budget, &decoders, &settings, &prompts)?;
    }
    Ok(())
}

/// Runs all decoders in turn, and prints a table for one budget.
fn measure(
    flags: &Flags,
    budget: HelpBudget,
    decoders: &[BudgetedDecoder<'_>],
    settings: &[Setting],
    prompts: &[Prompt],
) -> Result<(), Box<dyn Error>> {
    // The first turn warms up. Its texts are compared: rounding can change a near tie.
    let mut first = Vec::with_capacity(decoders.len());
    for decoder in decoders {
        first.push(decoder.decode(prompts, Seed(7))?);
    }
    let mut ratios = vec![Vec::with_capacity(flags.repeats); decoders.len()];
    for _ in 0..flags.repeats {
        let mut speeds = Vec::with_capacity(decoders.len());
        for decoder in decoders {
            speeds.push(decoder.decode(prompts, Seed(7))?.stats.tokens_per_second());
        }
        for (ratios, speed) in ratios.iter_mut().zip(&speeds) {
            ratios.push(speed / speeds[0]);
        }
    }
    println!("Budget {budget}, help used {:.1}%:\n", 100.0 * first[0].stats.help_rate());
    println!(
        "| Help batch | Refill | Rows per teacher pass | Rows per student pass | Tokens/s, relative | Texts that differ |"
    );
    println!("|---|---|---|---|---|---|");
    for ((setting, decoded), ratios) in settings.iter().zip(&first).zip(&mut ratios) {
        let DecodeStats { student, teacher, .. } = decoded.stats;
        let [of_teacher, of_student] = [teacher, student].map(|used| used.calls as f64 / used.forwards.max(1) as f64);
        let pairs = decoded.trajectories.iter().zip(&first[0].trajectories);
        let differ = pairs.filter(|(text, reference)| text.tokens() != reference.tokens()).count();
        ratios.sort_by(f64::total_cmp);
        println!(
            "| {} | {} | {of_teacher:.1} | {of_student:.1} | {:.2} | {differ} |",
            setting.help_batch,
            setting.refill.map_or("none".to_owned(), |rows| rows.to_string()),
            ratios[ratios.len() / 2],
        );
    }
    println!();
    Ok(())
}
