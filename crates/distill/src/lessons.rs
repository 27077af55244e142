//! Where a trainer's micro-batches come from.

use crate::{DistillError, StepReport, TrainingBatch, Workers};

/// A source of micro-batches: a data set, or practice with a teacher.
///
/// A run is resumed bit for bit, so that what a source hands out may depend on its state, the model and the reports so
/// far, and on nothing else.
pub trait Lessons<M> {
    /// The next `count` micro-batches for `model`, which carries no gradients.
    ///
    /// # Errors
    /// Whatever making them can run into.
    fn next_batches(&mut self, model: &M, count: usize, workers: &Workers) -> Result<Vec<TrainingBatch>, DistillError>;

    /// Adds to the report of the step that the batches last handed out went into.
    fn report(&self, report: &mut StepReport) {
        let _ = report;
    }

    /// The words by which an error names the batches last handed out.
    fn place(&self) -> String;

    /// What a checkpoint keeps.
    fn state(&self) -> serde_json::Value;

    /// Goes back to a state that [`state`](Self::state) gave.
    ///
    /// # Errors
    /// The reason why it cannot.
    fn restore(&mut self, state: serde_json::Value) -> Result<(), String>;
}
