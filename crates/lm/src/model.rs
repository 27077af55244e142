//! The interface between language models and everything that uses them.

use burn::tensor::{Device, Tensor};

use crate::{Context, TokenBatch};

/// What a caller must know about a model to feed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Rows of the output: logits have this many columns. The help token, where there is one, is among them.
    pub vocab_size: usize,
    /// The id that fills short rows of a batch.
    pub pad: u32,
    /// The id that ends a text.
    pub eos: u32,
}

/// What a forward pass gives back.
#[derive(Clone, Debug)]
pub struct LmOutput {
    /// Unnormalised log-probabilities of the token that follows each position, `[batch, time, vocab]`.
    pub logits: Tensor<3>,
    /// The last hidden state, from which the logits were read, `[batch, time, d_model]`.
    pub hidden: Tensor<3>,
}

/// A language model: it reads a prompt once, and then continues it.
///
/// The model is immutable; everything that changes is in the [`Context`]. A batch may be ragged in two ways: rows of
/// one call may have different lengths, and rows of one context may have read different numbers of tokens.
pub trait LanguageModel {
    /// What a caller must know to feed this model.
    fn spec(&self) -> &ModelSpec;

    /// The device that holds the weights.
    fn device(&self) -> Device;

    /// Reads a batch of prompts and returns the state from which they are continued.
    ///
    /// `capacity` is the number of tokens per row for which the caches are allocated ahead; they grow beyond it when
    /// they must. A capacity of 0 asks for no cache at all: every forward then starts at the prompt again and leaves
    /// the context as it was, which is how whole targets are scored in training.
    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context;

    /// Continues the given `rows` of a context, in that order, by the rows of `tokens`, and returns the last hidden
    /// states: what [`head`](Self::head) reads logits from, at as many positions as the caller wants.
    ///
    /// The first token that a row is given is its [`start`](Context::starts). Positions past the length of a short row
    /// hold no meaning in the output, and leave no trace in the context.
    ///
    /// # Shapes
    /// `tokens`: `[rows, time]`; the result: `[rows, time, d_model]`.
    ///
    /// # Panics
    /// If `rows` and `tokens` differ in number, or a row is named that the context does not have.
    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3>;

    /// The logits of the tokens that follow, read from last hidden states.
    ///
    /// Over a large vocabulary this is much of a small model's work.
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, vocab]`.
    fn head(&self, hidden: Tensor<2>) -> Tensor<2>;

    /// Continues all rows of a context, with logits at every position: [`hidden_rows`](Self::hidden_rows) for
    /// `0..batch`, and their [`head`](Self::head).
    ///
    /// # Shapes
    /// `tokens`: `[batch, time]`; logits: `[batch, time, vocab]`.
    fn forward(&self, tokens: &TokenBatch, context: &mut Context) -> LmOutput {
        let rows: Vec<usize> = (0..context.batch()).collect();
        let hidden = self.hidden_rows(tokens, &rows, context);
        let [batch, time, width] = hidden.dims();
        let logits = self.head(hidden.clone().reshape([batch * time, width]));
        LmOutput { logits: logits.reshape([batch, time, self.spec().vocab_size]), hidden }
    }
}
