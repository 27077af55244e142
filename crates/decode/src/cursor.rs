//! A model with its KV cache for texts that grow.

use std::borrow::Cow;

use wheels_lm::{Context, LanguageModel, Positions, TokenBatch};

use crate::{DecodeError, ModelUse};

/// A model, and its KV cache for a batch of texts that grow.
///
/// Callers pass whole texts. The cursor truncates its cache to the prefix that it shares with a text, and feeds only
/// the other tokens to the model. Rollbacks and answers of several tokens therefore need no special case.
pub(crate) struct Cursor<'a> {
    model: &'a dyn LanguageModel,
    context: Context,
    used: ModelUse,
}

/// A text to read.
#[derive(Clone, Copy)]
pub(crate) struct Span<'t> {
    pub(crate) row: usize,
    pub(crate) text: &'t [u32],
    /// The first position whose logits are wanted. The last one is `text.len()`, the position of the next token.
    pub(crate) from: usize,
}

impl<'a> Cursor<'a> {
    /// Reads the prompts, and allocates the cache for `capacity` tokens per text.
    pub(crate) fn open(model: &'a dyn LanguageModel, prompts: &[&[u32]], capacity: usize) -> Self {
        let prompts = TokenBatch::new(prompts, model.spec().pad);
        let used = ModelUse { prefills: 1, prompt_tokens: prompts.tokens() as u64, ..ModelUse::default() };
        Self { model, context: model.prefill(&prompts, capacity), used }
    }

    /// Reads the new tokens of some texts in one forward pass, and returns the logits at the positions that each span
    /// wants.
    ///
    /// # Shapes
    /// `[positions, vocab]`, flattened. The positions of all spans follow each other.
    pub(crate) fn read(&mut self, spans: &[Span<'_>]) -> Result<Vec<f32>, DecodeError> {
        let unread: Vec<Cow<'_, [u32]>> = spans.iter().map(|span| self.unread(span)).collect();
        let tokens = TokenBatch::new(&unread, self.model.spec().pad);
        let rows: Vec<usize> = spans.iter().map(|span| span.row).collect();
        let counts: Vec<usize> = spans.iter().map(|span| span.text.len() + 1 - span.from).collect();
        self.used.forwards += 1;
        self.used.calls += rows.len() as u64;
        self.used.tokens_processed += tokens.tokens() as u64;
        let hidden = self.model.hidden(&tokens, &rows, Positions::Last(&counts), &mut self.context);
        Ok(self.model.head(&hidden).try_into_vec_as()?)
    }

    /// Keeps the given rows, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        self.context.select_rows(rows);
    }

    /// The work so far.
    pub(crate) fn used(&self) -> ModelUse {
        self.used
    }

    /// The tokens of a text that the model must read, including the start token if it is new. The cache is truncated to
    /// the prefix that it shares with the text, and to the positions before `from`, because only tokens that are read
    /// give logits.
    fn unread<'t>(&mut self, span: &Span<'t>) -> Cow<'t, [u32]> {
        let Span { row, text, from } = *span;
        let known = match self.context.tokens(row) {
            [] => 0,
            [_, read @ ..] => 1 + read.iter().zip(text).take_while(|(read, token)| read == token).count(),
        };
        let kept = known.min(from);
        self.context.truncate(row, kept);
        match kept {
            0 => [&[self.context.starts()[row]], text].concat().into(),
            _ => text[kept - 1..].into(),
        }
    }
}
