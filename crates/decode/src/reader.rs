//! A model that reads texts as they grow.

use std::borrow::Cow;

use burn::tensor::{Int, Tensor, TensorData};
use wheels_lm::{Context, LanguageModel, TokenBatch};

use crate::{DecodeError, ModelUse};

/// A model and what it has read of a batch of texts.
///
/// Texts may grow while it looks away: it is given them whole, and reads what it has not read yet. That is all that
/// tells a teacher, who reads when asked, from a student, who reads at every step; and it is why longer advice
/// needs no queue.
pub(crate) struct Reader<'a> {
    model: &'a dyn LanguageModel,
    context: Context,
    used: ModelUse,
}

impl<'a> Reader<'a> {
    /// Reads the prompts, and makes room for `capacity` tokens of each text.
    pub(crate) fn open(model: &'a dyn LanguageModel, prompts: &[&[u32]], capacity: usize) -> Self {
        let prompts = TokenBatch::new(prompts, model.spec().pad);
        let used = ModelUse { prefills: 1, prompt_tokens: prompts.tokens() as u64, ..ModelUse::default() };
        Self { model, context: model.prefill(&prompts, capacity), used }
    }

    /// Catches up on the texts of some rows in one forward, and returns the logits of their next tokens.
    ///
    /// # Shapes
    /// One row of the model's vocabulary for each text, one after another.
    pub(crate) fn read(&mut self, texts: &[(usize, &[u32])]) -> Result<Vec<f32>, DecodeError> {
        let unread: Vec<Cow<'_, [u32]>> = texts.iter().map(|&(row, text)| self.unread(row, text)).collect();
        let tokens = TokenBatch::new(&unread, self.model.spec().pad);
        let rows: Vec<usize> = texts.iter().map(|text| text.0).collect();
        self.used.forwards += 1;
        self.used.calls += rows.len() as u64;
        self.used.tokens_processed += tokens.tokens() as u64;
        let hidden = self.model.hidden_rows(&tokens, &rows, &mut self.context);
        Ok(self.model.head(last_of_each(hidden, tokens.lengths())).try_into_vec_as()?)
    }

    /// Keeps the given rows, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        self.context.select_rows(rows);
    }

    /// The work so far.
    pub(crate) fn used(&self) -> ModelUse {
        self.used
    }

    /// The tokens of a text that its row has not read, its start token before all others.
    fn unread<'t>(&self, row: usize, text: &'t [u32]) -> Cow<'t, [u32]> {
        match self.context.length(row) {
            0 => [&[self.context.starts()[row]], text].concat().into(),
            read => text[read - 1..].into(),
        }
    }
}

/// The hidden states at the last token of each row.
///
/// # Shapes
/// `[rows, time, d_model]` to `[rows, d_model]`.
fn last_of_each(hidden: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
    let [rows, time, _] = hidden.dims();
    let flat = hidden.flatten(0, 1);
    if time == 1 {
        return flat;
    }
    let last: Vec<i32> = lengths.iter().enumerate().map(|(row, length)| (row * time + length - 1) as i32).collect();
    let last = Tensor::<1, Int>::from_data(TensorData::new(last, [rows]), &flat.device());
    flat.select(0, last)
}
