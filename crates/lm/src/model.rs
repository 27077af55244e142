//! The interface between language models and everything that uses them.

use burn::tensor::{Device, Tensor};

use crate::{Context, Hidden, Positions, TokenBatch};

/// What a caller must know about a model to feed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// The number of columns of the logits. Help tokens, if there are any, are among them.
    pub vocab_size: usize,
    /// The width of the last hidden states.
    pub d_model: usize,
    /// The id that pads short rows of a batch.
    pub pad: u32,
    /// The id that ends a text.
    pub eos: u32,
}

/// What [`LanguageModel::forward`] returns.
#[derive(Clone, Debug)]
pub struct LmOutput {
    /// Unnormalised log-probabilities of the token after each position, `[batch, time, vocab]`.
    pub logits: Tensor<3>,
    /// The last hidden states from which the logits were computed, one for each of the `batch * time` positions.
    pub hidden: Hidden,
}

/// A language model: it reads a prompt once and then continues it.
///
/// The model holds weights only. Everything that changes while a text grows lives in a [`Context`] that the caller
/// owns. A batch may be ragged in two ways: the rows of one call may differ in length, and the rows of one context may
/// have read different numbers of tokens.
///
/// The crate's documentation shows a complete model of another crate.
pub trait LanguageModel {
    /// What a caller must know to feed this model.
    fn spec(&self) -> &ModelSpec;

    /// The device that holds the weights.
    fn device(&self) -> Device;

    /// Reads a batch of prompts and returns the context from which they are continued.
    ///
    /// `capacity` is the number of tokens per row for which caches are allocated ahead. Caches grow when a text becomes
    /// longer. With a capacity of 0 there is no cache: every call of [`hidden`](Self::hidden) starts at the prompt again
    /// and leaves the context as it was. Training scores whole targets in this way.
    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context;

    /// Appends the rows of `tokens` to the given `rows` of a context, in that order, and returns the last hidden states
    /// at the requested positions.
    ///
    /// The first token that a row reads is its [start token](Context::starts). States at positions past the end of a
    /// short row are meaningless, and such positions leave no trace in the context.
    ///
    /// # Shapes
    /// `tokens`: `[rows, time]`; the result has one state for each position that [`Positions`] selects.
    ///
    /// # Panics
    /// If `rows` and `tokens` differ in number, if the context has no such row, or if another model made the context.
    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden;

    /// The logits of the next token at each position of `hidden`.
    ///
    /// With a large vocabulary this is much of the work of a small model, so callers ask for few positions at a time
    /// ([`Hidden::chunks`]).
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, vocab]`.
    fn head(&self, hidden: &Hidden) -> Tensor<2>;

    /// Appends `tokens` to all rows of a context and returns the logits at every position.
    ///
    /// # Shapes
    /// `tokens`: `[batch, time]`; logits: `[batch, time, vocab]`.
    fn forward(&self, tokens: &TokenBatch, context: &mut Context) -> LmOutput {
        let rows: Vec<usize> = (0..context.batch()).collect();
        let hidden = self.hidden(tokens, &rows, Positions::All, context);
        let logits = self.head(&hidden).reshape([tokens.rows(), tokens.width(), self.spec().vocab_size]);
        LmOutput { logits, hidden }
    }
}
