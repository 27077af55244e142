//! Sources of training batches: the interface to the trainer, tokenised data sets, and supervised batches.

mod pairs;
mod source;
mod store;
mod supervised;
mod tokenized_dataset;

pub use pairs::{PromptSource, TokenPair, TokenPairs};
pub use source::{BatchSource, TrainingBatch};
pub use supervised::SupervisedBatches;
pub(crate) use supervised::pack;
pub use tokenized_dataset::TokenizedDataset;
