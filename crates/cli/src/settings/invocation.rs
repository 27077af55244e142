//! The command that is run, with all its flags.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};
use training_wheels::DistillationConfig;
use wheels_text::write_atomically;

use super::file::{COMMAND, is_setting, key_of};
use super::{SETTINGS, is_switch, read};

/// The name of the file with the flags of a run, in the folder of the run.
pub(crate) const RUN_FILE: &str = "run.toml";

/// The command that is run, with all its flags.
pub(crate) struct Invocation {
    /// The command, which knows the names of its flags.
    pub(crate) command: Command,
    flags: Table,
    /// The table `settings` of the file for `--config`.
    pub(crate) settings: Table,
}

impl Invocation {
    pub(super) fn new(command: Command, matches: &ArgMatches, settings: Table) -> Self {
        let mut flags = Table::new();
        for arg in command.get_arguments().filter(|arg| is_setting(arg) && arg.get_id() != SETTINGS) {
            flags.extend(value(arg, matches).map(|value| (key_of(arg), value)));
        }
        Self { command, flags, settings }
    }

    /// Writes all flags into the folder of a run, with the settings of a distillation, if it is one.
    ///
    /// # Errors
    /// If the file cannot be written, or a number is too large for TOML.
    pub(crate) fn save(&self, folder: &Path, settings: Option<&DistillationConfig>) -> Result<(), Box<dyn Error>> {
        let name = self.command.get_name();
        let mut table = Table::new();
        table.insert(COMMAND.into(), Value::String(name.into()));
        table.extend(self.flags.clone());
        if let Some(settings) = settings {
            // TOML has no null: fields without a value are left out.
            table.insert(SETTINGS.into(), Value::Table(Table::try_from(settings)?));
        }
        let path = folder.join(RUN_FILE);
        let from = std::env::current_dir().unwrap_or_default();
        let text = format!(
            "# This command goes on with the run if it was stopped, and repeats nothing that is done:\n\
             #     wheels {name} --config {}\n\
             # Paths are relative to {}\n{table}",
            path.display(),
            from.display()
        );
        Ok(write_atomically(path, text)?)
    }

    /// As [`save`](Self::save), for a run that goes on without the file: an error is logged.
    pub(crate) fn save_or_warn(&self, folder: &Path, settings: Option<&DistillationConfig>) {
        if let Err(error) = self.save(folder, settings) {
            log::warn!("{RUN_FILE} is not written: {}", training_wheels::report(error.as_ref()));
        }
    }
}

/// The command that goes on with the run in a folder. None if no run of this program is there.
pub(crate) fn command_of_run(folder: &Path) -> Option<String> {
    let path: PathBuf = folder.join(RUN_FILE);
    let name = read(&path).ok()?.get(COMMAND)?.as_str()?.to_owned();
    Some(format!("wheels {name} --config {}", path.display()))
}

/// The value of a flag. None if it has none, and for a switch that is off.
fn value(arg: &Arg, matches: &ArgMatches) -> Option<Value> {
    let id = arg.get_id().as_str();
    if is_switch(arg) {
        return matches.get_flag(id).then_some(Value::Boolean(true));
    }
    let mut values = Vec::new();
    for raw in matches.get_raw(id)? {
        values.push(typed(&raw.to_string_lossy()));
    }
    let is_list = arg.get_value_delimiter().is_some()
        || matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|number| number.max_values() > 1);
    if is_list { Some(Value::Array(values)) } else { values.pop() }
}

/// A number if the text is one, and would be written in the same way again.
fn typed(text: &str) -> Value {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) if number.to_string() == text => Value::Integer(number),
        (_, Ok(number)) if number.is_finite() && number.to_string() == text => Value::Float(number),
        _ => Value::String(text.to_owned()),
    }
}
