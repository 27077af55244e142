//! What a user sees: results on standard output, messages and progress bars on standard error.

pub(crate) mod budget_table;
pub(crate) mod calibration_bar;
pub(crate) mod console;
mod live_text;
mod output;
pub(crate) mod training;
pub(crate) mod work_bar;

pub(crate) use live_text::{LiveText, note, teacher_marks};
pub(crate) use output::Output;

/// A fraction as a percentage with as many decimals as it needs, at most two.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{}%", (10_000.0 * fraction).round() / 100.0)
}
