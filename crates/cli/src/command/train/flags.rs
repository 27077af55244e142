//! The flags of `wheels train`.

use std::path::PathBuf;

use training_wheels::prelude::*;

use crate::flags::DataFlags;
use crate::screen::training::TERMS;

const EXAMPLES: &str = "\
Examples:
  wheels train --data train.jsonl --valid valid.jsonl --out teacher
  wheels train --data train.jsonl --valid valid.jsonl --out student --tokenizer teacher --d-model 96 --layers 1
  wheels train --data train.jsonl --valid valid.jsonl --out tuned --init Qwen/Qwen2.5-0.5B-Instruct --lora 16";

/// Trains a model on pairs of texts.
///
/// It is a new T5 from scratch, or a given model (--init) as a whole or by adapters (--lora).
///
/// Hugging Face's transformers opens the resulting folder, and its PEFT that of adapters. The same command again goes on with
/// a run that was stopped. The result is the same, bit for bit, as without the interruption. Ctrl-C stops a run after its
/// step, with a checkpoint.
///
/// The folder of the run has its checkpoints, metrics.jsonl (a line for each step), run.toml (this command) and the trained
/// model.
#[derive(clap::Args)]
#[command(args_override_self = true, after_help = format!("{EXAMPLES}\n\n{TERMS}"))]
pub(crate) struct Flags {
    /// The data to train on: JSON lines, a JSON list, CSV or TSV, also with gzip. It may be larger than memory.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) data: PathBuf,
    /// The data to validate on.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) valid: PathBuf,
    #[command(flatten)]
    pub(crate) fields: DataFlags,
    /// The folder of the run. A run that is there goes on.
    #[arg(long, value_name = "DIR", default_value = "trained", help_heading = "Run")]
    pub(crate) out: PathBuf,
    /// The folder or hub name of a model to start from, with its tokenizer and prompt template. If absent: random weights.
    #[arg(long, conflicts_with_all = ["tokenizer", "vocab", "help_token", "d_model", "layers", "decoder_layers"], value_name = "MODEL", help_heading = "Model")]
    pub(crate) init: Option<PathBuf>,
    /// Train only adapters (LoRA) of this rank and freeze the weights of --init. Only the adapters are saved.
    #[arg(long, value_name = "RANK", requires = "init", help_heading = "Adapters")]
    pub(crate) lora: Option<usize>,
    /// The output of an adapter is multiplied by this number divided by the rank.
    #[arg(long, requires = "lora", default_value_t = 8.0, help_heading = "Adapters")]
    pub(crate) lora_alpha: f64,
    /// The dropout rate of the inputs of adapters, at least 0 and less than 1.
    #[arg(long, requires = "lora", default_value_t = 0.0, value_parser = dropout_rate, help_heading = "Adapters")]
    pub(crate) lora_dropout: f64,
    /// The layers that get adapters, such as q_proj,v_proj, or all-linear. If absent: queries and values.
    #[arg(long, requires = "lora", value_delimiter = ',', help_heading = "Adapters")]
    pub(crate) lora_modules: Vec<String>,
    /// The folder or hub name of the tokenizer to use. If absent: a new one is trained on `--data`.
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// The largest number of tokens in a prompt, saved in prompt.json. If absent: that of --init, or else 256.
    #[arg(long, help_heading = "Model")]
    pub(crate) max_prompt: Option<usize>,
    /// The largest number of tokens in an output, saved in generation_config.json. If absent: as --init, or else 256.
    #[arg(long, help_heading = "Model")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Forbid repeated n-grams of this size, saved in generation_config.json; 0 allows them. If absent: as --init, or else
    /// 6. Models that have not seen much text repeat themselves without end, and then do not ask for help.
    #[arg(long, help_heading = "Model")]
    pub(crate) no_repeat_ngram_size: Option<usize>,
    /// The vocabulary size of a new tokenizer.
    #[arg(long, default_value_t = 4096, help_heading = "Model")]
    pub(crate) vocab: usize,
    /// Add a help token for the expert of this name, such as "teacher", to the vocabulary.
    #[arg(long, help_heading = "Model")]
    pub(crate) help_token: Option<String>,
    /// The width of the hidden states, a multiple of 32. Feed-forward layers are 4 times as wide; a head's width is 32.
    #[arg(long, default_value_t = 192, help_heading = "Model")]
    pub(crate) d_model: usize,
    /// The number of encoder blocks.
    #[arg(long, default_value_t = 3, help_heading = "Model")]
    pub(crate) layers: usize,
    /// The number of decoder blocks.
    #[arg(long, default_value_t = 2, help_heading = "Model")]
    pub(crate) decoder_layers: usize,
    /// The number of optimizer steps.
    #[arg(long, default_value_t = 4000, help_heading = "Run")]
    pub(crate) steps: usize,
    /// The largest number of source and target tokens in a micro-batch, including padding.
    #[arg(long, default_value_t = 4096, help_heading = "Run")]
    pub(crate) batch_tokens: usize,
    /// The number of micro-batches whose gradients each worker adds up before a step.
    #[arg(long, default_value_t = 1, help_heading = "Run")]
    pub(crate) accumulate: usize,
    /// The largest learning rate, which is reached after the warm-up.
    #[arg(long, default_value_t = 3e-3, help_heading = "Run")]
    pub(crate) learning_rate: f64,
    /// The number of steps in which the learning rate rises from 0.
    #[arg(long = "warmup", id = "warmup_steps", value_name = "WARMUP", default_value_t = 300, help_heading = "Run")]
    pub(crate) warmup: usize,
    /// The label smoothing of the cross-entropy, 0 to 1.
    #[arg(long, default_value_t = 0.1, help_heading = "Run")]
    pub(crate) label_smoothing: f64,
    /// The dropout rate of a new model, at least 0 and less than 1. A model of --init has the rate in its config.json.
    #[arg(long, default_value_t = 0.0, value_parser = dropout_rate, conflicts_with = "init", help_heading = "Model")]
    pub(crate) dropout: f64,
    /// The fraction of the encoder's and the decoder's input tokens to replace by random ones, 0 to 1 (unigram noise).
    #[arg(long, default_value_t = 0.0, value_parser = probability, help_heading = "Data")]
    pub(crate) noise: f64,
    /// The number of validation texts that are decoded to measure chrF.
    #[arg(long, default_value_t = 200, help_heading = "Data")]
    pub(crate) valid_texts: usize,
    /// The number of steps between validations.
    #[arg(long, default_value_t = 500, help_heading = "Run")]
    pub(crate) validate_every: usize,
    /// The largest number of tokens on either side of a pair. Longer pairs are left out.
    #[arg(long, default_value_t = 128, help_heading = "Data")]
    pub(crate) max_tokens: usize,
    /// The number of threads that compute micro-batches in parallel. If absent: that of the run in --out, or else one per
    /// core on the CPU and 1 on a GPU.
    #[arg(long, help_heading = "Hardware")]
    pub(crate) workers: Option<usize>,
    /// Keep only the inputs of blocks in the forward pass, and compute the blocks again in the backward pass. It takes less
    /// memory and more time, and a run that goes on may change it.
    #[arg(long, help_heading = "Hardware")]
    pub(crate) gradient_checkpointing: bool,
    /// The number of steps between checkpoints.
    #[arg(long, default_value_t = 100, help_heading = "Run")]
    pub(crate) checkpoint_every: usize,
    /// The number of validations without a better score after which the run stops; 0 never stops early.
    #[arg(long, default_value_t = 0, help_heading = "Run")]
    pub(crate) patience: usize,
    /// The seed of the weights, the order of the data, and the noise.
    #[arg(long, default_value_t = 7, help_heading = "Run")]
    pub(crate) seed: u64,
    /// Save the weights in half precision.
    #[arg(long, help_heading = "Model")]
    pub(crate) half: bool,
    /// Show burn-train's dashboard instead of a progress bar. The build needs the feature `dashboard`.
    #[arg(long, help_heading = "Run")]
    pub(crate) dashboard: bool,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto", help_heading = "Hardware")]
    pub(crate) device: DeviceSpec,
}

fn dropout_rate(text: &str) -> Result<f64, String> {
    let rate = probability(text)?;
    if rate < 1.0 { Ok(rate) } else { Err("a dropout rate is less than 1".into()) }
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "not a number")?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("a fraction lies between 0 and 1".into()) }
}
