//! A model that reads texts as they grow.

use std::borrow::Cow;

use burn::tensor::{Int, Tensor, TensorData};
use wheels_lm::{Context, LanguageModel, TokenBatch};

use crate::{DecodeError, ModelUse};

/// A model and what it has read of a batch of texts.
///
/// Texts may grow while it looks away, and may have been taken back and written anew: it is given them whole, and reads
/// what is new to it. That is all that tells a teacher, who reads when asked, from a student, who reads at every step;
/// and it is why longer advice needs no queue, and hindsight no signal.
pub(crate) struct Reader<'a> {
    model: &'a dyn LanguageModel,
    context: Context,
    used: ModelUse,
}

/// A text that is to be read.
pub(crate) struct Passage<'t> {
    pub(crate) row: usize,
    pub(crate) text: &'t [u32],
    /// The first position, of all up to the one past the text's end, of which the model is to say what it would write.
    pub(crate) from: usize,
}

impl<'a> Reader<'a> {
    /// Reads the prompts, and makes room for `capacity` tokens of each text.
    pub(crate) fn open(model: &'a dyn LanguageModel, prompts: &[&[u32]], capacity: usize) -> Self {
        let prompts = TokenBatch::new(prompts, model.spec().pad);
        let used = ModelUse { prefills: 1, prompt_tokens: prompts.tokens() as u64, ..ModelUse::default() };
        Self { model, context: model.prefill(&prompts, capacity), used }
    }

    /// Catches up on some texts in one forward, and returns the logits of the tokens at the positions that each asks for.
    ///
    /// # Shapes
    /// One row of the model's vocabulary for each position of each passage, one after another.
    pub(crate) fn read(&mut self, passages: &[Passage<'_>]) -> Result<Vec<f32>, DecodeError> {
        let unread: Vec<Cow<'_, [u32]>> = passages.iter().map(|passage| self.unread(passage)).collect();
        let tokens = TokenBatch::new(&unread, self.model.spec().pad);
        let rows: Vec<usize> = passages.iter().map(|passage| passage.row).collect();
        self.used.forwards += 1;
        self.used.calls += rows.len() as u64;
        self.used.tokens_processed += tokens.tokens() as u64;
        let hidden = self.model.hidden_rows(&tokens, &rows, &mut self.context);
        let counts = passages.iter().map(|passage| passage.text.len() + 1 - passage.from);
        let wanted = last_of_each(hidden, tokens.lengths().iter().copied().zip(counts));
        Ok(self.model.head(wanted).try_into_vec_as()?)
    }

    /// Keeps the given rows, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        self.context.select_rows(rows);
    }

    /// The work so far.
    pub(crate) fn used(&self) -> ModelUse {
        self.used
    }

    /// The tokens of a text that its row has not read, its start token before all others. What the row has read
    /// otherwise, or must read again for the positions that are asked for, is forgotten.
    fn unread<'t>(&mut self, passage: &Passage<'t>) -> Cow<'t, [u32]> {
        let Passage { row, text, from } = *passage;
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

/// The hidden states at the last tokens of each row: of so many that it has, so many.
///
/// # Shapes
/// `[rows, time, d_model]` to `[positions, d_model]`.
fn last_of_each(hidden: Tensor<3>, lengths_and_counts: impl Iterator<Item = (usize, usize)>) -> Tensor<2> {
    let [rows, time, _] = hidden.dims();
    let flat = hidden.flatten(0, 1);
    let last: Vec<i32> = lengths_and_counts
        .enumerate()
        .flat_map(|(row, (length, count))| row * time + length - count..row * time + length)
        .map(|place| place as i32)
        .collect();
    if last.len() == rows * time {
        return flat;
    }
    let shape = [last.len()];
    let last = Tensor::<1, Int>::from_data(TensorData::new(last, shape), &flat.device());
    flat.select(0, last)
}
