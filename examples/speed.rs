//! Measures decoding and training of a checkpoint, in the same units as `assets/peers/torch_t5.py`.
//!
//!     cargo run --release --example speed -- --model assets/models/en-it/teacher
//!
//! The output is one JSON object per line. The model cannot end a text, so all texts have the same length.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use training_wheels::distill::{SupervisedBatches, TokenPair, Trainer, TrainerConfig};
use training_wheels::eval::CallCost;
use training_wheels::prelude::*;
use training_wheels::student::Student;
use wheels_lm::testing::Endless;

/// Measures decoding and training of a checkpoint.
#[derive(Parser)]
struct Flags {
    /// The folder of a model.
    #[arg(long)]
    model: PathBuf,
    /// Where to compute: "cpu", "cuda:0", "vulkan:discrete:0", ...
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// The number of tokens in each source.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    source_tokens: u32,
    /// The number of tokens in each decoded text.
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    new_tokens: usize,
    /// The number of tokens in each target, in training.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    target_tokens: u32,
    /// The number of target tokens in a training step.
    #[arg(long, default_value_t = 1536, value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: u32,
    /// The number of workers in a training step. A GPU needs one.
    #[arg(long, default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    workers: usize,
    /// The numbers of texts that are decoded together.
    #[arg(long, value_delimiter = ',', default_value = "1,32", value_parser = clap::value_parser!(u32).range(1..))]
    batches: Vec<u32>,
    /// The number of tokens of a long prompt, read for one new token. 0 leaves this out.
    #[arg(long, default_value_t = 0)]
    prompt_tokens: u32,
    /// The format of the model's matrices in decoding: f32, f16, bf16 or, on CPUs, int8.
    #[arg(long, default_value_t)]
    dtype: WeightFormat,
    /// The rank of adapters at the queries and values, whose training is measured beside that of all weights. 0 leaves
    /// this out.
    #[arg(long, default_value_t = 0)]
    lora_rank: usize,
    /// Measure decoding only.
    #[arg(long)]
    no_training: bool,
    /// Measure training only.
    #[arg(long, conflicts_with = "no_training")]
    no_decoding: bool,
    /// The number of runs; the median is reported.
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    repeats: usize,
}

/// The ids of padding, end of text and unknown characters come first. No source or target contains them.
const SPECIAL_IDS: u32 = 3;

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let device = device::open(&flags.device)?.device;
    if !flags.no_decoding {
        for &batch in &flags.batches {
            let seconds = decode_seconds(flags, &device, [batch, flags.source_tokens], flags.new_tokens)?;
            let tokens = f64::from(batch) * flags.new_tokens as f64;
            report("decode", Some(batch), flags.dtype, tokens / seconds);
        }
        if flags.prompt_tokens > 0 {
            let seconds = decode_seconds(flags, &device, [1, flags.prompt_tokens], 1)?;
            report("prompt", Some(1), flags.dtype, f64::from(flags.prompt_tokens) / seconds);
        }
        report_call(flags, &device)?;
    }
    if !flags.no_training {
        let load = || Pretrained::load(&flags.model, &device.clone().autodiff());
        report("train", None, WeightFormat::F32, training_speed(flags, load()?)?);
        if flags.lora_rank > 0 {
            let model = load()?.with_lora(&LoraConfig::new(flags.lora_rank))?;
            report("train-lora", None, WeightFormat::F32, training_speed(flags, model)?);
        }
    }
    Ok(())
}

/// Prints what one call of the model costs at batch size 1, with one token and for each further token. The fewer tokens
/// cost, the cheaper it is to verify a draft.
fn report_call(flags: &Flags, device: &Device) -> Result<(), Box<dyn Error>> {
    let model = Pretrained::load(&flags.model, (device, flags.dtype))?;
    let cost = CallCost::measure(&model, &token_ids(&model, 0, flags.source_tokens));
    let line = serde_json::json!({
        "peer": "training-wheels", "what": "call", "batch": 1, "dtype": flags.dtype.as_str(),
        "seconds_per_call": cost.seconds_per_call, "seconds_per_token": cost.seconds_per_token,
    });
    println!("{line}");
    Ok(())
}

/// The seconds in which `[batch, source_tokens]` are read and some tokens are written in each row.
fn decode_seconds(
    flags: &Flags,
    device: &Device,
    [batch, source_tokens]: [u32; 2],
    new_tokens: usize,
) -> Result<f64, Box<dyn Error>> {
    let model = Endless::new(Pretrained::load(&flags.model, (device, flags.dtype))?);
    let mut prompts = Vec::new();
    for row in 0..batch {
        let ids = token_ids(&model, row, source_tokens);
        prompts.push(Prompt { student: ids.clone(), expert: ids, budget: HelpBudget::percent(0) });
    }
    let policy = Policy::greedy(&model).with_help_rule(HelpRule::Never);
    let decoder =
        BudgetedDecoder::new(policy, Experts::new()).with_max_new_tokens(new_tokens).with_batch_size(batch as usize);
    Ok(median(flags.repeats, || decoder.decode(&prompts, Seed(0)).map(drop))?)
}

/// Target tokens per second in training.
fn training_speed(flags: &Flags, model: Pretrained) -> Result<f64, Box<dyn Error>> {
    let rows = (flags.batch_tokens / flags.target_tokens).max(1);
    let mut pairs = Vec::new();
    for row in 0..rows {
        let source = token_ids(&model, row, flags.source_tokens);
        pairs.push(TokenPair { source, target: token_ids(&model, row + 1, flags.target_tokens) });
    }
    let tokens = (rows * (flags.source_tokens + flags.target_tokens)) as usize;
    let batches = SupervisedBatches::new(&pairs, tokens.div_ceil(flags.workers), model.spec().pad, Seed(7))?;
    let config = TrainerConfig::new(1_000_000).with_workers(flags.workers).with_learning_rate(1e-5).with_dropout(true);
    let scratch = tempfile::tempdir()?;
    let objective = CrossEntropy::new();
    let mut trainer = Trainer::new(config, &objective, Student::new(model), batches, scratch.path())?;
    let seconds = median(flags.repeats, || trainer.train_step().map(drop))?;
    Ok(f64::from(rows * flags.target_tokens) / seconds)
}

/// Ids that are spread over the vocabulary.
fn token_ids(model: &impl LanguageModel, row: u32, length: u32) -> Vec<u32> {
    let words = model.spec().vocab_size as u32 - SPECIAL_IDS;
    (0..length).map(|position| SPECIAL_IDS + (row * 131 + position * 71) % words).collect()
}

/// The median time of `repeats` runs after one run to warm up, in seconds.
fn median<E>(repeats: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    run()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn report(what: &str, batch: Option<u32>, dtype: WeightFormat, tokens_per_second: f64) {
    let line = serde_json::json!({
        "peer": "training-wheels", "what": what, "batch": batch, "dtype": dtype.as_str(),
        "tokens_per_second": tokens_per_second,
    });
    println!("{line}");
}
