//! Trains a T5 on JSON lines with `source` and `target`, from scratch, or another model as a whole or by adapters (LoRA).
//!
//!     cargo run --release --example train -- --data train.jsonl --valid valid.jsonl --out model
//!
//! Hugging Face's transformers opens the resulting folder, and its PEFT that of adapters (`--init MODEL --lora RANK`).
//! `--resume` continues a run that was killed. The result is the same, bit for bit, as without the interruption.
#![allow(clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;
#[path = "support/progress.rs"]
mod progress;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use training_wheels::decode::PromptSide;
use training_wheels::device::PlatformName;
use training_wheels::distill::{Decay, SupervisedBatches, TokenPairs, TokenizedDataset, Trainer, TrainerConfig};
use training_wheels::lm::{FloatFormat, T5Config, TokenIds};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use training_wheels::text::TokenizerConfig;

/// Trains a T5 on pairs of a source and a target text.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Flags {
    /// The data to train on: JSON lines, a JSON list, CSV or TSV, also with gzip. It may be larger than memory.
    #[arg(long)]
    data: PathBuf,
    /// The data to validate on.
    #[arg(long)]
    valid: PathBuf,
    #[command(flatten)]
    fields: program::DataFlags,
    /// The folder for the checkpoints and the trained model.
    #[arg(long)]
    out: PathBuf,
    /// Resume from the last checkpoint in `--out`.
    #[arg(long)]
    resume: bool,
    /// The folder or hub name of a model to start from, with its tokenizer and prompt template. If absent: random weights.
    #[arg(long, conflicts_with_all = ["tokenizer", "vocab", "help_token", "d_model", "layers", "decoder_layers"])]
    init: Option<PathBuf>,
    /// Train only adapters (LoRA) of this rank and freeze the weights of --init. Only the adapters are saved.
    #[arg(long, value_name = "RANK", requires = "init")]
    lora: Option<usize>,
    /// The output of an adapter is multiplied by this number divided by the rank.
    #[arg(long, requires = "lora", default_value_t = 8.0)]
    lora_alpha: f64,
    /// The dropout rate of the inputs of adapters, at least 0 and less than 1.
    #[arg(long, requires = "lora", default_value_t = 0.0, value_parser = dropout_rate)]
    lora_dropout: f64,
    /// The layers that get adapters, such as q_proj,v_proj, or all-linear. If absent: queries and values.
    #[arg(long, requires = "lora", value_delimiter = ',')]
    lora_modules: Vec<String>,
    /// The folder or hub name of the tokenizer to use. If absent: a new one is trained on `--data`.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// The largest number of tokens in a prompt, saved in prompt.json. If absent: that of --init, or else 256.
    #[arg(long)]
    max_prompt: Option<usize>,
    /// The largest number of tokens in an output, saved in generation_config.json. If absent: as --init, or else 256.
    #[arg(long)]
    max_new_tokens: Option<usize>,
    /// Forbid repeated n-grams of this size, saved in generation_config.json; 0 allows them. If absent: as --init, or else
    /// 6. Models that have not seen much text repeat themselves without end, and then do not ask for help.
    #[arg(long)]
    no_repeat_ngram_size: Option<usize>,
    /// The vocabulary size of a new tokenizer.
    #[arg(long, default_value_t = 4096)]
    vocab: usize,
    /// Add a help token for the expert of this name, such as "teacher", to the vocabulary.
    #[arg(long)]
    help_token: Option<String>,
    /// The width of the hidden states, a multiple of 32. Feed-forward layers are 4 times as wide; a head's width is 32.
    #[arg(long, default_value_t = 192)]
    d_model: usize,
    /// The number of encoder blocks.
    #[arg(long, default_value_t = 3)]
    layers: usize,
    /// The number of decoder blocks.
    #[arg(long, default_value_t = 2)]
    decoder_layers: usize,
    /// The number of optimizer steps.
    #[arg(long, default_value_t = 4000)]
    steps: usize,
    /// The largest number of source and target tokens in a micro-batch, including padding.
    #[arg(long, default_value_t = 4096)]
    batch_tokens: usize,
    /// The number of micro-batches whose gradients each worker adds up before a step.
    #[arg(long, default_value_t = 1)]
    accumulate: usize,
    /// The largest learning rate, which is reached after the warm-up.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// The number of steps in which the learning rate rises from 0.
    #[arg(long, default_value_t = 300)]
    warmup: usize,
    /// The label smoothing of the cross-entropy, 0 to 1.
    #[arg(long, default_value_t = 0.1)]
    label_smoothing: f64,
    /// The dropout rate of a new model, at least 0 and less than 1. A model of --init has the rate in its config.json.
    #[arg(long, default_value_t = 0.0, value_parser = dropout_rate, conflicts_with = "init")]
    dropout: f64,
    /// The fraction of the encoder's and the decoder's input tokens to replace by random ones, 0 to 1 (unigram noise).
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    noise: f64,
    /// The number of validation texts that are decoded to measure chrF.
    #[arg(long, default_value_t = 200)]
    valid_texts: usize,
    /// The number of steps between validations.
    #[arg(long, default_value_t = 500)]
    validate_every: usize,
    /// The largest number of tokens on either side of a pair. Longer pairs are left out.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// The number of threads that compute micro-batches in parallel. If absent: that of the run with --resume, or else one
    /// per core on the CPU and 1 on a GPU.
    #[arg(long)]
    workers: Option<usize>,
    /// The number of steps between checkpoints.
    #[arg(long, default_value_t = 100)]
    checkpoint_every: usize,
    /// The number of validations without a better score after which the run stops; 0 never stops early.
    #[arg(long, default_value_t = 0)]
    patience: usize,
    /// The seed of the weights, the order of the data, and the noise.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Save the weights in half precision.
    #[arg(long)]
    half: bool,
    /// Show burn-train's dashboard instead of a progress bar. The build needs the feature `dashboard`.
    #[arg(long)]
    dashboard: bool,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    program::main(|| run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let accelerator = device::open(&flags.device)?;
    let device = accelerator.device.clone().autodiff();
    device.seed(flags.seed);
    let start = start(flags, &device)?;
    // A wrong path is noticed before a large file is tokenised.
    let valid = flags.fields.open(&flags.valid)?;
    let stream = flags.fields.stream(&flags.data)?;
    let max_tokens = start.text_limit(flags.max_tokens);
    let pairs = TokenizedDataset::on_disk(stream, &start.tokenizer, &start.template, max_tokens, &flags.out)?
        .with_target_start(start.generation.forced_bos_token_id());
    // Validation and training see the same kind of texts.
    let valid = TokenizedDataset::new(&valid, &start.tokenizer, &start.template, max_tokens)?;
    let valid = valid.kept()?.take(flags.valid_texts);
    let evaluation = Evaluation::new(&valid, &start.tokenizer, &start.template);
    let prompts = evaluation.prompts(HelpBudget::percent(0))?;

    let resumed = if flags.resume { TrainerConfig::of_run(&flags.out)? } else { None };
    let workers = match flags.workers.or(resumed.map(|config| config.workers)) {
        Some(workers) => workers,
        None if accelerator.adapter.platform == PlatformName::Cpu => std::thread::available_parallelism()?.get(),
        None => 1,
    };
    let config = TrainerConfig::new(flags.steps)
        .with_accumulate(flags.accumulate)
        .with_workers(workers)
        .with_learning_rate(flags.learning_rate)
        .with_warmup_steps(flags.warmup)
        .with_decay(Decay::Linear)
        .with_dropout(true)
        .with_seed(flags.seed)
        .with_checkpoint_every(flags.checkpoint_every)
        .with_validate_every(flags.validate_every)
        .with_patience(flags.patience);
    eprintln!("{} pairs, {workers} workers, {}", pairs.count(), accelerator.adapter);

    let objective = CrossEntropy { label_smoothing: flags.label_smoothing };
    let batches = SupervisedBatches::new(&pairs, flags.batch_tokens, start.tokenizer.pad(), Seed(flags.seed))?
        .with_noise(flags.noise);
    let student = start.model.clone();
    let mut trainer = match flags.resume {
        true => Trainer::resume(config, &objective, student, batches, &flags.out)?,
        false => Trainer::new(config, &objective, student, batches, &flags.out)?,
    };
    program::save_command(&flags.out, "Give this command with --resume, and the run goes on where it stopped.")?;
    start.tokenizer.save(&flags.out)?;
    let mut progress = progress::Progress::new(flags.dashboard, flags.steps, "chrF")?;
    let mut validate = |model: &Student<Pretrained>| {
        let policy = Policy::greedy(model).with_help_rule(HelpRule::Never).with_prompt_side(PromptSide::Expert);
        let decoder = BudgetedDecoder::new(policy, Experts::new()).with_generation(&start.generation);
        let output = evaluation.run(&decoder, &prompts, Seed(0))?;
        Ok(evaluation.stats(&output).scores().chrf)
    };
    let outcome = trainer.train(&mut validate, &mut |report| progress.show(report))?;
    if let Some((step, score)) = outcome.best {
        eprintln!("{} steps; the best validation was that of step {step}, with chrF {score:.2}", outcome.steps);
    }
    let format = if flags.half { FloatFormat::F16 } else { FloatFormat::F32 };
    TextModel { model: trainer.best()?, ..start.clone() }.save(&flags.out, format)?;
    eprintln!("the model is in {}", flags.out.display());
    Ok(())
}

