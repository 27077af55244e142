//! Trains a T5 on any JSON lines with `source` and `target`, from scratch or from another model.
//!
//!     cargo run --release --example train -- --data train.jsonl --valid valid.jsonl --out model
//!
//! The folder that it makes is a Hugging Face folder. Killed at any moment, it goes on with `--resume` where its last
//! checkpoint was, bit for bit.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::decode::{Asking, Decoder, Side};
use training_wheels::distill::{Batches, CrossEntropy, Decay, Pair, Trainer, TrainerConfig};
use training_wheels::eval::metric::ChrfStats;
use training_wheels::lm::{FloatFormat, T5Config};
use training_wheels::prelude::*;
use training_wheels::text::{Dataset, Example, TrainTokenizer};

/// Trains a T5 on pairs of texts.
#[derive(Parser)]
struct Flags {
    /// JSON lines to train on.
    #[arg(long)]
    data: PathBuf,
    /// JSON lines to validate on.
    #[arg(long)]
    valid: PathBuf,
    /// The folder of the run and of the model.
    #[arg(long)]
    out: PathBuf,
    /// Go on from the last checkpoint in `--out`.
    #[arg(long)]
    resume: bool,
    /// A folder with the model to start from, and its tokenizer; a random model where this is absent.
    #[arg(long, conflicts_with_all = ["tokenizer", "vocab", "help_token", "d_model", "layers", "decoder_layers"])]
    init: Option<PathBuf>,
    /// A folder with the tokenizer to use; one is trained on `--data` where this is absent.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Tokens of a new tokenizer.
    #[arg(long, default_value_t = 4096)]
    vocab: usize,
    /// Adds a help token of this name, one more row of the vocabulary.
    #[arg(long)]
    help_token: Option<String>,
    /// Width of the hidden states; `--d-ff` is 4 times, and a head 32.
    #[arg(long, default_value_t = 192)]
    d_model: usize,
    /// Encoder blocks.
    #[arg(long, default_value_t = 3)]
    layers: usize,
    /// Decoder blocks.
    #[arg(long, default_value_t = 2)]
    decoder_layers: usize,
    /// Optimizer steps.
    #[arg(long, default_value_t = 4000)]
    steps: usize,
    /// Source and target tokens in a micro-batch, padding counted.
    #[arg(long, default_value_t = 4096)]
    batch_tokens: usize,
    /// Micro-batches added up by each worker.
    #[arg(long, default_value_t = 1)]
    accumulate: usize,
    /// Micro-batches side by side; the number of cores on the CPU.
    #[arg(long)]
    workers: Option<usize>,
    /// Largest learning rate.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Steps of warm-up.
    #[arg(long, default_value_t = 300)]
    warmup: usize,
    /// Label smoothing.
    #[arg(long, default_value_t = 0.1)]
    label_smoothing: f64,
    /// Pairs with more tokens than this on either side are left out.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Validation sentences that are translated, for chrF.
    #[arg(long, default_value_t = 200)]
    valid_texts: usize,
    /// Steps between validations.
    #[arg(long, default_value_t = 500)]
    validate_every: usize,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 100)]
    checkpoint_every: usize,
    /// Validations without progress before the run stops; 0 never stops early.
    #[arg(long, default_value_t = 0)]
    patience: usize,
    /// Seed of weights and data order.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Save the model in half precision. With `--resume`, a finished run is saved again.
    #[arg(long)]
    half: bool,
    /// Device.
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    // wgpu calls each driver that it passes over an error; RUST_LOG=error shows them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,wgpu_hal=off")).init();
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", training_wheels::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    let accelerator = device::open(&flags.device)?;
    let data = Dataset::from_jsonl(&flags.data)?;
    let tokenizer = tokenizer(&flags, &data)?;
    tokenizer.save(&flags.out)?;
    PromptFormat::default().save(&flags.out)?;
    let pairs = pairs(&tokenizer, data.examples(), flags.max_tokens)?;
    let valid = Dataset::from_jsonl(&flags.valid)?.take(flags.valid_texts);

    let training = accelerator.device.clone().autodiff();
    training.seed(flags.seed);
    let model = match &flags.init {
        Some(folder) => Pretrained::load(folder, &training)?,
        None => Pretrained::T5(random(&flags, &tokenizer).init(&training)),
    };
    let cores = std::thread::available_parallelism()?.get();
    let workers = flags.workers.unwrap_or(if accelerator.adapter.platform.to_string() == "cpu" { cores } else { 1 });
    let config = TrainerConfig::new(flags.steps)
        .with_accumulate(flags.accumulate)
        .with_workers(workers)
        .with_learning_rate(flags.learning_rate)
        .with_warmup_steps(flags.warmup)
        .with_decay(Decay::Linear)
        .with_checkpoint_every(flags.checkpoint_every)
        .with_validate_every(flags.validate_every)
        .with_patience(flags.patience);
    eprintln!("{} pairs, {} workers, {}", pairs.len(), workers, accelerator.adapter);

    let objective = CrossEntropy { label_smoothing: flags.label_smoothing };
    let batches = Batches::new(&pairs, flags.batch_tokens, tokenizer.pad(), Seed(flags.seed))?;
    let mut trainer = Trainer::new(config, &objective, model, batches, &flags.out, flags.resume)?;
    let bar = ProgressBar::new(flags.steps as u64).with_position(trainer.step() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}<{eta}")?);
    let outcome = trainer.train(&mut |model| Ok(chrf(model, &tokenizer, &valid)?), &mut |report| {
        bar.set_position(report.step as u64);
        let rate = report.tokens as f64 / report.seconds;
        bar.set_message(format!("nll {:.3} |g| {:.2} {rate:.0} tokens/s", report.nll, report.grad_norm));
        if let Some(score) = report.validation {
            bar.suspend(|| eprintln!("step {}: nll {:.3}, chrF {score:.2}", report.step, report.nll));
        }
    })?;
    bar.finish();
    trainer.best()?.save(&flags.out, if flags.half { FloatFormat::F16 } else { FloatFormat::F32 })?;
    eprintln!("{outcome:?}; the model is in {}", flags.out.display());
    Ok(())
}

