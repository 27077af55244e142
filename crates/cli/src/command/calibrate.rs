//! `wheels calibrate`: when a student asks, and what its teacher accepts, at given rates of help.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;
use training_wheels::decode::{Calibration, HelpForecast};
use training_wheels::prelude::*;
use training_wheels::{CalibrationTrial, HelpCost};
use wheels_decode::ForecastAccuracy;

use super::Outcome;
use crate::command_line::App;
use crate::flags::{DataFlags, ModelFlags, RemoteFlags, Unit, at_least_1};
use crate::run;
use crate::screen::calibration_bar::CalibrationBar;
use crate::screen::console;

const EXAMPLES: &str = "\
Examples:
  wheels calibrate --student distilled --teacher teacher --data valid.jsonl
  wheels calibrate --student small --teacher large --data valid.jsonl --measure max-prob --rates 5,10,20
  wheels calibrate --student distilled --teacher http://localhost:8000/v1 --teacher-model large --data valid.jsonl";

/// Finds when a student asks and what its teacher accepts at given rates of help.
///
/// The results are written into the student's folder as calibration.json.
///
/// `distill` calibrates its student at the end of a run. Calibrate again for other texts, for other rates, or to let a
/// student ask that has not learned it (--measure max-prob).
///
/// Help changes a text, and so how often the student asks in the rest of it. Each trial therefore decodes the texts with
/// the teacher in the loop, without enforced budgets.
///
/// With a teacher behind a server, that is many calls: a rate takes 5 to 30 trials, and each decodes all texts with help. Give few
/// --texts and --rates, and a cap.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The folder of the student. calibration.json is written here, and replaces the one that is there.
    #[arg(long, value_name = "DIR")]
    student: PathBuf,
    /// The teacher: a folder, a model of the hub, or the address of a server with OpenAI's API.
    #[arg(long, value_name = "MODEL")]
    teacher: PathBuf,
    /// Data that neither model was trained on: JSON lines, a JSON list, CSV or TSV.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    fields: DataFlags,
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
    #[arg(long, default_value_t = 14, value_parser = at_least_1())]
    max_trials: usize,
    /// The search for a threshold ends when the help used is this close to the rate, percent of the tokens.
    #[arg(long, default_value_t = 0.3)]
    tolerance: f64,
    /// What help costs. At each rate, the teacher may verify the student's tokens if that gives better texts and costs no more
    /// than plain answers.
    #[arg(long, value_enum, default_value = "calls")]
    optimise: Optimise,
    /// What the rates count.
    #[arg(long, value_enum, default_value = "tokens")]
    budget_unit: Unit,
    /// Let the teacher only answer, and verify nothing.
    #[arg(long)]
    no_verification: bool,
    /// Print the thresholds without writing calibration.json.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: RemoteFlags,
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

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    if !flags.rates.is_sorted_by(|rate, next| rate < next) {
        let mut rates = flags.rates.clone();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
        return Err(format!("--rates needs rising rates: write {}", rates.join(",")).into());
    }
    if !flags.dry_run && !flags.student.is_dir() {
        let student = flags.student.display();
        return Err(format!("{student} is no folder, and calibration.json is written into it: give a folder").into());
    }
    flags.remote.check(Some(&flags.teacher))?;
    let (device, dtype) = flags.models.open()?;
    let folder = run::trained_model_folder(&flags.student)?;
    let student = TextModel::open(&folder, (&device, dtype))?;
    let remote = flags.remote.connect(Some(&flags.teacher), &student)?;
    let pair = match remote {
        Some(_) => Pair::with_itself(student)?,
        None => Pair::new(student, run::open_model(&flags.teacher, (&device, dtype))?)?,
    };
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
    let verifications = if flags.no_verification { vec![] } else { cost.verifications() };
    let config = CalibrationConfig::new()
        .with_confidence(confidence)
        .with_cost(cost)
        .with_verifications(verifications)
        .with_budget_unit(flags.budget_unit.into())
        .with_texts(flags.texts)
        .with_rates(flags.rates.iter().map(|percent| percent / 100.0).collect())
        .with_tolerance(flags.tolerance / 100.0)
        .with_max_trials(flags.max_trials);
    let data = flags.fields.open(&flags.data)?.shuffled(Seed(1));
    let bar = CalibrationBar::new(config.rates.len());
    let mut printed = Ok(());
    let mut used = Vec::with_capacity(config.rates.len());
    let mut on_trial = |trial: &CalibrationTrial| {
        if let Some(line) = bar.show(trial) {
            let CalibrationTrial { rate, threshold, verification, used: help, chrf, .. } = trial;
            used.push(json!({
                "rate": rate, "threshold": threshold, "verification": verification, "used": help, "chrf": chrf,
            }));
            if printed.is_ok() {
                printed = app.output.line(line);
            }
        }
    };
    let calibration = match &remote {
        Some(remote) => pair.student.calibrate_with(remote, &data, &config, &mut on_trial)?,
        None => pair.calibrate(&data, &config, &mut on_trial)?,
    };
    if printed.is_ok() {
        printed = print_forecasts(&calibration, app);
    }
    let mut file = None;
    if flags.dry_run {
        console::say(format_args!("calibration.json is not written (--dry-run)"));
    } else {
        let path = TextModel::save_calibration(&calibration, &folder)?;
        console::say(format_args!("wrote {}: the student now asks by these thresholds", path.display()));
        file = Some(path);
    }
    if let Some(remote) = &remote {
        console::say(format_args!("the server was asked for {}", remote.spending()));
    }
    printed?;
    let forecast = |forecast: &HelpForecast| json!({ "rate": forecast.rate, "accuracy": forecast.accuracy });
    let forecasts: Vec<_> = calibration.forecasts().iter().map(forecast).collect();
    app.output.json(&json!({
        "file": file, "confidence": calibration.confidence, "points": used, "forecasts": forecasts,
    }))?;
    Ok(())
}

/// Prints how well the help used in a text can be forecast.
fn print_forecasts(calibration: &Calibration, app: &App) -> io::Result<()> {
    let mut is_first = true;
    for forecast in calibration.forecasts() {
        let Some(ForecastAccuracy { error, error_by_length, gain: [low, high], correlation }) = forecast.accuracy
        else {
            continue;
        };
        if std::mem::take(&mut is_first) {
            app.output
                .line("forecasts of the help used in a text, on texts that they were not fitted to (mean error):")?;
        }
        let percent = 100.0 * forecast.rate;
        app.output.line(format_args!(
            "{percent:>4.0}%: error {error:.2}, r {correlation:.2}; without V_C {error_by_length:.2} (95% interval of the \
             difference {low:+.2} to {high:+.2})"
        ))?;
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
