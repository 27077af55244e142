//! burn-train's terminal dashboard for a run of a [`Trainer`](crate::Trainer).

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;

use burn_train::Interrupter;
use burn_train::logger::TrainingProgressLogger;
use burn_train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};

use crate::StepReport;

/// The terminal dashboard of burn-train. It shows the numbers of the [`StepReport`]s as curves, the progress and the
/// time left, and has a key to stop the run. It fills the terminal until it is dropped.
pub struct Dashboard {
    renderer: TuiMetricsRendererWrapper,
    interrupter: Interrupter,
    known: HashSet<String>,
    score: String,
}

impl Dashboard {
    /// A dashboard for a run of `steps` steps. `score` is the name of the validation score.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if standard output is not a terminal.
    pub fn new(steps: usize, score: &str) -> io::Result<Self> {
        if !io::stdout().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a dashboard needs a terminal as standard output"));
        }
        let interrupter = Interrupter::new();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        // The dashboard counts epochs and steps. A run is one epoch.
        renderer.start(1, 0, Some(steps), None);
        renderer.start_split("train", steps);
        Ok(Self { renderer, interrupter, known: HashSet::new(), score: score.into() })
    }

    /// Shows a step. Returns [`ControlFlow::Break`] if the user asked to stop.
    pub fn show(&mut self, report: &StepReport) -> ControlFlow<()> {
        let own = [
            ("loss", report.loss),
            ("nll", report.nll),
            ("gradient norm", report.grad_norm),
            ("learning rate", report.learning_rate),
            ("tokens per second", report.tokens as f64 / report.seconds),
        ];
        let parts = report.parts.iter().map(|(name, &value)| (name.as_str(), value));
        for (name, value) in own.into_iter().chain(parts) {
            let state = self.state(name, value);
            self.renderer.update_train(state);
        }
        if let Some(score) = report.validation {
            let state = self.state(&self.score.clone(), score);
            self.renderer.update_valid(state);
        }
        self.renderer.update_split(report.step);
        if self.interrupter.should_stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn state(&mut self, name: &str, value: f64) -> MetricState {
        let metric_id = MetricId::new(name.to_owned().into());
        if self.known.insert(name.to_owned()) {
            let higher_is_better = name == self.score;
            self.renderer.register_metric(MetricDefinition {
                metric_id: metric_id.clone(),
                name: name.to_owned().into(),
                description: None,
                attributes: MetricAttributes::Numeric(NumericAttributes { unit: None, higher_is_better }),
            });
        }
        let entry = SerializedEntry { formatted: format!("{value:.4}"), serialized: value.to_string() };
        MetricState::Numeric(MetricEntry::new(metric_id, entry), Some(NumericEntry::Value(value)))
    }
}
