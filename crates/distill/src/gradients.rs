//! The gradient of a batch, in chunks of positions.

use burn::module::{Module, ModuleDisplay};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Tensor};
use wheels_lm::{Hidden, LanguageModel};
use wheels_student::Student;

use crate::TrainingBatch;
use crate::objective::{LossScope, Objective};
use crate::read_batch::{BatchModels, ReadBatch};

/// The names of the loss and the negative log-likelihood (nll) among the values of a batch.
pub(crate) const LOSS: &str = "loss";
pub(crate) const NLL: &str = "nll";

/// The gradient of an objective on batches.
///
/// The largest tensors of a training step have one number for each position and word, and backward needs several of
/// them at once. They therefore exist for one chunk of positions at a time. The model below the head is read once. For
/// each chunk, the gradient stops at its hidden states, which are leaves. The gradients of all leaves together are then
/// carried into the model below. The sum is the gradient of the whole. With gradient checkpointing, the model below is a
/// [`Tape`](wheels_lm::Tape), and its gradients are computed block by block.
pub(crate) struct BatchGradients<'a, M: Module> {
    pub(crate) objective: &'a dyn Objective,
    pub(crate) models: BatchModels<'a, M>,
    /// The largest number of positions in a chunk. A chunk has at least one part of the objective's
    /// [`scope`](Objective::scope).
    pub(crate) max_positions: usize,
    /// The loss is divided by this number of tokens.
    pub(crate) tokens: usize,
}

/// The values of a batch by name, `[1]` each. A name occurs once for each chunk.
pub(crate) type NamedValues = Vec<(&'static str, Tensor<1>)>;

impl<M: LanguageModel + Module + ModuleDisplay> BatchGradients<'_, M> {
    /// Adds the gradient of a batch to `sum`. Returns the loss, the nll and all parts.
    pub(crate) fn add(&self, batch: &TrainingBatch, sum: &mut GradientsAccumulator<Student<M>>) -> NamedValues {
        let student = self.models.student;
        let (read, tape) = self.models.read_with_tape(batch);
        let chunks = read.chunks(self.objective.scope(), self.max_positions);
        let mut values = Vec::new();
        if let ([whole], None) = (chunks.as_slice(), &tape) {
            let gradients = self.loss(whole, &mut values).backward();
            sum.accumulate(student, GradientsParams::from_grads(gradients, student));
            return values;
        }
        // A whole batch needs no other sums than its own.
        let batch_sums = if chunks.len() > 1 { self.batch_sums(&chunks) } else { None };
        let (mut states, mut features) = (Vec::new(), Vec::new());
        for mut chunk in chunks {
            let hidden = leaves(&chunk.hidden);
            chunk.hidden = hidden.clone();
            chunk.batch_sums = batch_sums.clone();
            let mut gradients = self.loss(&chunk, &mut values).backward();
            states.push(leaf_gradient(&hidden.states(), &mut gradients));
            features.extend(hidden.features().map(|features| leaf_gradient(&features, &mut gradients)));
            sum.accumulate(student, GradientsParams::from_grads(gradients, student));
        }
        let hidden = read.hidden;
        let mut add = |gradients| sum.accumulate(student, GradientsParams::from_grads(gradients, student));
        let mut carried = Vec::new();
        let below = if tape.is_none() { Some(hidden.states()) } else { None };
        for (tensor, gradients) in [(below, &states), (hidden.features(), &features)] {
            if let Some(tensor) = tensor.filter(Tensor::is_tracked) {
                carried.push((tensor * Tensor::from_inner(Tensor::cat(gradients.clone(), 0))).sum());
            }
        }
        if !carried.is_empty() {
            add(Tensor::cat(carried, 0).sum().backward());
        }
        if let Some(tape) = tape {
            tape.backward(Tensor::cat(states, 0), &mut add);
        }
        values
    }

    /// The loss of a chunk per token of the whole step. Adds its values to `values`. The tensors that backward does not
    /// need are dropped.
    fn loss(&self, chunk: &ReadBatch<'_>, values: &mut NamedValues) -> Tensor<1> {
        let loss = self.objective.loss(&self.models.score(chunk));
        values.extend([(LOSS, loss.value), (NLL, loss.nll)]);
        values.extend(loss.parts);
        loss.total / self.tokens as f32
    }

    /// The sums over all chunks that the objective needs.
    fn batch_sums(&self, chunks: &[ReadBatch<'_>]) -> Option<Tensor<1>> {
        if self.objective.scope() != LossScope::TextAndSums {
            return None;
        }
        let student = self.models.student.valid();
        let models = BatchModels { student: &student, target_network: None, teacher: self.models.teacher };
        let mut total: Option<Tensor<1>> = None;
        for chunk in chunks {
            let sums = self.objective.batch_sums(&models.score(&chunk.without_autodiff()))?;
            total = Some(match total {
                Some(total) => total + sums,
                None => sums,
            });
        }
        total
    }
}

/// The same hidden states as leaves, at which gradients stop. Those that track no gradients stay as they are.
fn leaves(hidden: &Hidden) -> Hidden {
    let leaf = |tensor: Tensor<2>| {
        let tracked = tensor.is_tracked();
        tensor.detach().set_require_grad(tracked)
    };
    let states = Hidden::new(leaf(hidden.states()));
    match hidden.features() {
        Some(features) => states.with_features(leaf(features)),
        None => states,
    }
}

/// The gradient of a leaf; 0 if there is none.
fn leaf_gradient(leaf: &Tensor<2>, gradients: &mut Gradients) -> Tensor<2> {
    leaf.grad_remove(gradients).unwrap_or_else(|| leaf.clone().without_autodiff().zeros_like())
}
