//! Training: objectives, batches, the trainer and its checkpoints.
//!
//! One [`Trainer`] serves every method: an [`Objective`] turns scored targets into a loss, and the trainer does the
//! rest, which is the same for all of them: batches of like lengths, gradients summed over workers and micro-batches,
//! clipping, AdamW, a schedule, validation, checkpoints that are whole or absent, and resumption bit for bit.
//!
//! This crate knows token ids and tensors. It neither tokenizes nor measures text: validation is a closure.

mod batches;
mod checkpoint;
mod config;
mod error;
pub mod objective;
mod report;
mod scored;
mod trainer;

pub use batches::{Batches, Pair, TrainingBatch};
pub use checkpoint::Checkpoints;
pub use config::{Decay, TrainerConfig};
pub use error::DistillError;
pub use objective::{CrossEntropy, Loss, Objective};
pub use report::{MetricsLog, StepReport};
pub use scored::Scored;
pub use trainer::{Outcome, Trainer, Validate};
