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
mod constraint;
#[cfg(feature = "dashboard")]
mod dashboard;
mod error;
pub mod exact;
mod guidance;
mod learner;
mod lessons;
mod mixture;
pub mod objective;
mod practice;
mod replay;
mod report;
mod scored;
mod trainer;
mod workers;

pub use batches::{Batches, Pair, TrainingBatch};
pub use checkpoint::Checkpoints;
pub use config::{Decay, PracticeConfig, TrainerConfig};
pub use constraint::{BadPrices, ConstraintConfig, LagrangeMultiplier, Prices, Usage};
#[cfg(feature = "dashboard")]
pub use dashboard::Dashboard;
pub use error::DistillError;
pub use guidance::{Guidance, GuidedRow, Rehearsal};
pub use learner::Learner;
pub use lessons::Lessons;
pub use mixture::Mixture;
pub use objective::{CrossEntropy, Loss, Objective};
pub use practice::{MakePrompt, Practice, Reading};
pub use report::{MetricsLog, StepReport};
pub use scored::{Guided, Priced, Scored};
pub use trainer::{Outcome, Trainer, Validate};
pub use workers::Workers;
