//! The command that is run, with all its flags.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value as Json;
use toml::{Table, Value};
use training_wheels::text::{TextError, write_atomically};

use super::file::{COMMAND, is_setting, key_of};
use super::{SETTINGS, is_switch, read};

/// The name of the file with the flags of a run, in the folder of the run.
pub(crate) const RUN_FILE: &str = "run.toml";

/// The command that is run, with all its flags.
pub(crate) struct Invocation {
    /// The command, which knows the names of its flags.
    pub(crate) command: Command,
    /// Its names after `wheels`.
    path: String,
    flags: Table,
    /// The table `settings` of the file for `--config`.
    pub(crate) settings: Table,
}

impl Invocation {
    pub(super) fn new(command: Command, matches: &ArgMatches, path: String, settings: Table) -> Self {
        let mut flags = Table::new();
        for arg in command.get_arguments().filter(|arg| is_setting(arg) && arg.get_id() != SETTINGS) {
            flags.extend(value(arg, matches).map(|value| (key_of(arg), value)));
        }
        Self { command, path, flags, settings }
    }

    /// Writes all flags into the folder of a run, with the settings of a distillation, if it is one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn save(&self, folder: &Path, settings: Option<&Json>) -> Result<(), TextError> {
        let mut table = Table::new();
        table.insert(COMMAND.into(), Value::String(self.command.get_name().into()));
        table.extend(self.flags.clone());
        if let Some(Value::Table(settings)) = settings.and_then(toml_of) {
            table.insert(SETTINGS.into(), Value::Table(settings));
        }
        let path = folder.join(RUN_FILE);
        let from = std::env::current_dir().unwrap_or_default();
        let text = format!(
            "# This command goes on with the run if it was stopped, and repeats nothing that is done:\n\
             #     wheels {} --config {}\n\
             # Paths are relative to {}\n{table}",
            self.path,
            path.display(),
            from.display()
        );
        write_atomically(path, text)
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

/// JSON as TOML, which has no null: fields without a value are left out.
fn toml_of(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(values) => Value::Array(values.iter().filter_map(toml_of).collect()),
        Json::Object(fields) => {
            Value::Table(fields.iter().filter_map(|(key, value)| Some((key.clone(), toml_of(value)?))).collect())
        }
    })
}
