//! Sources of training batches: the interface to the trainer, tokenised data sets, and supervised batches.

mod prompts;
mod source;
mod supervised;

pub use prompts::{PromptSource, TokenPair, TokenizedDataset};
pub use source::{BatchSource, TrainingBatch};
pub use supervised::SupervisedBatches;
