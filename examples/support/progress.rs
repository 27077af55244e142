//! The display of a running training: a progress bar, or burn-train's dashboard.

use std::error::Error;
use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::distill::StepReport;

/// The display of a training run.
pub(crate) enum Progress {
    /// A bar with the speed and the time left, and a line for each validation.
    Bar { bar: ProgressBar, score: String },
    /// burn-train's dashboard.
    #[cfg(feature = "dashboard")]
    Dashboard(Box<training_wheels::distill::Dashboard>),
}

impl Progress {
    /// The display of a run of `steps` steps. `score` is the name of the validation score.
    pub(crate) fn new(dashboard: bool, steps: usize, score: &str) -> Result<Self, Box<dyn Error>> {
        if dashboard {
            #[cfg(feature = "dashboard")]
            return Ok(Self::Dashboard(Box::new(training_wheels::distill::Dashboard::new(steps, score)?)));
            #[cfg(not(feature = "dashboard"))]
            return Err("this build has no dashboard: add --features dashboard to cargo's flags".into());
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}<{eta}")?;
        Ok(Self::Bar { bar: ProgressBar::new(steps as u64).with_style(style), score: score.into() })
    }

    /// Shows a step, and stops the run if the user has asked for that.
    pub(crate) fn show(&mut self, report: &StepReport) -> ControlFlow<()> {
        match self {
            Self::Bar { bar, score } => {
                let StepReport { step, loss, nll, grad_norm, .. } = report;
                let rate = report.tokens as f64 / report.seconds;
                if bar.position() == 0 {
                    // A resumed run starts in the middle.
                    bar.set_position(*step as u64 - 1);
                    bar.reset_eta();
                }
                bar.set_position(*step as u64);
                bar.set_message(format!("loss {loss:.3} nll {nll:.3} gradient {grad_norm:.2} {rate:.0} tokens/s"));
                if let Some(value) = report.validation {
                    bar.suspend(|| eprintln!("step {step}: loss {loss:.3}, nll {nll:.3}, {score} {value:.2}"));
                }
                if Some(*step as u64) == bar.length() {
                    bar.finish();
                }
                ControlFlow::Continue(())
            }
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => dashboard.show(report),
        }
    }
}
