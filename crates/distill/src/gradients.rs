//! The gradient of a batch, in chunks of positions.

use std::borrow::Borrow;

use burn::module::{Module, ModuleDisplay};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use wheels_lm::{Hidden, LanguageModel, ModelSpec};
use wheels_student::Student;

use crate::objective::{LossScope, Objective, with_gradient};
use crate::read_batch::{BatchModels, ReadBatch};
use crate::{Scored, TrainingBatch};

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
    /// The largest number of positions whose logits exist at once. One part of the objective's
    /// [`scope`](Objective::scope) can have more.
    pub(crate) max_positions: usize,
    /// The number of positions in a chunk, if that is less.
    pub(crate) fast_positions: usize,
    /// The loss is divided by this number of tokens.
    pub(crate) tokens: usize,
}

/// The values of a batch by name, `[1]` each. A name occurs once for each chunk.
pub(crate) type NamedValues = Vec<(&'static str, Tensor<1>)>;

/// The number of positions in a chunk with which a device computes fastest.
///
/// On the CPU, the logits of a chunk then fit its caches, and its memory is used again for the next chunk. The gradient of the
/// head's weights, `[vocab, d_model]`, is added once for each chunk, so a chunk has at least `d_model` positions. Other
/// devices compute as many positions at once as they can.
pub(crate) fn fast_positions(spec: &ModelSpec, device: &Device) -> usize {
    #[cfg(feature = "cpu")]
    if wheels_cpu::computes(&Tensor::zeros([1, 1], &device.clone().without_autodiff())) {
        return spec.d_model.max(128);
    }
    let _ = (spec, device);
    usize::MAX
}

/// A chunk whose logits are computed.
struct ScoredChunk {
    /// The hidden states, which are leaves.
    hidden: Hidden,
    scored: Scored,
}

impl<M: LanguageModel + Module + ModuleDisplay> BatchGradients<'_, M> {
    /// Adds the gradient of a batch to `sum`. Returns the loss, the nll and all parts.
    pub(crate) fn add(&self, batch: &TrainingBatch, sum: &mut GradientsAccumulator<Student<M>>) -> NamedValues {
        let student = self.models.student;
        let (read, tape) = self.models.read_with_tape(batch);
        let chunks = read.chunks(self.objective.scope(), self.max_positions.min(self.fast_positions));
        let mut values = Vec::new();
        if let ([whole], None) = (chunks.as_slice(), &tape) {
            let gradients = self.loss(self.models.score(whole), &mut values).backward();
            sum.accumulate(student, GradientsParams::from_grads(gradients, student));
            return values;
        }
        let order: Vec<usize> = chunks.iter().flat_map(|chunk| chunk.positions.iter().copied()).collect();
        let (mut states, mut features) = (Vec::new(), Vec::new());
        for ScoredChunk { hidden, scored } in self.scored(chunks) {
            let mut gradients = self.loss(scored, &mut values).backward();
            states.push(leaf_gradient(&hidden.states(), &mut gradients));
            features.extend(hidden.features().map(|features| leaf_gradient(&features, &mut gradients)));
            sum.accumulate(student, GradientsParams::from_grads(gradients, student));
        }
        let hidden = read.hidden;
        let count = hidden.len();
        let states = in_batch_order(states, &order, count);
        let features = (!features.is_empty()).then(|| in_batch_order(features, &order, count));
        let mut add = |gradients| sum.accumulate(student, GradientsParams::from_grads(gradients, student));
        let mut carried = Vec::new();
        let below = if tape.is_none() { Some(hidden.states()) } else { None };
        for (tensor, gradient) in [(below, Some(&states)), (hidden.features(), features.as_ref())] {
            if let (Some(tensor), Some(gradient)) = (tensor.filter(Tensor::is_tracked), gradient) {
                carried.push(with_gradient(&tensor, gradient.clone()));
            }
        }
        if let Some(carried) = carried.into_iter().reduce(|sum, more| sum + more) {
            add(carried.backward());
        }
        if let Some(tape) = tape {
            tape.backward(states, &mut add);
        }
        values
    }

    /// The loss of a chunk per token of the whole step. Adds its values to `values`. The tensors that backward does not
    /// need are dropped.
    fn loss(&self, scored: Scored, values: &mut NamedValues) -> Tensor<1> {
        let loss = self.objective.loss(&scored);
        values.extend([(LOSS, loss.value), (NLL, loss.nll)]);
        values.extend(loss.parts);
        loss.total / self.tokens as f32
    }

    /// The chunks with their logits and with the sums over all of them that the objective needs. If all logits may exist at
    /// once, they are computed before the sums. If not, those of a chunk are computed when it is its turn, and for the sums in
    /// an extra pass.
    fn scored<'c>(&'c self, chunks: Vec<ReadBatch<'c>>) -> Box<dyn Iterator<Item = ScoredChunk> + 'c> {
        // A whole batch needs no other sums than its own.
        let needs_sums = self.objective.scope() == LossScope::TextAndSums && chunks.len() > 1;
        let fits = chunks.iter().map(|chunk| chunk.positions.len()).sum::<usize>() <= self.max_positions;
        if needs_sums && fits {
            let mut scored: Vec<ScoredChunk> = chunks.into_iter().map(|chunk| self.score(chunk)).collect();
            let sums = self.batch_sums(scored.iter().map(|chunk| &chunk.scored));
            scored.iter_mut().for_each(|chunk| chunk.scored.batch_sums = sums.clone());
            return Box::new(scored.into_iter());
        }
        let sums = if needs_sums { self.streamed_sums(&chunks) } else { None };
        Box::new(chunks.into_iter().map(move |chunk| {
            let mut chunk = self.score(chunk);
            chunk.scored.batch_sums = sums.clone();
            chunk
        }))
    }

    /// Computes the logits of a chunk, with its hidden states as leaves.
    fn score(&self, mut chunk: ReadBatch<'_>) -> ScoredChunk {
        let hidden = leaves(&chunk.hidden);
        chunk.hidden = hidden.clone();
        ScoredChunk { hidden, scored: self.models.score(&chunk) }
    }

    /// The sums over all chunks, with the logits of one chunk at a time.
    fn streamed_sums(&self, chunks: &[ReadBatch<'_>]) -> Option<Tensor<1>> {
        let student = self.models.student.valid();
        let models = BatchModels { student: &student, target_network: None, teacher: self.models.teacher };
        self.batch_sums(chunks.iter().map(|chunk| models.score(&chunk.without_autodiff())))
    }

    /// The sums of some chunks.
    fn batch_sums(&self, chunks: impl Iterator<Item = impl Borrow<Scored>>) -> Option<Tensor<1>> {
        chunks.filter_map(|chunk| self.objective.batch_sums(chunk.borrow())).reduce(|sums, more| sums + more)
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

/// The gradients of the positions `order` as those of all `count` positions of the batch; 0 at the others.
fn in_batch_order(parts: Vec<Tensor<2>>, order: &[usize], count: usize) -> Tensor<2> {
    let gradients = Tensor::cat(parts, 0);
    if order.iter().copied().eq(0..count) {
        return gradients;
    }
    let mut places = vec![order.len() as i32; count];
    for (place, &position) in (0..).zip(order) {
        places[position] = place;
    }
    // The last row is for the positions that are in no chunk.
    let none = gradients.clone().narrow(0, 0, 1).zeros_like();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &gradients.device());
    Tensor::cat(vec![gradients, none], 0).select(0, places)
}

/// The gradient of a leaf; 0 if there is none.
fn leaf_gradient(leaf: &Tensor<2>, gradients: &mut Gradients) -> Tensor<2> {
    leaf.grad_remove(gradients).unwrap_or_else(|| leaf.clone().without_autodiff().zeros_like())
}
