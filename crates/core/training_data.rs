//! The data of a distillation.

use crate::text::{Dataset, ExampleStream};

/// The data that a [`Distillation`](crate::Distillation) trains on.
pub enum TrainingData<'a> {
    /// Examples in memory.
    Memory(&'a Dataset),
    /// A file of any size. Its tokenised pairs are kept in a temporary file in the folder of the run. The result is the
    /// same as in memory.
    Stream(Box<ExampleStream>),
}

impl<'a> From<&'a Dataset> for TrainingData<'a> {
    fn from(dataset: &'a Dataset) -> Self {
        Self::Memory(dataset)
    }
}

impl From<ExampleStream> for TrainingData<'_> {
    fn from(stream: ExampleStream) -> Self {
        Self::Stream(Box::new(stream))
    }
}
