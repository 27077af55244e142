//! `wheels inspect`: what a model folder holds.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use training_wheels::decode::Calibration;
use training_wheels::lm::TokenBatch;
use training_wheels::prelude::*;
use training_wheels::student::Prices;
use training_wheels::text::{BudgetPlacement, TextError};
use wheels_lm::CheckpointInfo;

use super::Outcome;
use crate::command_line::App;
use crate::run;
use crate::screen::{self, Output};

const EXAMPLES: &str = "\
Examples:
  wheels inspect distilled
  wheels inspect Qwen/Qwen2.5-0.5B-Instruct --json
  wheels inspect flan-t5-small --source 5,6,7,1 --target 0,9,10 --greedy 12 --json

The last command prints logits and greedy ids, to compare them with those of Hugging Face's transformers.";

/// Shows what a model folder holds, and whether it runs here.
///
/// For a student, it also shows how prompts state budgets, the prices of help and the calibration. The JSON has `logits`
/// at every position of the target, or of the source of a decoder-only model, and in `greedy` the ids that follow the
/// source, or those of the decoder, its start token first.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
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
    fn print(&self, help_tokens: &[String], output: Output) -> io::Result<()> {
        let trained = if self.trained { "trained" } else { "not trained (`distill` does it)" };
        output.line(format_args!("help token  for: {}, {trained}", help_tokens.join(", ")))?;
        match &self.stated_budget {
            Some(words) => output.line(format_args!("budgets     stated in prompts, such as \"{words}\""))?,
            None => output.line("budgets     not stated in prompts")?,
        }
        match &self.prices {
            Some(prices) => {
                let levels = prices.levels().iter();
                let levels = levels.map(|level| format!("{}: {:.2}", screen::percent(level.budget), level.price));
                output.line(format_args!(
                    "prices      of help, nats, by budget: {}",
                    levels.collect::<Vec<_>>().join(", ")
                ))?;
            }
            None => output.line("prices      none: there is no prices.json")?,
        }
        self.print_calibration(output)
    }

    /// Prints when the student asks.
    fn print_calibration(&self, output: Output) -> io::Result<()> {
        match &self.calibration {
            Some(calibration) => {
                let points = calibration.points().iter();
                let points = points.map(|point| {
                    let (rate, verification) = (screen::percent(point.rate), point.verification);
                    let verifies = if verification.is_none() { String::new() } else { format!(" ({verification})") };
                    format!("{rate}: {:.3}{verifies}", point.threshold)
                });
                output.line(format_args!(
                    "calibration asks {} the threshold, by help used: {}",
                    rule_of(calibration.confidence),
                    points.collect::<Vec<_>>().join(", ")
                ))?;
            }
            None => output.line("calibration none: there is no calibration.json")?,
        }
        Ok(())
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

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let folder = run::trained_model_folder(&flags.folder)?;
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
    app.output.json(&report)?;
    report.print(&accelerator.adapter.to_string(), app.output)?;
    Ok(())
}

impl Report {
    fn print(&self, adapter: &str, output: Output) -> io::Result<()> {
        output.line(format_args!("family      {} (runs here, on {adapter})", self.model_type))?;
        let files = if self.files == 1 { "1 file" } else { &format!("{} files", self.files) };
        output.line(format_args!("parameters  {} in {files}, as {}", self.parameters, self.formats.join(", ")))?;
        output.line(format_args!("vocabulary  {} rows; a text ends with {:?}", self.vocab_size, self.eos_token_id))?;
        match &self.tokenizer {
            Some(TokenizerReport { tokens, pad, ends, chat_template, help_tokens }) => {
                output
                    .line(format_args!("tokenizer   {tokens} tokens; padding is {pad}, a text ends with {ends:?}"))?;
                output.line(format_args!(
                    "chat        {}",
                    if *chat_template { "has a chat template" } else { "no chat template" }
                ))?;
                match (help_tokens.as_slice(), &self.help.calibration) {
                    ([], None) => output
                        .line("help token  none: this model does not ask (`student` adds one, `distill` trains it)")?,
                    ([], Some(_)) => {
                        output.line("help token  none: this model asks by its calibration")?;
                        self.help.print_calibration(output)?;
                    }
                    (names, _) => self.help.print(names, output)?,
                }
            }
            None => output.line("tokenizer   none: the folder has no tokenizer.json")?,
        }
        match self.unused.as_slice() {
            [] => output.line("tensors     all are used")?,
            unused => output.line(format_args!("tensors     not used: {}", unused.join(", ")))?,
        }
        if let Some(logits) = &self.logits {
            output.line(format_args!(
                "logits      {} at {} positions",
                logits.len(),
                logits.len() / self.vocab_size
            ))?;
        }
        if let Some(greedy) = &self.greedy {
            output.line(format_args!("greedy      {greedy:?}"))?;
        }
        Ok(())
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
