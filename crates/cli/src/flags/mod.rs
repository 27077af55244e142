//! Flags that several commands have.

mod batching;
mod data;
mod generation;
mod models;
mod names;
mod pair;
mod remote;
mod task;

use std::error::Error;

use clap::builder::RangedU64ValueParser;

pub(crate) use batching::BatchingFlags;
pub(crate) use data::DataFlags;
pub(crate) use generation::GenerationFlags;
pub(crate) use models::ModelFlags;
pub(crate) use names::with_flags;
pub(crate) use pair::{PairFlags, Unit, Writer, Writers};
pub(crate) use remote::{RemoteFlags, url};
pub(crate) use task::Task;

/// The parser of a number that must be at least 1.
pub(crate) fn at_least_1() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// # Errors
/// If one of these flags is given, with the reason.
fn refuse(given: &[(&str, bool)], reason: &str) -> Result<(), Box<dyn Error>> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(format!("{flag} {reason}").into()),
        None => Ok(()),
    }
}
