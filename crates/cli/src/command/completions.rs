//! `wheels completions`: completion scripts for shells.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use super::Outcome;
use crate::command_line::{App, CommandLine};

const EXAMPLES: &str = "\
Examples:
  wheels completions bash > ~/.local/share/bash-completion/completions/wheels
  wheels completions zsh > ~/.zfunc/_wheels
  wheels completions fish > ~/.config/fish/completions/wheels.fish";

/// Prints the completion script of a shell.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut CommandLine::command(), "wheels", &mut script);
    let script = String::from_utf8(script)?;
    app.output.part(&script)?;
    app.output.json(&json!({ "shell": flags.shell.to_string(), "script": script }))?;
    Ok(())
}
