//! How an example starts and ends.

use std::error::Error;
use std::process::ExitCode;

use env_logger::{Builder, Env};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs an example with its flags and with logging on, and prints an error with its causes in one line.
pub(crate) fn main<F: clap::Parser>(run: impl FnOnce(F) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let flags = F::parse();
    // wgpu logs an error for each driver that it skips. RUST_LOG=error shows them.
    Builder::from_env(Env::default().default_filter_or("warn,wgpu_hal=off")).format_timestamp(None).init();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", training_wheels::report(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
