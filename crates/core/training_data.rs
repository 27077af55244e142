//! The data of a distillation.

use std::path::Path;

use wheels_distill::TokenizedDataset;
use wheels_text::{Dataset, ExampleStream};

use crate::{Error, TextModel};

/// The data that a [`Distillation`](crate::Distillation) trains on.
pub enum TrainingData<'a> {
    /// Examples in memory.
    Memory(&'a Dataset),
    /// A file of any size. Its tokenised pairs are kept in a temporary file in the folder of the run. The result is the
    /// same as in memory.
    Stream(Box<ExampleStream>),
}

impl<'a> TrainingData<'a> {
    /// The examples as tokens, without those that have more than `max_tokens` on either side. `student` has the tokenizer
    /// and the prompt template.
    ///
    /// # Errors
    /// [`Error::Distill`] if the data cannot be read, or no pair is left.
    pub(crate) fn tokenise(
        self,
        student: &'a TextModel,
        max_tokens: usize,
        folder: &Path,
    ) -> Result<TokenizedDataset<'a>, Error> {
        let TextModel { tokenizer, template, .. } = student;
        Ok(match self {
            Self::Memory(data) => TokenizedDataset::new(data, tokenizer, template, max_tokens)?,
            Self::Stream(stream) => TokenizedDataset::on_disk(*stream, tokenizer, template, max_tokens, folder)?,
        })
    }
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
