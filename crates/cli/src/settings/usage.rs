//! A command line that cannot be run.

use std::path::PathBuf;
use std::process::ExitCode;

use super::SettingsError;
use crate::exit;
use crate::screen::console;

/// A command line that cannot be run, or one that asks for help.
pub(crate) enum UsageError {
    /// Flags are invalid, or help was asked for. The file is that of `--config`.
    Flags { error: clap::Error, file: Option<PathBuf> },
    /// The file for `--config` is invalid.
    Settings(SettingsError),
}

impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> Self {
        Self::Flags { error, file: None }
    }
}

impl From<SettingsError> for UsageError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl UsageError {
    /// Prints the error, or the help, and returns the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        match self {
            Self::Flags { error, file } => {
                // If it cannot be printed, the exit code still tells.
                let _ = error.print();
                if let (Some(file), true) = (file, error.use_stderr()) {
                    console::say(format_args!("\nFlags that are not on the command line are from {}.", file.display()));
                }
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
            }
            Self::Settings(error) => {
                console::say(format_args!("error: {}", training_wheels::report(error)));
                ExitCode::from(exit::USAGE)
            }
        }
    }
}
