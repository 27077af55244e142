//! What the examples that train have in common.

use std::error::Error;
use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::device::{Accelerator, PlatformName};
use training_wheels::distill::{StepReport, TokenPair};
use training_wheels::lm::FloatFormat;
use training_wheels::prelude::*;
use training_wheels::text::{Dataset, Example, TextError};

/// Flags of every training run.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Micro-batches side by side; the number of cores on the CPU.
    #[arg(long)]
    workers: Option<usize>,
    /// Pairs with more tokens than this on either side are left out.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 100)]
    pub(crate) checkpoint_every: usize,
    /// Validations without progress before the run stops; 0 never stops early.
    #[arg(long, default_value_t = 0)]
    pub(crate) patience: usize,
    /// Seed of all that is drawn: weights, the order of the data, texts.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Save the model in half precision. With `--resume`, a finished run is saved again.
    #[arg(long)]
    half: bool,
    /// Show burn-train's dashboard in place of a bar; needs the feature `dashboard`.
    #[arg(long)]
    dashboard: bool,
    /// Device.
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceSpec,
}

impl Common {
    /// The workers that were asked for, or that suit the device.
    pub(crate) fn workers(&self, accelerator: &Accelerator) -> std::io::Result<usize> {
        match self.workers {
            Some(workers) => Ok(workers),
            None if accelerator.adapter.platform == PlatformName::Cpu => {
                Ok(std::thread::available_parallelism()?.get())
            }
            None => Ok(1),
        }
    }

    /// The format of the saved weights.
    pub(crate) fn format(&self) -> FloatFormat {
        if self.half { FloatFormat::F16 } else { FloatFormat::F32 }
    }

    /// The examples that are short enough on both sides, and their ids.
    pub(crate) fn pairs<'d>(
        &self,
        tokenizer: &Tokenizer,
        data: &'d Dataset,
    ) -> Result<(Vec<&'d Example>, Vec<TokenPair>), TextError> {
        let (mut examples, mut pairs) = (Vec::new(), Vec::new());
        for example in data.iter() {
            let source = tokenizer.encode_with_end(&example.source)?;
            let target = tokenizer.encode_with_end(&example.target)?;
            if source.len() <= self.max_tokens && target.len() <= self.max_tokens {
                examples.push(example);
                pairs.push(TokenPair { source, target });
            }
        }
        Ok((examples, pairs))
    }
}

/// What a run shows of itself while it lasts.
pub(crate) enum Screen {
    /// A bar, and a line for each validation.
    Bar { bar: ProgressBar, score: String },
    /// burn-train's dashboard.
    #[cfg(feature = "dashboard")]
    Dashboard(training_wheels::distill::Dashboard),
}

impl Screen {
    /// The screen of a run of so many steps, of which some are `done`; its validations give a `score` of this name.
    pub(crate) fn new(common: &Common, steps: usize, done: usize, score: &str) -> Result<Self, Box<dyn Error>> {
        if common.dashboard {
            #[cfg(feature = "dashboard")]
            return Ok(Self::Dashboard(training_wheels::distill::Dashboard::new(steps, score)?));
            #[cfg(not(feature = "dashboard"))]
            return Err("this build has no dashboard: add --features dashboard to cargo's flags".into());
        }
        let bar = ProgressBar::new(steps as u64).with_position(done as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}<{eta}")?;
        Ok(Self::Bar { bar: bar.with_style(style), score: score.into() })
    }

    /// Shows a step, and breaks where the user has asked for the end of the run.
    pub(crate) fn show(&mut self, report: &StepReport) -> ControlFlow<()> {
        match self {
            Self::Bar { bar, score } => {
                let StepReport { step, loss, nll, .. } = report;
                let rate = report.tokens as f64 / report.seconds;
                bar.set_position(*step as u64);
                bar.set_message(format!("loss {loss:.3} nll {nll:.3} |g| {:.2} {rate:.0} tokens/s", report.grad_norm));
                if let Some(value) = report.validation {
                    bar.suspend(|| eprintln!("step {step}: loss {loss:.3}, nll {nll:.3}, {score} {value:.2}"));
                }
                ControlFlow::Continue(())
            }
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => dashboard.show(report),
        }
    }

    /// Gives the terminal back.
    pub(crate) fn finish(self) {
        match self {
            Self::Bar { bar, .. } => bar.finish(),
            #[cfg(feature = "dashboard")]
            Self::Dashboard(dashboard) => drop(dashboard),
        }
    }
}
