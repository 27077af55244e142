//! Measures decoding and training of a checkpoint, in the same terms as `assets/peers/torch_t5.py`.
//!
//!     cargo run --release --example speed -- --model assets/models/en-it/teacher
//!
//! One JSON object a line. Texts have a fixed length: the model cannot write its end-of-text mark.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use clap::Parser;
use training_wheels::distill::{Batches, CrossEntropy, Pair, Trainer, TrainerConfig};
use training_wheels::lm::{Context, ModelSpec, TokenBatch};
use training_wheels::prelude::*;

/// Measures decoding and training of a checkpoint.
#[derive(Parser)]
struct Flags {
    /// A model's folder.
    #[arg(long)]
    model: PathBuf,
    /// Tokens of a source.
    #[arg(long, default_value_t = 32)]
    source_tokens: u32,
    /// Tokens of a text that is written.
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Tokens of a target in training.
    #[arg(long, default_value_t = 32)]
    target_tokens: u32,
    /// Target tokens of a training step.
    #[arg(long, default_value_t = 1536)]
    batch_tokens: u32,
    /// Workers of a training step.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Runs of which the median counts.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

/// A model that never ends a text.
struct Endless<'a>(&'a Pretrained, ModelSpec);

impl LanguageModel for Endless<'_> {
    fn spec(&self) -> &ModelSpec {
        &self.1
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        self.0.prefill(prompts, capacity)
    }

    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3> {
        self.0.hidden_rows(tokens, rows, context)
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.0.head(hidden)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let device = device::open(&"cpu".parse()?)?.device;
    let model = Pretrained::load(&flags.model, &device)?;
    let words = model.spec().vocab_size as u32 - 3;
    let ids = |row: u32, length: u32| (0..length).map(|t| 3 + (row * 131 + t * 71) % words).collect::<Vec<u32>>();

    let endless = Endless(&model, ModelSpec { eos: u32::MAX, ..model.spec().clone() });
    for batch in [1_u32, 32] {
        let prompt = |row| {
            let ids = ids(row, flags.source_tokens);
            Prompt { student: ids.clone(), expert: ids, budget: HelpBudget::percent(0) }
        };
        let prompts: Vec<Prompt> = (0..batch).map(prompt).collect();
        let policy = Policy::greedy(&endless).asking(Asking::Never);
        let decoder = BudgetedDecoder::new(policy, HelpDesk::new()).max_tokens(flags.new_tokens);
        let seconds = median(flags.repeats, || decoder.decode(&prompts, Seed(0)).map(drop))?;
        report("decode", Some(batch), f64::from(batch) * flags.new_tokens as f64 / seconds);
    }

    let rows = flags.batch_tokens / flags.target_tokens;
    let pair = |row| Pair { source: ids(row, flags.source_tokens), target: ids(row + 1, flags.target_tokens) };
    let pairs: Vec<Pair> = (0..rows).map(pair).collect();
    let tokens = (rows * (flags.source_tokens + flags.target_tokens)) as usize;
    let batches = Batches::new(&pairs, tokens.div_ceil(flags.workers), 0, Seed(7))?;
    let config = TrainerConfig::new(1_000_000).with_workers(flags.workers).with_learning_rate(1e-5);
    let scratch = tempfile::tempdir()?;
    let objective = CrossEntropy::new();
    let training = Pretrained::load(&flags.model, &device.autodiff())?;
    let mut trainer = Trainer::new(config, &objective, training, batches, scratch.path(), false)?;
    let seconds = median(flags.repeats, || trainer.train_step().map(drop))?;
    report("train", None, f64::from(rows * flags.target_tokens) / seconds);
    Ok(())
}

/// The median time of some runs after one that warms up, in seconds.
fn median<E>(repeats: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    run()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats.max(1) {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn report(what: &str, batch: Option<u32>, tokens_per_second: f64) {
    let line = serde_json::json!({
        "peer": "training-wheels", "what": what, "batch": batch, "tokens_per_second": tokens_per_second,
    });
    println!("{line}");
}
