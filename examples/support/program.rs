//! How the examples start, and how they end.

use std::error::Error;
use std::process::ExitCode;

/// Runs an example with its log on, and tells an error with its causes in one line.
pub(crate) fn main(run: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    // wgpu calls each driver that it passes over an error; RUST_LOG=error shows them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,wgpu_hal=off")).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", training_wheels::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
