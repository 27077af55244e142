//! A batch that is scored with teacher forcing.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use wheels_lm::LanguageModel;
use wheels_student::{Student, Values};

use crate::read_batch::BatchModels;
use crate::{TeacherHead, TrainingBatch};

/// A batch scored with teacher forcing: the student's logits and values, and the teacher's log-probs, at every position
/// of the targets.
///
/// It can also be a chunk of a batch. A chunk for an objective with the scope
/// [`Position`](crate::LossScope::Position) has one position in each of its rows.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The student's logits, `[batch, time, vocab]`. They track gradients if the student does.
    pub logits: Tensor<3>,
    /// V and V_C. They track gradients if the student does. None for a student without heads.
    pub values: Option<Values>,
    /// The prices of the [`PricePrompts`](crate::PricePrompts). None if the batch has no such prompts or the student
    /// has no heads, and in all chunks of a batch but the first.
    pub price_targets: Option<PriceTargets>,
    /// The token to write at each position, `[batch, time]`; not tracked.
    pub targets: Tensor<2, Int>,
    /// 1 at a target and 0 at padding, `[batch, time]`; not tracked.
    pub mask: Tensor<2>,
    /// The teacher's targets. None in supervised training.
    pub teacher: Option<TeacherTensors>,
    /// The same positions, scored by a target network; not tracked. None without a target network.
    pub target_network: Option<Box<Scored>>,
    /// The [sums over the whole batch](crate::Objective::batch_sums), not tracked. None if these are the positions of
    /// the whole batch, or if the objective needs no sums.
    pub batch_sums: Option<Tensor<1>>,
}

/// Predicted and true prices of some prompts, nats, `[prompts, 1]` each.
#[derive(Clone, Debug)]
pub struct PriceTargets {
    /// The price that the student predicts from the prompt. It tracks gradients if the student does.
    pub predicted: Tensor<2>,
    /// The price of the budget that the prompt states; not tracked.
    pub price: Tensor<2>,
    /// The number of target tokens in the whole batch.
    pub batch_tokens: usize,
}

/// [`TeacherTargets`](crate::TeacherTargets) as tensors, none of which is tracked.
#[derive(Clone, Debug)]
pub struct TeacherTensors {
    /// The teacher's log-probabilities, nats, `[batch, time, vocab]`.
    pub log_probs: Tensor<3>,
    /// The column of the student's help token. None for a student that does not ask.
    pub help_token: Option<usize>,
    /// 1 if the teacher chose the token, and 0 otherwise, `[batch, time]`.
    pub helped: Tensor<2>,
    /// The price of help, nats, `[batch, 1]`.
    pub price: Tensor<2>,
    /// 1 in rows that the student wrote greedily, as it will be deployed, and 0 in others, `[batch, 1]`.
    pub deployed: Tensor<2>,
    /// 1 in rows that end with the end-of-text token, after which there is no more reward; 0 in others, `[batch, 1]`.
    pub ended: Tensor<2>,
}

impl Scored {
    /// Scores the targets of a batch in one forward pass. `teacher` is the head of the batch's source.
    ///
    /// # Panics
    /// If the batch has hidden states of a teacher and there is no head.
    pub fn new<M: Module + LanguageModel>(
        student: &Student<M>,
        batch: &TrainingBatch,
        teacher: Option<&dyn TeacherHead>,
    ) -> Self {
        let models = BatchModels { student, target_network: None, teacher };
        models.score(&models.read(batch))
    }
}
