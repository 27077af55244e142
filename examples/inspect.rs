//! Shows what a model folder holds, whether it can be run here, and what the model computes.
//!
//!     cargo run --release --example inspect -- flan-t5-small
//!     cargo run --release --example inspect -- flan-t5-small --source 5,6,7,1 --target 0,9,10 --greedy 12 --json
//!
//! The second command prints logits and greedy ids, to be compared with those of Hugging Face's transformers. For a
//! student, the first one also shows how prompts state budgets, the prices of help and the calibration.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "support/program.rs"]
mod program;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use training_wheels::decode::Calibration;
use training_wheels::lm::{CheckpointInfo, TokenBatch};
use training_wheels::prelude::*;
use training_wheels::student::Prices;
use training_wheels::text::{BudgetPlacement, TextError};

/// Shows what a model folder holds, whether it can be run here, and what its model computes.
#[derive(Parser)]
struct Flags {
    /// The model folder, with config.json and model.safetensors, or a model of the hub (owner/name or
    /// owner/name@revision).
    folder: PathBuf,
    /// The token ids that the model reads, separated by commas: the encoder's, or those of a decoder-only model.
    #[arg(long, value_delimiter = ',')]
    source: Vec<u32>,
    /// The token ids that the decoder of an encoder-decoder reads, the start token first. If absent: the start token.
    #[arg(long, value_delimiter = ',', requires = "source")]
    target: Vec<u32>,
    /// The number of ids to write greedily after the source. Ids that end a text are not written.
    #[arg(long, default_value_t = 0, requires = "source")]
    greedy: usize,
    /// Print one JSON object. `logits` has those at every position of the target, or of the source of a decoder-only
    /// model. `greedy` has the ids that follow the source, or those of the decoder, its start token first.
    #[arg(long)]
    json: bool,
    /// The device: auto, cpu, cuda:0, vulkan, metal, wgpu, wgpu:cpu, ...
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
}

#[derive(Serialize)]
struct Report {
    model_type: String,
    parameters: usize,
    formats: Vec<String>,
    files: usize,
    unused: Vec<String>,
    vocab_size: usize,
    eos_token_id: Vec<u32>,
    tokenizer: Option<TokenizerReport>,
    help: HelpReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    greedy: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct TokenizerReport {
    tokens: usize,
    pad: u32,
    ends: Vec<u32>,
    chat_template: bool,
    help_tokens: Vec<String>,
}

/// What the folder of a student says about help.
#[derive(Serialize)]
struct HelpReport {
    /// Whether the folder has the trained heads that compute the logit of the help token.
    trained: bool,
    /// How the prompt states a budget of 20%. None if prompts state no budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    stated_budget: Option<String>,
    /// The price of help at each budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    prices: Option<Prices>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
}

impl HelpReport {
    fn of(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let template = PromptTemplate::from_dir(folder)?;
        let states = template.budget != BudgetPlacement::None;
        let stated_budget = states.then(|| HelpBudget::percent(20).words(template.wording));
        let (calibration, prices) = TextModel::help_files(folder)?;
        Ok(Self { trained: folder.join("heads.safetensors").exists(), stated_budget, prices, calibration })
    }

    /// Prints a line for each part, which says if it is missing.
    fn print(&self, help_tokens: &[String]) {
        let trained = if self.trained { "trained" } else { "not trained (`distill` does it)" };
        println!("help token  for: {}, {trained}", help_tokens.join(", "));
        match &self.stated_budget {
            Some(words) => println!("budgets     stated in prompts, such as \"{words}\""),
            None => println!("budgets     not stated in prompts"),
        }
        match &self.prices {
            Some(prices) => {
                let levels = prices.levels().iter();
                let levels = levels.map(|level| format!("{}: {:.2}", program::percent(level.budget), level.price));
                println!("prices      of help, nats, by budget: {}", levels.collect::<Vec<_>>().join(", "));
            }
            None => println!("prices      none: there is no prices.json"),
        }
        self.print_calibration();
    }

    /// Prints when the student asks.
    fn print_calibration(&self) {
        match &self.calibration {
            Some(calibration) => {
                let points = calibration.points().iter();
                let points = points.map(|point| {
                    let accepts = match point.verification {
                        Verification { tolerance_nats: f64::INFINITY, .. } => String::new(),
                        Verification { tolerance_nats, .. } => format!(" (accepts {tolerance_nats} nats)"),
                    };
                    format!("{}: {:.3}{accepts}", program::percent(point.rate), point.threshold)
                });
                println!(
                    "calibration asks {} the threshold, by help used: {}",
                    rule_of(calibration.confidence),
                    points.collect::<Vec<_>>().join(", ")
                );
            }
            None => println!("calibration none: there is no calibration.json"),
        }
    }
}

/// When a student asks by a measure of its confidence.
fn rule_of(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::MaxProb => "when the probability of its most likely token is below",
        Confidence::Margin => "when the margin of its two most likely tokens is below",
        Confidence::Entropy => "when the entropy (nats) is above",
        Confidence::HelpLogOdds => "when the log-odds of its help token (nats) are above",
    }
}