/// The T5 that the flags describe.
fn random(flags: &Flags, tokenizer: &Tokenizer) -> T5Config {
    T5Config {
        vocab_size: tokenizer.vocab_size(),
        d_model: flags.d_model,
        d_kv: 32,
        d_ff: 4 * flags.d_model,
        num_heads: flags.d_model / 32,
        num_layers: flags.layers,
        num_decoder_layers: Some(flags.decoder_layers),
        dropout_rate: 0.0,
        pad_token_id: tokenizer.pad(),
        eos_token_id: tokenizer.eos(),
        decoder_start_token_id: tokenizer.pad(),
        ..T5Config::default()
    }
}

fn tokenizer(flags: &Flags, data: &Dataset) -> Result<Tokenizer, training_wheels::Error> {
    let saved = flags.resume.then_some(&flags.out);
    let mut tokenizer = match saved.or(flags.init.as_ref()).or(flags.tokenizer.as_ref()) {
        Some(folder) => Tokenizer::from_dir(folder)?,
        None => {
            let texts = data.iter().flat_map(|example| [example.source.clone(), example.target.clone()]);
            Tokenizer::train(TrainTokenizer { vocab_size: flags.vocab, ..TrainTokenizer::default() }, texts)?
        }
    };
    if let Some(name) = &flags.help_token
        && tokenizer.help_token(name).is_err()
    {
        tokenizer.add_help_token(name)?;
    }
    Ok(tokenizer)
}

fn pairs(tokenizer: &Tokenizer, examples: &[Example], limit: usize) -> Result<Vec<Pair>, training_wheels::Error> {
    let ids = |text: &str| -> Result<Vec<u32>, training_wheels::Error> {
        let mut ids = tokenizer.encode(text)?;
        ids.push(tokenizer.eos());
        Ok(ids)
    };
    let mut pairs = Vec::with_capacity(examples.len());
    for example in examples {
        let pair = Pair { source: ids(&example.source)?, target: ids(&example.target)? };
        if pair.source.len() <= limit && pair.target.len() <= limit {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

fn chrf(model: &Pretrained, tokenizer: &Tokenizer, valid: &Dataset) -> Result<f64, training_wheels::Error> {
    let format = PromptFormat::default();
    let prompts: Result<Vec<Prompt>, _> =
        valid.iter().map(|example| format.prompt(tokenizer, &example.source, HelpBudget::percent(0))).collect();
    let policy = Policy::greedy(model).asking(Asking::Never).reading(Side::Expert);
    let decoded = BudgetedDecoder::new(policy, HelpDesk::new()).max_tokens(160).decode(&prompts?, Seed(0))?;
    let mut stats = ChrfStats::default();
    for (trajectory, example) in decoded.trajectories.iter().zip(valid.iter()) {
        stats = stats + ChrfStats::of(&tokenizer.decode(&trajectory.tokens())?, &example.target);
    }
    Ok(stats.score())
}
