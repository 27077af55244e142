//! What the examples that train have in common.

use indicatif::style::TemplateError;
use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::device::{Accelerator, PlatformName};
use training_wheels::distill::Pair;
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
    ) -> Result<(Vec<&'d Example>, Vec<Pair>), TextError> {
        let (mut examples, mut pairs) = (Vec::new(), Vec::new());
        for example in data.iter() {
            let source = tokenizer.encode_with_end(&example.source)?;
            let target = tokenizer.encode_with_end(&example.target)?;
            if source.len() <= self.max_tokens && target.len() <= self.max_tokens {
                examples.push(example);
                pairs.push(Pair { source, target });
            }
        }
        Ok((examples, pairs))
    }
}

/// A bar over the steps of a run, of which some are done.
pub(crate) fn bar(steps: usize, done: usize) -> Result<ProgressBar, TemplateError> {
    let bar = ProgressBar::new(steps as u64).with_position(done as u64);
    Ok(bar.with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}<{eta}")?))
}
