//! Flags that several commands have.

mod batching;
mod data;
mod generation;
mod models;
mod names;
mod pair;
mod remote;
mod task;

use clap::builder::RangedU64ValueParser;

pub(crate) use batching::BatchingFlags;
pub(crate) use data::DataFlags;
pub(crate) use generation::GenerationFlags;
pub(crate) use models::ModelFlags;
pub(crate) use names::with_flags;
pub(crate) use pair::{PairFlags, StatedBudget, Unit, Writer, Writers};
pub(crate) use remote::{RemoteFlags, url};
pub(crate) use task::Task;

/// The parser of a number that must be at least 1.
pub(crate) fn at_least_1() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}