fn dropout_rate(text: &str) -> Result<f64, String> {
    let rate = probability(text)?;
    if rate < 1.0 { Ok(rate) } else { Err("a dropout rate is less than 1".into()) }
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "not a number")?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("a fraction lies between 0 and 1".into()) }
}

/// The model that training starts from: that of `--init`, or one with random weights.
fn start(flags: &Flags, device: &burn::tensor::Device) -> Result<TextModel, Box<dyn Error>> {
    let mut start = match &flags.init {
        Some(folder) => {
            let model = TextModel::open(program::model_folder(folder)?, device)?;
            match flags.lora {
                Some(rank) => model.with_lora(
                    &LoraConfig::new(rank)
                        .with_alpha(flags.lora_alpha)
                        .with_dropout(flags.lora_dropout)
                        .with_target_modules(flags.lora_modules.clone())
                        .with_base_model(folder.to_str().map(str::to_owned))
                        .with_seed(flags.seed),
                )?,
                None => model,
            }
        }
        None => {
            let tokenizer = tokenizer(flags)?;
            if flags.d_model == 0 || !flags.d_model.is_multiple_of(32) {
                return Err(format!("--d-model is {}, which must be a multiple of 32", flags.d_model).into());
            }
            let config = T5Config {
                vocab_size: tokenizer.vocab_size(),
                d_model: flags.d_model,
                d_kv: 32,
                d_ff: 4 * flags.d_model,
                num_heads: flags.d_model / 32,
                num_layers: flags.layers,
                num_decoder_layers: Some(flags.decoder_layers),
                dropout_rate: flags.dropout,
                pad_token_id: tokenizer.pad(),
                eos_token_id: TokenIds::One(tokenizer.eos()),
                decoder_start_token_id: tokenizer.pad(),
                ..T5Config::default()
            };
            TextModel {
                model: Student::new(Pretrained::T5(config.init(device))),
                tokenizer,
                template: PromptTemplate::default(),
                generation: GenerationConfig { max_new_tokens_ratio: Some(2.0), ..GenerationConfig::default() }
                    .with_no_repeat_ngram_size(6),
                calibration: None,
                prices: None,
            }
        }
    };
    start.template.max_tokens = start.text_limit(flags.max_prompt.unwrap_or(start.template.max_tokens));
    let generation = &mut start.generation;
    generation.max_new_tokens = flags.max_new_tokens.unwrap_or(generation.max_new_tokens);
    generation.no_repeat_ngram_size = flags.no_repeat_ngram_size.unwrap_or(generation.no_repeat_ngram_size);
    Ok(start)
}

fn tokenizer(flags: &Flags) -> Result<Tokenizer, Box<dyn Error>> {
    let saved = flags.resume.then_some(&flags.out).filter(|out| out.join("tokenizer.json").exists());
    let mut tokenizer = match saved.or(flags.tokenizer.as_ref()) {
        Some(folder) => Tokenizer::from_dir(program::model_folder(folder)?)?,
        None => {
            let mut failed = Ok(());
            let examples = flags.fields.stream(&flags.data)?.map_while(|example| match example {
                Ok(example) => Some([example.source, example.target]),
                Err(error) => {
                    failed = Err(error);
                    None
                }
            });
            let trained = Tokenizer::train(TokenizerConfig::default().with_vocab_size(flags.vocab), examples.flatten());
            failed?;
            trained?
        }
    };
    if let Some(name) = &flags.help_token {
        tokenizer.add_help_token(name)?;
    }
    Ok(tokenizer)
}
