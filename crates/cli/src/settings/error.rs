//! What can be wrong with settings from a file.

use std::io;
use std::path::PathBuf;

/// Settings that are invalid. The program ends with the exit code for usage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SettingsError {
    /// The file could not be read.
    #[error("cannot read --config {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML", path.display())]
    Toml {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    /// The file was written for another command.
    #[error("{} has the flags of `wheels {found}`, not of `wheels {command}`", path.display())]
    OtherCommand { path: PathBuf, found: String, command: String },
    /// A key is no flag of the command, or no setting of a distillation.
    #[error("{origin} has no setting `{key}`: did you mean `{nearest}`?")]
    UnknownKey { origin: String, key: String, nearest: String },
    /// A value has a type that no flag has, or another one than the setting of a distillation.
    #[error("{origin}: {key} is {found}, and must be {expected}")]
    Value { origin: String, key: String, found: String, expected: &'static str },
    /// The settings of a distillation do not fit together.
    #[error("{origin}")]
    Settings {
        origin: String,
        #[source]
        source: serde_json::Error,
    },
    /// The argument of `--set` has no value.
    #[error("--set {text:?} must be KEY=VALUE, such as --set trainer.learning_rate=0.0003")]
    Assignment { text: String },
}
