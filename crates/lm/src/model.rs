//! The interface of language models.

use burn::tensor::{Device, Tensor};

use crate::{Context, Hidden, Positions, TokenBatch};

/// The properties of a model that a caller must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// The number of columns of the logits, including those of help tokens.
    pub vocab_size: usize,
    /// The width of the last hidden states.
    pub d_model: usize,
    /// The id of the padding token.
    pub pad: u32,
    /// The ids of the tokens that end a text, at least one. The first one ends the targets of training.
    pub eos: Vec<u32>,
    /// The number of positions that the model can tell apart, for models with learned position embeddings. An
    /// encoder-decoder has this number of positions for a prompt and again for what follows it, start token included; a
    /// decoder-only model has it for both together. `None` if there is no such limit.
    pub max_positions: Option<usize>,
}

impl ModelSpec {
    /// Whether a token ends a text.
    pub fn ends(&self, token: u32) -> bool {
        self.eos.contains(&token)
    }
}

/// What [`LanguageModel::forward`] returns.
#[derive(Clone, Debug)]
pub struct LmOutput {
    /// Unnormalised log-probabilities of the token after each position, `[batch, time, vocab]`.
    pub logits: Tensor<3>,
    /// The last hidden states from which the logits were computed, at all `batch * time` positions.
    pub hidden: Hidden,
}

/// A language model: it reads prompts once and then continues them.
///
/// The model holds only weights. Everything that changes while tokens are read lives in a [`Context`] that the caller
/// owns. The rows of one call may differ in length, and the rows of one context may have read different numbers of
/// tokens.
///
/// The [documentation of the crate](crate#a-model-of-your-own) shows a complete implementation.
pub trait LanguageModel {
    /// The vocabulary size and other properties of this model.
    fn spec(&self) -> &ModelSpec;

    /// The device that holds the weights.
    fn device(&self) -> Device;

    /// Reads a batch of prompts and returns the context in which they can be continued.
    ///
    /// `capacity` is the number of tokens per row for which KV caches are allocated. Caches grow if a row becomes
    /// longer. With a capacity of 0 there is no cache: every call of [`hidden`](Self::hidden) starts at the prompt
    /// again and does not change the context. Training scores whole targets in this way.
    ///
    /// # Panics
    /// If a prompt is longer than [`ModelSpec::max_positions`].
    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context;

    /// Reads tokens and returns the last hidden states at the selected positions. Row `i` of `tokens` continues row
    /// `rows[i]` of the context.
    ///
    /// The first token that a row reads must be its [start token](Context::starts). The states at padding are
    /// meaningless, and padding does not change the context.
    ///
    /// # Shapes
    /// `tokens`: `[rows, time]`; the result: `[positions, d_model]`, one state for each of the `positions`.
    ///
    /// # Panics
    /// If `rows` and `tokens` differ in their number of rows, if the context does not have one of the rows, if a row
    /// becomes longer than [`ModelSpec::max_positions`], or if another model made the context.
    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden;

    /// The logits of the next token at each position of `hidden`.
    ///
    /// With a large vocabulary, the logits are a large part of a small model's work and memory. So callers select only
    /// the positions that they need, or use [`Hidden::chunks`].
    ///
    /// # Shapes
    /// `[positions, d_model]` to `[positions, vocab]`.
    fn head(&self, hidden: &Hidden) -> Tensor<2>;

    /// The model for one pass of training, with the dropout rates of its config. `seed` decides which values are
    /// dropped. A model without dropout is returned as it is.
    ///
    /// Call it for each batch with a new seed. Decoding and scoring use a model without this call.
    #[must_use]
    fn with_dropout(self, seed: u64) -> Self
    where
        Self: Sized,
    {
        let _ = seed;
        self
    }

    /// The model for one pass of training with gradient checkpointing: the forward pass keeps only the input of each block,
    /// and the backward pass computes the blocks again, one at a time. A model without gradient checkpointing is returned as
    /// it is.
    ///
    /// It changes contexts with a capacity of 0. [`hidden`](Self::hidden) reads all rows of such a context, and only once.
    /// The hidden states are then a leaf, whose gradient is given to the [`Tape`](crate::Tape) of the context:
    ///
    /// ```
    /// use burn::optim::{GradientsAccumulator, GradientsParams};
    /// use burn::tensor::Device;
    /// use wheels_lm::{LanguageModel, Positions, T5, T5Config, TokenBatch};
    ///
    /// let config = T5Config { vocab_size: 12, d_model: 8, d_kv: 4, d_ff: 16, num_heads: 2, ..T5Config::default() };
    /// let model = config.init(&Device::flex().autodiff()).with_gradient_checkpointing();
    /// let mut context = model.prefill(&TokenBatch::new(&[vec![3, 4, 1]], 0), 0);
    /// let text = TokenBatch::column(&context.starts());
    /// let hidden = model.hidden(&text, &[0], Positions::All, &mut context);
    ///
    /// // The gradients of the head come from the loss, and those of the blocks from the tape.
    /// let mut gradients = model.head(&hidden).square().sum().backward();
    /// let of_hidden = hidden.states().grad_remove(&mut gradients).expect("a leaf");
    /// let mut sum = GradientsAccumulator::<T5>::new();
    /// sum.accumulate(&model, GradientsParams::from_grads(gradients, &model));
    /// context.take_tape().expect("T5 has gradient checkpointing").backward(of_hidden, &mut |gradients| {
    ///     sum.accumulate(&model, GradientsParams::from_grads(gradients, &model));
    /// });
    /// ```
    #[must_use]
    fn with_gradient_checkpointing(self) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// Reads tokens in all rows of a context and returns the logits at all positions.
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
