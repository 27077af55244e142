//! `wheels man`: the manual pages.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use serde_json::json;

use super::Outcome;
use crate::command_line::{App, CommandLine};

const EXAMPLES: &str = "\
Examples:
  wheels man ~/.local/share/man/man1 && man wheels-distill";

/// Writes the manual pages into a folder.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The folder, which is created if it is missing.
    folder: PathBuf,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let folder = &flags.folder;
    let failed = |error| format!("cannot write manual pages into {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(CommandLine::command(), folder).map_err(failed)?;
    app.output.line(format_args!("The manual pages are in {}.", folder.display()))?;
    app.output.json(&json!({ "folder": folder }))?;
    Ok(())
}
