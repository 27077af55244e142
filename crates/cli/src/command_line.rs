//! The command line: what all commands share, and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command::{self, Outcome};
use crate::exit;
use crate::screen::Output;
use crate::settings::Invocation;

const EXAMPLES: &str = "\
Examples:
  wheels generate \"a text editor\"
  wheels distill --teacher T --student S --data train.jsonl --valid valid.jsonl --out distilled
  wheels chat --student distilled --teacher T --budget 20%
  wheels distill --config distilled/run.toml

The first one needs no models: sample models translate into Italian. The last one goes on with a run, or repeats it.";

/// Distils a large language model (the teacher) into a small one (the student) that asks the teacher for help within a
/// budget.
///
/// A model is a folder in Hugging Face's layout, or a model of its hub (owner/name or owner/name@revision).
#[derive(Parser)]
#[command(name = "wheels", version, arg_required_else_help = true, after_help = format!("{EXAMPLES}\n\n{}", exit::CODES))]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
}

/// The flags of all commands.
#[derive(Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct GlobalFlags {
    /// Print JSON on standard output: one object, or one on each line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// A TOML file with flags by their names, such as the run.toml of a run. The command line wins over it.
    ///
    /// `max_tokens = 64` stands for `--max-tokens 64`, and `half = true` for `--half`; `--half=false` on the command line
    /// turns it off. An unknown name is an error.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What a command gets besides its own flags.
pub(crate) struct App {
    pub(crate) output: Output,
    pub(crate) invocation: Invocation,
}

/// A new command is one file in `command/`, one variant here and one line in [`Command::run`].
#[derive(Subcommand)]
pub(crate) enum Command {
    Generate(command::generate::Flags),
    Chat(command::chat::Flags),
    Serve(command::serve::Flags),
    Pull(command::pull::Flags),
    Inspect(command::inspect::Flags),
    Train(command::train::Flags),
    Student(command::student::Flags),
    Distill(command::distill::Flags),
    Calibrate(command::calibrate::Flags),
    Evaluate(command::evaluate::Flags),
    Texts(command::texts::Flags),
    CacheTeacher(command::cache_teacher::Flags),
    Plan(command::plan::Flags),
    Devices(command::devices::Flags),
    Completions(command::completions::Flags),
    Man(command::man::Flags),
}

impl Command {
    pub(crate) fn run(&self, app: &App) -> Outcome {
        match self {
            Self::Generate(flags) => command::generate::run(flags, app),
            Self::Chat(flags) => command::chat::run(flags, app),
            Self::Serve(flags) => command::serve::run(flags, app),
            Self::Pull(flags) => command::pull::run(flags, app),
            Self::Inspect(flags) => command::inspect::run(flags, app),
            Self::Train(flags) => command::train::run(flags, app),
            Self::Student(flags) => command::student::run(flags, app),
            Self::Distill(flags) => command::distill::run(flags, app),
            Self::Calibrate(flags) => command::calibrate::run(flags, app),
            Self::Evaluate(flags) => command::evaluate::run(flags, app),
            Self::Texts(flags) => command::texts::run(flags, app),
            Self::CacheTeacher(flags) => command::cache_teacher::run(flags, app),
            Self::Plan(flags) => command::plan::run(flags, app),
            Self::Devices(flags) => command::devices::run(flags, app),
            Self::Completions(flags) => command::completions::run(flags, app),
            Self::Man(flags) => command::man::run(flags, app),
        }
    }
}
