//! Flags that several commands have.

mod batching;
mod data;
mod generation;
mod models;
mod names;
mod pair;
mod task;

pub(crate) use batching::BatchingFlags;
pub(crate) use data::DataFlags;
pub(crate) use generation::GenerationFlags;
pub(crate) use models::ModelFlags;
pub(crate) use names::with_flags;
pub(crate) use pair::{PairFlags, Writer, Writers};
pub(crate) use task::Task;
