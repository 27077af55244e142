//! The progress bar of a calibration.

use std::error::Error;

use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::CalibrationTrial;
use training_wheels::decode::Verification;

use crate::program::{console, percent};

/// A bar over the rates of a calibration, with the last trial and the time left.
pub(crate) fn new(rates: usize) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rates calibrated, {elapsed}<{eta}; {msg}")?;
    Ok(console::draw(ProgressBar::new(rates as u64).with_style(style)))
}

/// Shows a trial of a calibration. `print` writes the line of a result.
pub(crate) fn show(bar: &ProgressBar, trial: &CalibrationTrial, print: fn(&str)) {
    let CalibrationTrial { rate, threshold, used, chrf, verification, .. } = trial;
    let accepts = match verification {
        Verification { tolerance_nats: f64::INFINITY, .. } => String::new(),
        Verification { tolerance_nats, verify_end: false, .. } => format!(", accepts {tolerance_nats} nats"),
        Verification { tolerance_nats, .. } => format!(", accepts {tolerance_nats} nats, verifies ends"),
    };
    let line =
        format!("{:>5}: threshold {threshold:.4}, uses {:.1}%, chrF {chrf:.1}{accepts}", percent(*rate), 100.0 * used);
    if bar.message().is_empty() {
        // The bar was made before a run trained.
        bar.reset_elapsed();
        bar.reset_eta();
    }
    if trial.is_result {
        bar.suspend(|| print(&line));
        bar.inc(1);
    }
    bar.set_message(line);
    bar.tick();
    if Some(bar.position()) == bar.length() {
        bar.finish_and_clear();
    }
}
