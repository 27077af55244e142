//! `wheels pull`: models of the hub.

use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use crate::command_line::App;
use crate::run;

const EXAMPLES: &str = "\
Examples:
  wheels pull HuggingFaceTB/SmolLM2-135M-Instruct
  wheels pull Qwen/Qwen2.5-0.5B-Instruct Qwen/Qwen2.5-1.5B-Instruct@main

The variables are those of Hugging Face's libraries: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.";

/// Downloads models of Hugging Face's hub, and prints their folders.
///
/// The files go into the cache that Hugging Face's libraries use. All commands take the name of a model as well, and
/// download it when it is needed. A download that was interrupted goes on.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The models: owner/name, or owner/name@revision.
    #[arg(required = true)]
    models: Vec<PathBuf>,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    for model in &flags.models {
        let folder = run::model_folder(model)?;
        app.output.line(folder.display())?;
        app.output.json(&json!({ "model": model, "folder": folder }))?;
    }
    Ok(())
}
