//! Gradient checkpointing by block.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

/// What gradient checkpointing keeps of a forward pass (Chen et al. 2016, arXiv 1604.06174; a segment is one block here).
///
/// Without checkpointing, a forward pass keeps the activations of all blocks for its backward pass. With it, the forward
/// pass runs without autodiff and keeps only the input of each block. [`backward`](Self::backward) then computes one block
/// again, takes its gradients, and goes on to the block before it. So the activations of one block exist at a time, besides
/// one tensor `[positions, d_model]` for each block. Each block is computed twice.
///
/// A model [with gradient checkpointing](crate::LanguageModel::with_gradient_checkpointing) records its passes, and
/// [`Context::take_tape`](crate::Context::take_tape) returns the tape.
#[derive(Default)]
pub struct Tape {
    /// In the order of the forward pass.
    steps: Vec<Step>,
    /// Whether the last step has computed the hidden states of a call.
    finished: bool,
}

/// A part of a forward pass that is computed again in the backward pass, such as a block.
struct Step {
    inputs: Vec<Taped>,
    run: Box<Run>,
}

/// Computes the output of a step from its inputs, with autodiff.
type Run = dyn Fn(&[Tensor<2>]) -> Tensor<2> + Send;

/// The output of a step.
#[derive(Clone, Debug)]
pub(crate) struct Taped {
    /// The values, which do not use autodiff.
    values: Tensor<2>,
    /// The number of the step. None if no parameter that they depend on is trained.
    step: Option<usize>,
}

impl Tape {
    /// Whether no parameter is trained, so that there are no gradients.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs a step without autodiff, and records it if something that its output depends on is trained.
    ///
    /// `forward` gets the `module` and the `inputs`, with or without autodiff. `state` is what changes with each step, such
    /// as the random numbers of dropout. In the backward pass, `forward` gets the state before the step again.
    pub(crate) fn step<const N: usize, M, S, F>(
        &mut self,
        module: &M,
        inputs: [&Taped; N],
        state: &mut S,
        forward: F,
    ) -> Taped
    where
        M: Module + 'static,
        S: Clone + Send + 'static,
        F: Fn(&M, [Tensor<2>; N], &mut S) -> Tensor<2> + Send + 'static,
    {
        assert!(!self.finished, "a model with gradient checkpointing reads the texts of a context once");
        let before = state.clone();
        let values = forward(&module.valid(), inputs.map(|input| input.values.clone()), state);
        if inputs.iter().all(|input| input.step.is_none()) && !is_trained(module) {
            return Taped { values, step: None };
        }
        let module = module.clone();
        let run = move |inputs: &[Tensor<2>]| {
            forward(&module, std::array::from_fn(|index| inputs[index].clone()), &mut before.clone())
        };
        self.steps.push(Step { inputs: inputs.map(Taped::clone).to_vec(), run: Box::new(run) });
        Taped { values, step: Some(self.steps.len() - 1) }
    }

    /// The output of the last step as a leaf, whose gradient [`backward`](Self::backward) takes. If nothing is trained, it
    /// tracks no gradient.
    pub(crate) fn finish(&mut self, output: Taped) -> Tensor<2> {
        self.finished = true;
        output.values.autodiff().set_require_grad(output.step.is_some())
    }

    /// Computes the steps again, the last one first, and calls `on_gradients` with the gradients of the parameters of each.
    /// A parameter of several steps, such as a shared embedding table, gets several gradients, to be added.
    ///
    /// # Shapes
    /// `gradient`: that of the hidden states, `[positions, d_model]`.
    pub fn backward(mut self, gradient: Tensor<2>, on_gradients: &mut dyn FnMut(Gradients)) {
        let mut carried: Vec<Option<Tensor<2>>> = vec![None; self.steps.len()];
        if let Some(last) = carried.last_mut() {
            *last = Some(gradient.without_autodiff());
        }
        // Each step is dropped with its inputs before the next one.
        while let (Some(Step { inputs, run }), Some(gradient)) = (self.steps.pop(), carried.pop()) {
            let Some(gradient) = gradient else { continue };
            let mut leaves = Vec::with_capacity(inputs.len());
            for Taped { values, step } in &inputs {
                leaves.push(values.clone().autodiff().set_require_grad(step.is_some()));
            }
            let mut gradients = (run(&leaves) * gradient).sum().backward();
            for (leaf, input) in leaves.iter().zip(&inputs) {
                if let (Some(step), Some(new)) = (input.step, leaf.grad_remove(&mut gradients)) {
                    carried[step] = Some(match carried[step].take() {
                        Some(sum) => sum + new,
                        None => new,
                    });
                }
            }
            on_gradients(gradients);
        }
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}

/// Whether a module has a parameter that is trained.
fn is_trained<M: Module>(module: &M) -> bool {
    struct Trained(bool);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.base().is_require_grad();
        }
    }
    let mut trained = Trained(false);
    module.visit(&mut trained);
    trained.0
}
