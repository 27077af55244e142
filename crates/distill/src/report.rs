//! The reports of a run, and the file that holds them: one JSON object per line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::DistillError;

/// The numbers of one optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step, counted from 1.
    pub step: usize,
    /// The number of steps of the whole run. 0 in reports of earlier versions.
    #[serde(default)]
    pub steps: usize,
    /// The value of the objective, per target token.
    pub loss: f64,
    /// Minus the log-likelihood of the targets, nats per token.
    pub nll: f64,
    /// The norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Target tokens in the step, without padding.
    pub tokens: usize,
    /// The duration of the step without validation, seconds.
    pub seconds: f64,
    /// The validation score after this step; higher is better. None if there was no validation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation: Option<f64>,
    /// The parts of the loss, per target token, and other numbers of the objective and of the batch source, by name.
    /// The docs of the [`objective`](crate::objective#metrics) module explain them.
    #[serde(flatten)]
    pub parts: BTreeMap<String, f64>,
}

/// How far a run is with work between its steps or after them, for a progress display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkProgress {
    /// What is done, such as "price search".
    pub work: &'static str,
    /// How much of it is done. It can grow by more than 1, and the last call has `total`.
    pub done: usize,
    /// How much there is to do at most.
    pub total: usize,
}

/// An append-only file of [`StepReport`]s.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: fs::File,
}

impl MetricsLog {
    /// Opens the file at `path` and keeps the reports up to `step`. It drops later ones, which a killed run wrote after
    /// its last checkpoint.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub(crate) fn open(path: impl AsRef<Path>, step: usize) -> Result<Self, DistillError> {
        let path = path.as_ref().to_path_buf();
        let io = |action| {
            let path = path.clone();
            move |source| DistillError::Io { action, path, source }
        };
        let old = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("read")(error)),
        };
        let mut kept = String::new();
        for line in old.lines() {
            if serde_json::from_str::<StepReport>(line).is_ok_and(|report| report.step <= step) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        fs::write(&path, kept).map_err(io("write"))?;
        let file = fs::OpenOptions::new().append(true).open(&path).map_err(io("open"))?;
        Ok(Self { path, file })
    }

    /// Appends one report.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub(crate) fn write(&mut self, report: &StepReport) -> Result<(), DistillError> {
        let mut line = serde_json::to_string(report).expect("numbers serialise");
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|source| DistillError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
