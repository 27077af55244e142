//! Trains a T5 on any JSON lines with `source` and `target`, from scratch or from another model.
//!
//!     cargo run --release --example train -- --data train.jsonl --valid valid.jsonl --out model
//!
//! The folder that it makes is a Hugging Face folder. Killed at any moment, it goes on with `--resume` where its last
//! checkpoint was, bit for bit.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;
#[path = "support/training.rs"]
mod training;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use training_wheels::decode::Side;
use training_wheels::distill::{Batches, CrossEntropy, Decay, Trainer, TrainerConfig};
use training_wheels::eval::Evaluation;
use training_wheels::lm::T5Config;
use training_wheels::prelude::*;
use training_wheels::text::{Dataset, TrainTokenizer};

use training::{Common, Screen};

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
    /// The most tokens of a prompt, which the model's `prompt.json` tells those who use it.
    #[arg(long, default_value_t = PromptFormat::default().max_tokens)]
    max_prompt: usize,
    /// The most tokens of what the model writes, which `prompt.json` tells, too.
    #[arg(long, default_value_t = PromptFormat::default().max_new_tokens)]
    max_new_tokens: usize,
    /// Of so many tokens the model writes no sequence twice in a text; 0 lets all come again.
    #[arg(long, default_value_t = PromptFormat::default().no_repeat_ngram_size)]
    no_repeat_ngram_size: usize,
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
    /// Largest learning rate.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Steps of warm-up.
    #[arg(long, default_value_t = 300)]
    warmup: usize,
    /// Label smoothing.
    #[arg(long, default_value_t = 0.1)]
    label_smoothing: f64,
    /// The share of the tokens read, on both sides, in whose place a random one stands (unigram noise).
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    noise: f64,
    /// Validation sentences that are translated, for chrF.
    #[arg(long, default_value_t = 200)]
    valid_texts: usize,
    /// Steps between validations.
    #[arg(long, default_value_t = 500)]
    validate_every: usize,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    program::main(|| run(Flags::parse()))
}

fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    let accelerator = device::open(&flags.common.device)?;
    let data = Dataset::from_jsonl(&flags.data)?;
    let tokenizer = tokenizer(&flags, &data)?;
    tokenizer.save(&flags.out)?;
    let format = PromptFormat {
        max_tokens: flags.max_prompt,
        max_new_tokens: flags.max_new_tokens,
        no_repeat_ngram_size: flags.no_repeat_ngram_size,
        ..PromptFormat::default()
    };
    format.save(&flags.out)?;
    let (_, pairs) = flags.common.pairs(&tokenizer, &data)?;
    let valid = Dataset::from_jsonl(&flags.valid)?.take(flags.valid_texts);

    let device = accelerator.device.clone().autodiff();
    device.seed(flags.common.seed);
    let model = match &flags.init {
        Some(folder) => Pretrained::load(folder, &device)?,
        None => Pretrained::T5(random(&flags, &tokenizer).init(&device)),
    };
    let workers = flags.common.workers(&accelerator)?;
    let config = TrainerConfig::new(flags.steps)
        .with_accumulate(flags.accumulate)
        .with_workers(workers)
        .with_learning_rate(flags.learning_rate)
        .with_warmup_steps(flags.warmup)
        .with_decay(Decay::Linear)
        .with_checkpoint_every(flags.common.checkpoint_every)
        .with_validate_every(flags.validate_every)
        .with_patience(flags.common.patience);
    eprintln!("{} pairs, {} workers, {}", pairs.len(), workers, accelerator.adapter);

    let objective = CrossEntropy { label_smoothing: flags.label_smoothing };
    let batches =
        Batches::new(&pairs, flags.batch_tokens, tokenizer.pad(), Seed(flags.common.seed))?.with_noise(flags.noise);
    let mut trainer = Trainer::new(config, &objective, model, batches, &flags.out, flags.resume)?;
    let mut screen = Screen::new(&flags.common, flags.steps, trainer.step(), "chrF")?;
    let outcome =
        trainer.train(&mut |model| Ok(chrf(model, &tokenizer, &format, &valid)?), &mut |report| screen.show(report))?;
    screen.finish();
    trainer.best()?.save(&flags.out, flags.common.format())?;
    eprintln!("{outcome:?}; the model is in {}", flags.out.display());
    Ok(())
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "not a number")?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("a share lies between 0 and 1".into()) }
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

fn chrf(
    model: &Pretrained,
    tokenizer: &Tokenizer,
    format: &PromptFormat,
    valid: &Dataset,
) -> Result<f64, training_wheels::Error> {
    let evaluation = Evaluation::new(valid, tokenizer, format);
    let policy = Policy::greedy(model).asking(Asking::Never).reading(Side::Expert);
    let decoder = BudgetedDecoder::new(policy, HelpDesk::new()).with_format(format);
    let outcome = evaluation.run(&decoder, &evaluation.prompts(HelpBudget::percent(0))?, Seed(0))?;
    Ok(evaluation.judge(&outcome).scores().chrf)
}
