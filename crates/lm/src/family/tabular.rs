//! A language model that is a table of logits. It is trainable, and tests can compute its exact results.

use std::any::Any;

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{Context, Hidden, LanguageModel, ModelSpec, ModelState, Positions, TokenBatch};

/// Configuration of a [`TabularLm`].
#[derive(Config, Debug)]
pub struct TabularLmConfig {
    /// The number of tokens, help tokens included.
    pub vocab_size: usize,
    /// The number of previous tokens, of the prompt and of the output, on which the next token depends. The model is an
    /// n-gram model with n = `order` + 1.
    pub order: usize,
    /// The id of the padding token. It also fills up a history that is shorter than `order`.
    #[config(default = 0)]
    pub pad_token_id: u32,
    /// The id of the end-of-text token.
    #[config(default = 1)]
    pub eos_token_id: u32,
    /// The standard deviation of the random logits of a new table.
    #[config(default = 1.0)]
    pub init_std: f64,
}

impl TabularLmConfig {
    /// A table of random logits.
    pub fn init(&self, device: &Device) -> TabularLm {
        let shape = [self.states(), self.vocab_size];
        let logits = Initializer::Normal { mean: 0.0, std: self.init_std }.init(shape, device);
        self.with_param(logits)
    }

    /// A table of the given logits, row after row: `vocab_size` logits for each state; see [`TabularLm::state`].
    ///
    /// # Panics
    /// If there are not exactly `vocab_size^order` rows.
    pub fn with_logits(&self, logits: Vec<f32>, device: &Device) -> TabularLm {
        let shape = [self.states(), self.vocab_size];
        assert_eq!(logits.len(), shape[0] * shape[1], "{} logits do not fill a table of shape {shape:?}", logits.len());
        self.with_param(Param::from_data(TensorData::new(logits, shape), device))
    }

    fn states(&self) -> usize {
        self.vocab_size.pow(self.order as u32)
    }

    fn with_param(&self, logits: Param<Tensor<2>>) -> TabularLm {
        let spec = ModelSpec {
            vocab_size: self.vocab_size,
            d_model: self.vocab_size,
            pad: self.pad_token_id,
            eos: vec![self.eos_token_id],
            max_positions: None,
        };
        TabularLm { logits, order: self.order, spec }
    }
}

/// A language model whose next-token logits are a row of a table. The last few tokens, the *state*, select the row.
#[derive(Module, Debug)]
pub struct TabularLm {
    /// One row for each state, `[vocab^order, vocab]`.
    pub logits: Param<Tensor<2>>,
    order: usize,
    #[module(skip)]
    spec: ModelSpec,
}

impl TabularLm {
    /// A table of the given logits, with the default ids; see [`TabularLmConfig::with_logits`].
    pub fn from_logits(vocab_size: usize, order: usize, logits: Vec<f32>, device: &Device) -> Self {
        TabularLmConfig::new(vocab_size, order).with_logits(logits, device)
    }

    /// The row of the table for `history`: its last `order` tokens are the digits of this number in base `vocab_size`,
    /// and the latest token is the last digit.
    pub fn state(&self, history: &[u32]) -> usize {
        let known = history.len().min(self.order);
        let missing = std::iter::repeat_n(self.spec.pad, self.order - known);
        missing
            .chain(history[history.len() - known..].iter().copied())
            .fold(0, |state, token| state * self.spec.vocab_size + token as usize)
    }
}

impl LanguageModel for TabularLm {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.logits.val().device()
    }

    /// The last token of each prompt becomes the start token of its row. The tokens before it become its history.
    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        let (mut starts, mut histories) = (Vec::new(), Vec::new());
        for row in 0..prompts.rows() {
            match prompts.row(row).split_last() {
                Some((&last, history)) => {
                    starts.push(last);
                    histories.push(history.to_vec());
                }
                None => {
                    starts.push(self.spec.pad);
                    histories.push(Vec::new());
                }
            }
        }
        let mut context = Context::new(starts, capacity > 0);
        context.insert(Histories(histories));
        context
    }

    /// The hidden states are the logits.
    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        assert_eq!(tokens.rows(), rows.len(), "`tokens` has one row for each of `rows`");
        let Histories(histories) = context.state().expect("this context was made by the prefill of a TabularLm");
        let mut states = Vec::with_capacity(rows.len() * tokens.width());
        for (index, &row) in rows.iter().enumerate() {
            let mut history = [histories[row].as_slice(), context.tokens(row)].concat();
            for &token in tokens.row(index) {
                history.push(token);
                states.push(self.state(&history) as i32);
            }
            states.resize((index + 1) * tokens.width(), 0);
        }
        context.extend(rows, tokens);
        let count = states.len();
        let states = Tensor::<1, Int>::from_data(TensorData::new(states, [count]), &self.device());
        let grid = self.logits.val().select(0, states).reshape([rows.len(), tokens.width(), self.spec.vocab_size]);
        Hidden::new(positions.select(grid, tokens.lengths()))
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        hidden.states()
    }
}

/// The tokens of each prompt before its start token.
#[derive(Debug)]
struct Histories(Vec<Vec<u32>>);

impl ModelState for Histories {
    fn select_rows(&mut self, rows: &[usize]) {
        self.0 = rows.iter().map(|&row| self.0[row].clone()).collect();
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // A rollback does not reach into the prompt.
    }

    fn can_append(&self) -> bool {
        true
    }

    fn append(&mut self, other: Box<dyn Any>, _lengths: &[usize]) {
        self.0.extend(other.downcast::<Self>().expect("a state of the same type").0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tokens_select_the_row_of_the_table() {
        let device = Device::default();
        let logits = (0..27).map(|i| i as f32).collect();
        let model = TabularLm::from_logits(3, 2, logits, &device);
        let mut context = model.prefill(&TokenBatch::new(&[vec![2], vec![2, 1]], 0), 8);
        assert_eq!(context.starts(), [2, 1]);
        let output = model.forward(&TokenBatch::new(&[vec![2, 1], vec![1]], 0), &mut context);
        let rows: Vec<f32> = output.logits.into_data().iter::<f32>().collect();
        assert_eq!(rows[..3], [6.0, 7.0, 8.0]); // history 0 2
        assert_eq!(rows[3..6], [21.0, 22.0, 23.0]); // history 2 1
        assert_eq!(rows[6..9], [21.0, 22.0, 23.0]); // history 2 1
        assert_eq!(context.lengths(), [2, 1]);
    }
}
