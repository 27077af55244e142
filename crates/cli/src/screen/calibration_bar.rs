//! The progress bar of a calibration.

use indicatif::ProgressBar;
use training_wheels::CalibrationTrial;

use super::{console, percent};

/// A bar over the rates of a calibration, with the last trial and the time left.
pub(crate) struct CalibrationBar(ProgressBar);

impl CalibrationBar {
    pub(crate) fn new(rates: usize) -> Self {
        Self(console::bar(Some(rates as u64), "{bar:30} {pos}/{len} rates calibrated, {elapsed}<{eta}; {msg}"))
    }

    /// Shows a trial. Returns the line of a result.
    pub(crate) fn show(&self, trial: &CalibrationTrial) -> Option<String> {
        let (bar, CalibrationTrial { rate, threshold, used, chrf, verification, .. }) = (&self.0, trial);
        let (rate, used) = (percent(*rate), 100.0 * used);
        let line = format!("{rate:>5}: threshold {threshold:.4}, uses {used:.1}%, chrF {chrf:.1}, {verification}");
        if bar.message().is_empty() {
            // The bar was made before a run trained.
            bar.reset_elapsed();
            bar.reset_eta();
        }
        if trial.is_result {
            bar.inc(1);
        }
        bar.set_message(line.clone());
        bar.tick();
        if Some(bar.position()) == bar.length() {
            bar.finish_and_clear();
        }
        trial.is_result.then_some(line)
    }
}