fn main() -> ExitCode {
    program::main(|flags: Flags| run(&flags))
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let folder = program::trained_model_folder(&flags.folder)?;
    let CheckpointInfo { model_type, parameters, formats, files, unused, spec } = Pretrained::inspect(&folder)?;
    let accelerator = device::open(&flags.device)?;
    let tokenizer = match Tokenizer::from_dir(&folder) {
        Ok(tokenizer) => Some(TokenizerReport {
            tokens: tokenizer.vocab_size(),
            pad: tokenizer.pad(),
            ends: tokenizer.ends().to_vec(),
            chat_template: tokenizer.chat_template().is_some(),
            help_tokens: tokenizer.help_tokens().into_iter().map(|(name, _)| name).collect(),
        }),
        Err(TextError::NoTokenizer { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(id) = flags.source.iter().chain(&flags.target).find(|id| **id as usize >= spec.vocab_size) {
        return Err(format!("token {id} is not one of the {} tokens of the model", spec.vocab_size).into());
    }
    if let Some(positions) =
        spec.max_positions.filter(|&positions| flags.source.len().max(flags.target.len()) > positions)
    {
        return Err(format!("the model has only {positions} positions: give fewer ids").into());
    }
    // A large model need not be loaded for what its files say.
    let (mut computed, mut written) = (None, None);
    if !flags.source.is_empty() {
        let model = Pretrained::load(&folder, &accelerator.device)?;
        computed = Some(logits(&model, flags)?);
        written = (flags.greedy > 0).then(|| greedy(&model, flags));
    }
    let help = HelpReport::of(&folder)?;
    let report = Report {
        help,
        logits: computed,
        greedy: written,
        vocab_size: spec.vocab_size,
        eos_token_id: spec.eos,
        model_type,
        parameters,
        formats,
        files,
        unused,
        tokenizer,
    };
    if flags.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    report.print(&accelerator.adapter.to_string());
    Ok(())
}

impl Report {
    fn print(&self, adapter: &str) {
        println!("family      {} (runs here, on {adapter})", self.model_type);
        let files = if self.files == 1 { "1 file" } else { &format!("{} files", self.files) };
        println!("parameters  {} in {files}, as {}", self.parameters, self.formats.join(", "));
        println!("vocabulary  {} rows; a text ends with {:?}", self.vocab_size, self.eos_token_id);
        match &self.tokenizer {
            Some(TokenizerReport { tokens, pad, ends, chat_template, help_tokens }) => {
                println!("tokenizer   {tokens} tokens; padding is {pad}, a text ends with {ends:?}");
                println!("chat        {}", if *chat_template { "has a chat template" } else { "no chat template" });
                match (help_tokens.as_slice(), &self.help.calibration) {
                    ([], None) => {
                        println!("help token  none: this model does not ask (`student` adds one, `distill` trains it)")
                    }
                    ([], Some(_)) => {
                        println!("help token  none: this model asks by its calibration");
                        self.help.print_calibration();
                    }
                    (names, _) => self.help.print(names),
                }
            }
            None => println!("tokenizer   none: the folder has no tokenizer.json"),
        }
        match self.unused.as_slice() {
            [] => println!("tensors     all are used"),
            unused => println!("tensors     not used: {}", unused.join(", ")),
        }
        if let Some(logits) = &self.logits {
            println!("logits      {} at {} positions", logits.len(), logits.len() / self.vocab_size);
        }
        if let Some(greedy) = &self.greedy {
            println!("greedy      {greedy:?}");
        }
    }
}

/// The logits at every position of the target, or of the source of a decoder-only model.
fn logits(model: &Pretrained, flags: &Flags) -> Result<Vec<f32>, Box<dyn Error>> {
    let start;
    let (prompt, tokens) = match (model.is_encoder_decoder(), flags.target.as_slice()) {
        // A decoder-only model starts with the last token of its prompt.
        (false, []) => (&flags.source[..1], flags.source.as_slice()),
        (false, _) => return Err("a decoder-only model has no --target: give all ids as --source".into()),
        (true, []) => {
            start = model.prefill(&TokenBatch::new(&[&flags.source], 0), 0).starts();
            (flags.source.as_slice(), start.as_slice())
        }
        (true, target) => (flags.source.as_slice(), target),
    };
    let mut context = model.prefill(&TokenBatch::new(&[prompt], 0), 0);
    let logits = model.forward(&TokenBatch::new(&[tokens], 0), &mut context).logits;
    Ok(logits.into_data().iter::<f32>().collect())
}

/// The ids that the model writes after the source, without ids that end a text.
fn greedy(model: &Pretrained, flags: &Flags) -> Vec<u32> {
    let mut context = model.prefill(&TokenBatch::new(&[&flags.source], 0), flags.greedy);
    let mut last = context.starts()[0];
    let mut text = if model.is_encoder_decoder() { vec![last] } else { vec![] };
    for _ in 0..flags.greedy {
        let logits = model.forward(&TokenBatch::column(&[last]), &mut context).logits.into_data();
        let mut best = (0, f32::NEG_INFINITY);
        for (id, logit) in (0..).zip(logits.iter::<f32>()) {
            if logit > best.1 && !model.spec().ends(id) {
                best = (id, logit);
            }
        }
        last = best.0;
        text.push(last);
    }
    text
}
