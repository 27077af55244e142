//! `wheels student`: a student made from a model.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;
use training_wheels::lm::{FloatFormat, ModelSize};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use training_wheels::text::{BudgetPlacement, ChatPrompt};
use wheels_distill::FolderContent;

use super::Outcome;
use crate::command_line::App;
use crate::run;
use crate::screen::console;

const EXAMPLES: &str = "\
Examples:
  wheels student --from teacher --out student
  wheels student --from teacher --out student --every-block 2
  wheels student --from teacher --out student --width 192 --layers 4
  wheels student --from Qwen/Qwen2.5-0.5B-Instruct --out student --chat --system \"Translate.\"";

/// Makes a student from a model.
///
/// It is the model itself with a help token, every nth block of it, or a new model of another size with the same tokenizer.
///
/// `distill` then trains it. Hugging Face's transformers opens the folder. If the model is an adapter (LoRA), the result is a
/// whole model with the adapter added to its weights.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The folder of the model to start from, such as the teacher, or a model of the hub (owner/name or
    /// owner/name@revision).
    #[arg(long, value_name = "MODEL")]
    from: PathBuf,
    /// The folder for the student.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The name of the expert whose help the student asks for; its help token is added to the vocabulary.
    #[arg(long, default_value = "teacher")]
    help_token: String,
    /// Keep the blocks 0, N, 2N and so on, with their weights.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every_block: u64,
    /// Make a new model with random weights and this width of the hidden states.
    #[arg(long, requires = "layers", conflicts_with = "every_block")]
    width: Option<usize>,
    /// The number of blocks of the new model; of the encoder, if there is one.
    #[arg(long, requires = "width")]
    layers: Option<usize>,
    /// The number of blocks of the new decoder. If absent: as --layers.
    #[arg(long, requires = "width")]
    decoder_layers: Option<usize>,
    /// The text before every source text, saved in prompt.json. If absent: as in the folder.
    #[arg(long, conflicts_with = "task")]
    prefix: Option<String>,
    /// The text after every source text, for a decoder-only model, such as "\nSummary:".
    #[arg(long)]
    suffix: Option<String>,
    /// The name of a task in config.json's `task_specific_params`, such as translation_en_to_de: its prefix is used.
    #[arg(long)]
    task: Option<String>,
    /// Make prompts with the folder's chat template: the source text is the user's turn.
    #[arg(long)]
    chat: bool,
    /// The text of the system turn. If absent: what the chat template writes by itself.
    #[arg(long, requires = "chat")]
    system: Option<String>,
    /// State the budget in the system turn and not in the user's turn.
    #[arg(long, requires = "system")]
    budget_in_system: bool,
    /// The seed of random weights.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Save the weights in half precision.
    #[arg(long)]
    half: bool,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let _lock = run::FolderLock::new(&flags.out, FolderContent::Free)?;
    let device = device::open(&"cpu".parse()?)?.device;
    device.seed(flags.seed);
    let from = run::trained_model_folder(&flags.from)?;
    let mut student = TextModel::open(&from, &device)?.merged().with_help_token(&flags.help_token)?;
    student.template = template(flags, &from, student.template)?;
    // A template that the folder cannot use is an error now, and not after training.
    student.template.prompt(&student.tokenizer, "a text", HelpBudget::percent(20))?;
    let model = &student.model.model;
    let smaller = match flags.width.zip(flags.layers) {
        Some((width, layers)) => {
            Some(model.resized(ModelSize { width, layers, decoder_layers: flags.decoder_layers }, &device)?)
        }
        None if flags.every_block > 1 => Some(model.clone().with_every_nth_block(flags.every_block as usize)),
        None => None,
    };
    if let Some(smaller) = smaller {
        // Heads, prices and calibration belong to the old model.
        student = TextModel { model: Student::new(smaller), calibration: None, prices: None, ..student };
    }
    let format = if flags.half { FloatFormat::F16 } else { FloatFormat::F32 };
    student.save(&flags.out, format)?;
    let info = Pretrained::inspect(&flags.out)?;
    let (out, tokens) = (flags.out.display(), student.tokenizer.vocab_size());
    let parameters = info.parameters;
    console::say(format_args!(
        "wrote {out}: {parameters} parameters, {tokens} tokens; `wheels distill` trains it to ask"
    ));
    app.output.json(&json!({ "out": flags.out, "parameters": parameters, "tokens": tokens }))?;
    Ok(())
}

/// The prompt template of the student.
fn template(flags: &Flags, from: &Path, mut template: PromptTemplate) -> Result<PromptTemplate, Box<dyn Error>> {
    if let Some(task) = &flags.task {
        template.prefix = PromptTemplate::from_task(from, task)?.prefix;
    }
    template.prefix = flags.prefix.clone().unwrap_or(template.prefix);
    template.suffix = flags.suffix.clone().unwrap_or(template.suffix);
    if flags.chat {
        template.chat = Some(ChatPrompt { system: flags.system.clone(), ..ChatPrompt::default() });
    }
    if flags.budget_in_system {
        template.budget = BudgetPlacement::System;
    }
    Ok(template)
}
