//! What a run writes down: one JSON object a line.

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
    /// The objective, per target token.
    pub loss: f64,
    /// Minus the log-likelihood of the targets, nats per token.
    pub nll: f64,
    /// The norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Target tokens in the step, padding not counted.
    pub tokens: usize,
    /// Seconds that the step took.
    pub seconds: f64,
    /// The score of the validation after this step, where there was one; higher is better.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation: Option<f64>,
    /// The parts of the loss, per target token, and what else the objective and the lessons report, by name.
    #[serde(flatten)]
    pub parts: BTreeMap<String, f64>,
}

/// An append-only file of [`StepReport`]s.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: fs::File,
}

impl MetricsLog {
    /// Opens `path`, keeping the reports of steps up to `step` and dropping what a killed run wrote after its last
    /// checkpoint.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub fn open(path: impl AsRef<Path>, step: usize) -> Result<Self, DistillError> {
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
        let known = |line: &&str| serde_json::from_str::<StepReport>(line).is_ok_and(|report| report.step <= step);
        let kept: String = old.lines().filter(known).flat_map(|line| [line, "\n"]).collect();
        fs::write(&path, kept).map_err(io("write"))?;
        let file = fs::OpenOptions::new().append(true).open(&path).map_err(io("open"))?;
        Ok(Self { path, file })
    }

    /// Appends one report.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub fn write(&mut self, report: &StepReport) -> Result<(), DistillError> {
        let mut line = serde_json::to_string(report).expect("numbers serialise");
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|source| DistillError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
