//! The interface between a trainer and its data.

use burn::module::Module;
use wheels_lm::TokenBatch;
use wheels_student::Student;

use crate::objective::Requirements;
use crate::{DistillError, StepReport, TeacherHead, TeacherTargets, Workers};

/// A source of training batches, such as supervised pairs or rollouts with a teacher.
///
/// What a source returns may depend only on its [`state`](Self::state) and on the student. A resumed run then gives the
/// same bits as a run that was never interrupted.
pub trait BatchSource<M: Module> {
    /// What the batches contain besides their targets. The trainer rejects an objective that [requires](Requirements)
    /// more.
    fn provides(&self) -> Requirements;

    /// The next `count` micro-batches. `student` is the current student, which tracks no gradients.
    ///
    /// # Errors
    /// If a batch cannot be made.
    fn next_batches(
        &mut self,
        student: &Student<M>,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<TrainingBatch>, DistillError>;

    /// The head of the teacher, if the batches have its hidden states
    /// ([`TeacherDistributions::Hidden`](crate::TeacherDistributions)).
    fn teacher_head(&self) -> Option<&dyn TeacherHead> {
        None
    }

    /// Adds the numbers of this source to the report of a step, such as the prices of help.
    fn report(&self, report: &mut StepReport) {
        let _ = report;
    }

    /// The position in the data, for error messages, such as "epoch 2, batch 31".
    fn position(&self) -> String;

    /// The state of this source, which a checkpoint stores.
    fn state(&self) -> serde_json::Value;

    /// Restores a saved [`state`](Self::state).
    ///
    /// # Errors
    /// [`DistillError::SourceState`] if the state belongs to other data or another configuration.
    fn restore(&mut self, state: serde_json::Value) -> Result<(), DistillError>;
}

/// One micro-batch: prompts, and the texts that the student learns to write for them.
#[derive(Clone, Debug)]
pub struct TrainingBatch {
    /// The prompts, `[batch, source]`.
    pub prompts: TokenBatch,
    /// The tokens that the student learns to write, `[batch, time]`.
    pub targets: TokenBatch,
    /// The tokens that the decoder reads after the start token, `[batch, time]`. None if they are the targets.
    pub decoder_inputs: Option<TokenBatch>,
    /// The teacher's targets. None in supervised training.
    pub teacher: Option<TeacherTargets>,
}
