//! Flags from a file, and flags saved as a file.
//!
//! A TOML file for `--config` holds flags by their names. Its flags are added to the command line, so that clap checks them
//! like all others. The same format is written beside the results of a run as `run.toml`.

mod error;
mod file;
mod invocation;
mod overlay;
mod usage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::Table;

pub(crate) use error::SettingsError;
pub(crate) use invocation::{Invocation, RUN_FILE, command_of_run};
pub(crate) use overlay::{assignment, overlay};
pub(crate) use usage::UsageError;

use crate::command_line::CommandLine;

/// The key of a table with the settings of a distillation.
const SETTINGS: &str = "settings";

/// Parses the arguments of the program, and the file that `--config` names.
///
/// # Errors
/// [`UsageError`] if one of them is invalid, or if help was asked for.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<(CommandLine, Invocation), UsageError> {
    let mut program = CommandLine::command();
    program.build();
    let (mut arguments, turned_off) = plain_switches(&program, arguments);
    // The file can have flags that are required, so their lack is no error yet.
    let given = program.clone().ignore_errors(true).try_get_matches_from(&arguments)?;
    let (command, flags) = leaf(&program, &given);
    let mut settings = Table::new();
    let config = flags.try_get_one::<PathBuf>("config").ok().flatten().cloned();
    if let (Some(config), true) = (&config, given.subcommand().is_some()) {
        let from_file =
            file::flags(config, command, |arg| turned_off.contains(&long(arg)) || is_given(command, flags, arg))?;
        let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        arguments.splice(end..end, from_file.flags.into_iter().map(OsString::from));
        if !from_file.positional.is_empty() {
            if !arguments.iter().any(|argument| argument == "--") {
                arguments.push("--".into());
            }
            arguments.extend(from_file.positional.into_iter().map(OsString::from));
        }
        settings = from_file.settings;
    }
    let with_file = |error: clap::Error| UsageError::Flags { error, file: config.clone() };
    let matches = program.try_get_matches_from_mut(&arguments).map_err(with_file)?;
    let command_line = CommandLine::from_arg_matches(&matches).map_err(with_file)?;
    let (command, flags) = leaf(&program, &matches);
    let invocation = Invocation::new(command.clone(), flags, settings);
    Ok((command_line, invocation))
}

/// The arguments with `--switch=true` as `--switch`, and without `--switch=false`. The names of switches that were turned
/// off come second.
fn plain_switches(program: &Command, arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut names = Vec::new();
    collect_switches(program, &mut names);
    let (mut plain, mut turned_off) = (Vec::with_capacity(arguments.len()), Vec::new());
    let mut are_flags = true;
    for argument in arguments {
        are_flags &= argument != "--";
        let switch = argument.to_str().filter(|_| are_flags).and_then(|text| text.strip_prefix("--")?.split_once('='));
        match switch.filter(|(name, _)| names.iter().any(|switch| switch == name)) {
            Some((name, "false")) => turned_off.push(name.to_owned()),
            Some((name, "true")) => plain.push(format!("--{name}").into()),
            _ => plain.push(argument),
        }
    }
    (plain, turned_off)
}

fn collect_switches(command: &Command, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter(|arg| is_switch(arg)).map(long));
    command.get_subcommands().for_each(|command| collect_switches(command, names));
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn long(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

/// Whether the command line has a flag, or one that excludes it.
fn is_given(command: &Command, matches: &ArgMatches, arg: &Arg) -> bool {
    let on_command_line = |arg: &Arg| {
        let id = arg.get_id().as_str();
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    on_command_line(arg)
        || command.get_arg_conflicts_with(arg).into_iter().any(on_command_line)
        || command.get_arguments().any(|other| {
            on_command_line(other)
                && command.get_arg_conflicts_with(other).iter().any(|with| with.get_id() == arg.get_id())
        })
}

/// The innermost subcommand, and its matches.
fn leaf<'a>(mut command: &'a Command, mut matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    while let Some((name, inner)) = matches.subcommand() {
        command = command.find_subcommand(name).unwrap_or(command);
        matches = inner;
    }
    (command, matches)
}

/// The name that is nearest to a wrong one.
fn nearest(wrong: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let similarity = |name: &String| strsim::jaro_winkler(wrong, name);
    names.into_iter().max_by(|left, right| similarity(left).total_cmp(&similarity(right)))
}

/// The content of a TOML file.
fn read(path: &Path) -> Result<Table, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.into(), source })?;
    toml::from_str(&text).map_err(|source| SettingsError::Toml { path: path.into(), source })
}
