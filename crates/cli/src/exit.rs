//! The exit codes, which scripts can use.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::settings::SettingsError;

/// The exit codes, for `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0    Success
  1    The command failed, and standard error says why
  2    The command line or a file for --config is invalid
  130  Stopped by Ctrl-C or a signal. A run can go on: see its run.toml";

/// The command line or a file for `--config` is invalid.
pub(crate) const USAGE: u8 = 2;

/// Stopped by Ctrl-C, as shells report it.
pub(crate) const INTERRUPTED: i32 = 130;

/// The exit code for an error.
pub(crate) fn code_of(error: &(dyn Error + 'static)) -> ExitCode {
    if error.is::<SettingsError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// Whether the reader of standard output has closed it, as `head` does. Nothing is wrong then.
pub(crate) fn is_closed_output(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
