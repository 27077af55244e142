//! The flags in a TOML file.

use std::path::Path;

use clap::{Arg, Command};
use toml::{Table, Value};

use super::{SETTINGS, SettingsError, is_switch, nearest, read};

/// The key of the command that a file belongs to.
pub(super) const COMMAND: &str = "command";

/// The flags of a file, as arguments.
#[derive(Default)]
pub(super) struct FileFlags {
    /// Such as `--steps=100`.
    pub(super) flags: Vec<String>,
    /// Arguments without a name.
    pub(super) positional: Vec<String>,
    /// The table with the settings of a distillation.
    pub(super) settings: Table,
}

/// Reads the flags of a command from a file. Those for which `is_overridden` holds are left out, and those with the value
/// that they have by default.
///
/// # Errors
/// [`SettingsError`] if the file cannot be read, belongs to another command or has an unknown key.
pub(super) fn flags(
    path: &Path,
    command: &Command,
    is_overridden: impl Fn(&Arg) -> bool,
) -> Result<FileFlags, SettingsError> {
    let table = read(path)?;
    let name = command.get_name().to_owned();
    let mut found = FileFlags::default();
    for (key, value) in table {
        if key == COMMAND {
            if value.as_str() != Some(&name) {
                let other = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                return Err(SettingsError::OtherCommand { path: path.into(), found: other, command: name });
            }
            continue;
        }
        let Some(arg) = command.get_arguments().filter(|arg| is_setting(arg)).find(|arg| key_of(arg) == key) else {
            let names = command.get_arguments().filter(|arg| is_setting(arg)).map(key_of);
            let nearest = nearest(&key, names).unwrap_or_default();
            let origin = format!("{}: `wheels {name}`", path.display());
            return Err(SettingsError::UnknownKey { origin, key, nearest });
        };
        match value {
            Value::Table(settings) if key == SETTINGS => found.settings = settings,
            value if is_overridden(arg) => drop(value),
            value => found.add(arg, value, path)?,
        }
    }
    Ok(found)
}

/// Whether a file can have the flag.
pub(super) fn is_setting(arg: &Arg) -> bool {
    !matches!(arg.get_id().as_str(), "help" | "version" | "config" | "json" | "set")
}

/// The key of a flag: its name with underscores.
pub(super) fn key_of(arg: &Arg) -> String {
    arg.get_long().unwrap_or(arg.get_id().as_str()).replace('-', "_")
}

impl FileFlags {
    fn add(&mut self, arg: &Arg, value: Value, path: &Path) -> Result<(), SettingsError> {
        let invalid = |found: String, expected| {
            let (origin, key) = (path.display().to_string(), key_of(arg));
            Err(SettingsError::Value { origin, key, found, expected })
        };
        if is_switch(arg) {
            match value {
                Value::Boolean(true) => self.flags.extend(arg.get_long().map(|long| format!("--{long}"))),
                Value::Boolean(false) => {}
                other => return invalid(other.to_string(), "true or false"),
            }
            return Ok(());
        }
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            texts.push(match value {
                Value::String(text) => text,
                Value::Array(_) | Value::Table(_) | Value::Datetime(_) => {
                    return invalid(value.to_string(), "a text, a number or a list of these");
                }
                number => number.to_string(),
            });
        }
        let by_default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let delimiter = arg.get_value_delimiter().map(String::from);
        let joined = delimiter.map(|delimiter| texts.join(&delimiter));
        if joined.clone().map_or(by_default == texts, |joined| by_default == [joined]) {
            return Ok(());
        }
        match (arg.get_long(), joined) {
            (None, _) => self.positional.extend(texts),
            (Some(long), Some(joined)) => self.flags.push(format!("--{long}={joined}")),
            (Some(long), None) => self.flags.extend(texts.iter().map(|text| format!("--{long}={text}"))),
        }
        Ok(())
    }
}
