//! A model with its KV cache for texts that grow.

use std::borrow::Cow;

use wheels_lm::{Context, LanguageModel, Positions, TokenBatch, first_overflow};

use crate::readout::{Logits, LogitsReader, Position};
use crate::{DecodeError, ModelUse, Readout, Vocabulary};

/// The largest number of tokens per text for which a cache is allocated at the start. Some generation configs allow
/// 100,000 tokens and more, which few texts have, and for which few devices have memory. Caches grow.
const MAX_CAPACITY: usize = 512;

/// A model, and its KV cache for a batch of texts that grow.
///
/// Callers pass whole texts. The cursor truncates its cache to the prefix that it shares with a text, and feeds only
/// the other tokens to the model. Rollbacks and answers of several tokens therefore need no special case.
pub(crate) struct Cursor<'a> {
    model: &'a dyn LanguageModel,
    prompts: Vec<Vec<u32>>,
    context: Context,
    used: ModelUse,
    reader: LogitsReader,
}

/// A text to read.
#[derive(Clone, Copy)]
pub(crate) struct Span<'t> {
    pub(crate) row: usize,
    /// The index of the prompt, for error messages.
    pub(crate) prompt_index: usize,
    pub(crate) text: &'t [u32],
    /// The first position whose distribution is wanted. The last one is `text.len()`, the position of the next token.
    pub(crate) from: usize,
    /// A token after the text whose log-prob will be asked for.
    pub(crate) next: Option<u32>,
}

impl<'t> Span<'t> {
    /// The positions whose distributions are wanted. The log-probs of the text's own tokens will be asked for.
    fn positions(self) -> impl Iterator<Item = Position<'t>> {
        let Self { prompt_index, text, from, next, .. } = self;
        (from..=text.len()).map(move |position| Position {
            prompt_index,
            text: &text[..position],
            token: text.get(position).copied().or(next),
        })
    }
}

impl<'a> Cursor<'a> {
    /// Reads the prompts, and allocates the cache for `capacity` tokens per text, at most 512.
    pub(crate) fn open(model: &'a dyn LanguageModel, prompts: &[&[u32]], capacity: usize, readout: Readout) -> Self {
        let batch = TokenBatch::new(prompts, model.spec().pad);
        let used = ModelUse { prefills: 1, prompt_tokens: batch.tokens() as u64, ..ModelUse::default() };
        let context = model.prefill(&batch, capacity.min(MAX_CAPACITY));
        let prompts = prompts.iter().map(|prompt| prompt.to_vec()).collect();
        Self { model, prompts, context, used, reader: LogitsReader::new(readout, &model.device()) }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.prompts.len()
    }

    /// Whether the model's cache can take more rows.
    pub(crate) fn can_append(&self) -> bool {
        self.context.can_append()
    }

    /// Reads more prompts, whose rows come after the others, and allocates the cache for `capacity` tokens per text, at
    /// most 512.
    pub(crate) fn append(&mut self, prompts: &[&[u32]], capacity: usize) {
        let batch = TokenBatch::new(prompts, self.model.spec().pad);
        self.used.prefills += 1;
        self.used.prompt_tokens += batch.tokens() as u64;
        self.context.append(self.model.prefill(&batch, capacity.min(MAX_CAPACITY)));
        self.prompts.extend(prompts.iter().map(|prompt| prompt.to_vec()));
    }

    /// Reads the new tokens of some texts in one forward pass, and then the logits at the positions that each span wants.
    /// The positions of all spans follow each other.
    ///
    /// # Errors
    /// As [`LogitsReader::read`].
    pub(crate) fn read(&mut self, spans: &[Span<'_>], vocabulary: &Vocabulary) -> Result<Logits, DecodeError> {
        let unread: Vec<Cow<'_, [u32]>> = spans.iter().map(|span| self.unread(span)).collect();
        let tokens = TokenBatch::new(&unread, self.model.spec().pad);
        let rows: Vec<usize> = spans.iter().map(|span| span.row).collect();
        let counts: Vec<usize> = spans.iter().map(|span| span.text.len() + 1 - span.from).collect();
        self.used.forwards += 1;
        self.used.calls += rows.len() as u64;
        self.used.tokens_processed += tokens.tokens() as u64;
        let hidden = self.model.hidden(&tokens, &rows, Positions::Last(&counts), &mut self.context);
        let positions: Vec<Position<'_>> = spans.iter().flat_map(|span| span.positions()).collect();
        let logits = self.reader.read(self.model.head(&hidden), &positions, vocabulary);
        logits.map_err(|error| self.with_layer(error, spans))
    }

    /// The error with the layer that is not finite, if it is about logits.
    fn with_layer(&self, error: DecodeError, spans: &[Span<'_>]) -> DecodeError {
        let DecodeError::Logits { row, step, .. } = error else { return error };
        let span = spans.iter().find(|span| span.prompt_index == row);
        let layer = span.and_then(|span| first_overflow(self.model, &self.prompts[span.row], &span.text[..step]));
        DecodeError::Logits { row, step, layer }
    }

    /// Keeps the given rows, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        self.context.select_rows(rows);
        self.prompts = rows.iter().map(|&row| self.prompts[row].clone()).collect();
    }

    /// The work so far.
    pub(crate) fn used(&self) -> ModelUse {
        ModelUse { bytes_read: self.reader.bytes_read(), ..self.used }
    }

    /// The tokens of a text that the model must read, including the start token if it is new. The cache is truncated to
    /// the prefix that it shares with the text, and to the positions before `from`, because only tokens that are read
    /// give logits.
    fn unread<'t>(&mut self, span: &Span<'t>) -> Cow<'t, [u32]> {
        let Span { row, text, from, .. } = *span;
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
