//! The display of a running training: a progress bar, or burn-train's dashboard.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::{Value, json};
use training_wheels::distill::StepReport;
use wheels_distill::TrainingOutcome;

use super::console;

/// What the numbers of a step mean, for `--help` and the first line of a run.
pub(crate) const TERMS: &str = "loss: the objective, per token; nll: minus the mean log-likelihood of the targets, nats; \
                                chrF: character n-grams shared with the references, 0 to 100";

/// The time between two lines if standard error is not a terminal, where no bar is drawn.
const INTERVAL: Duration = Duration::from_secs(30);

/// The last line of JSON of a training run.
pub(crate) fn end(out: &Path, outcome: &TrainingOutcome) -> Value {
    let best = outcome.best.map(|(step, chrf)| json!({ "step": step, "chrf": chrf }));
    json!({ "event": "end", "out": out, "steps": outcome.steps, "best": best })
}

/// The display of a training run.
pub(crate) enum Progress {
    /// A bar with the speed and the time left, and a line for each validation.
    Bar { bar: ProgressBar, score: String, printed: Option<Instant> },
    /// burn-train's dashboard.
    #[cfg(feature = "dashboard")]
    Dashboard(Box<wheels_distill::Dashboard>),
}

impl Progress {
    /// The display of a run of `steps` steps. `score` is the name of the validation score.
    pub(crate) fn new(dashboard: bool, steps: usize, score: &str) -> Result<Self, Box<dyn Error>> {
        if dashboard {
            #[cfg(feature = "dashboard")]
            return Ok(Self::Dashboard(Box::new(wheels_distill::Dashboard::new(steps, score)?)));
            #[cfg(not(feature = "dashboard"))]
            return Err("this build has no dashboard: add --features dashboard to cargo's flags".into());
        }
        let bar = console::bar(Some(steps as u64), "training {bar:30} {pos}/{len} {msg} {elapsed}<{eta}");
        Ok(Self::Bar { bar, score: score.into(), printed: None })
    }

    /// Shows a step, and stops the run if the user has asked for that.
    pub(crate) fn show(&mut self, report: &StepReport) -> ControlFlow<()> {
        match self {
            Self::Bar { bar, score, printed } => {
                let StepReport { step, steps, loss, nll, grad_norm, .. } = report;
                let rate = report.tokens as f64 / report.seconds;
                if bar.position() == 0 {
                    console::say(format_args!("{TERMS}"));
                    // A resumed run starts in the middle.
                    bar.set_position(*step as u64 - 1);
                    bar.reset_elapsed();
                    bar.reset_eta();
                }
                bar.set_position(*step as u64);
                bar.set_message(format!("loss {loss:.3} nll {nll:.3} gradient {grad_norm:.2} {rate:.0} tokens/s"));
                let due = bar.is_hidden() && printed.is_none_or(|last| last.elapsed() >= INTERVAL);
                if due || report.validation.is_some() {
                    let score = report.validation.map_or(String::new(), |value| format!(", {score} {value:.2}"));
                    console::say(format_args!(
                        "step {step} of {steps}: loss {loss:.3}, nll {nll:.3}, {rate:.0} tokens/s{score}"
                    ));
                    *printed = Some(Instant::now());
                }
                ControlFlow::Continue(())
            }
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => dashboard.show(report),
        }
    }

    /// Removes the bar when training has ended.
    pub(crate) fn finish(&self) {
        match self {
            Self::Bar { bar, .. } => bar.finish_and_clear(),
            #[cfg(feature = "dashboard")]
            Self::Dashboard(_) => (),
        }
    }
}
