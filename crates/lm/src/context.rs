//! The state of a batch: what a model has read so far in each row.

use std::any::Any;
use std::fmt::Debug;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::TokenBatch;
use crate::tape::Tape;

/// What one model stores in a [`Context`], such as its KV cache.
///
/// A model stores its state with [`Context::insert`], and [`Context::state`] finds it by its type.
pub trait ModelState: Any + Debug + Send {
    /// Replaces the rows of the state by the given ones, in that order. A row may occur more than once.
    fn select_rows(&mut self, rows: &[usize]);

    /// Forgets all but the first `length` tokens that a row has read after its prompt.
    ///
    /// A cache that is overwritten in place has nothing to do here, because the context knows the lengths.
    fn truncate(&mut self, row: usize, length: usize);

    /// Whether [`append`](Self::append) works. It does not by default.
    fn can_append(&self) -> bool {
        false
    }

    /// Adds the rows of another state after its own. `other` has the same type; the prompts that it holds may be longer or
    /// shorter, and its caches larger or smaller. `lengths` are the numbers of tokens that all rows have read after their
    /// prompts, so that a cache can give up slots that only finished rows have filled.
    ///
    /// # Panics
    /// If the state [cannot append](Self::can_append) rows.
    fn append(&mut self, other: Box<dyn Any>, lengths: &[usize]) {
        let _ = (other, lengths);
        unimplemented!("a state without `append` says so in `can_append`")
    }
}

/// The state of a batch: its prompts as a model has read them, and the tokens that each row has read after its prompt.
///
/// Rows are independent. They may differ in length. A row can be rolled back ([`truncate`](Self::truncate)), rows can be
/// dropped or reordered ([`select_rows`](Self::select_rows)), and rows of another context can be added
/// ([`append`](Self::append)).
#[derive(Debug)]
pub struct Context {
    starts: Vec<u32>,
    tokens: Vec<Vec<u32>>,
    remembers: bool,
    states: Vec<Box<dyn ModelState>>,
    /// None if the model has no gradient checkpointing.
    pub(crate) tape: Option<Tape>,
}

impl Context {
    /// An empty context, for a model's [`prefill`](crate::LanguageModel::prefill) to return.
    ///
    /// `starts` has the token that each row must read first. `remembers` is false for a capacity of 0: every call then
    /// starts at the prompt again.
    pub fn new(starts: Vec<u32>, remembers: bool) -> Self {
        let tokens = vec![Vec::new(); starts.len()];
        Self { starts, tokens, remembers, states: Vec::new(), tape: None }
    }

    /// Stores a model's state. It replaces a state of the same type.
    pub fn insert<S: ModelState>(&mut self, state: S) {
        self.states.retain(|other| !(other.as_ref() as &dyn Any).is::<S>());
        self.states.push(Box::new(state));
    }

    /// The state of type `S`, if a model has stored one.
    pub fn state<S: ModelState>(&self) -> Option<&S> {
        self.states.iter().find_map(|state| (state.as_ref() as &dyn Any).downcast_ref())
    }

    /// The state of type `S`, mutable.
    pub fn state_mut<S: ModelState>(&mut self) -> Option<&mut S> {
        self.states.iter_mut().find_map(|state| (state.as_mut() as &mut dyn Any).downcast_mut())
    }

    /// The number of rows.
    pub fn batch(&self) -> usize {
        self.starts.len()
    }

    /// The start token of each row: the one that it must read first after its prompt.
    pub fn starts(&self) -> Vec<u32> {
        self.starts.clone()
    }

    /// The tokens that a row has read after its prompt, its start token included.
    pub fn tokens(&self, row: usize) -> &[u32] {
        &self.tokens[row]
    }

    /// The number of tokens that a row has read after its prompt.
    pub fn length(&self, row: usize) -> usize {
        self.tokens[row].len()
    }

    /// The number of tokens that each row has read after its prompt.
    pub fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }

    /// Whether a call extends this context. If not, every call starts at the prompt again (a capacity of 0).
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// Rolls a row back to its first `length` tokens after the prompt.
    ///
    /// # Panics
    /// If the row has fewer tokens.
    pub fn truncate(&mut self, row: usize, length: usize) {
        let held = self.length(row);
        assert!(length <= held, "cannot truncate row {row} to {length} tokens: it holds {held}");
        if length < held {
            self.tokens[row].truncate(length);
            for state in &mut self.states {
                state.truncate(row, length);
            }
        }
    }

    /// The tape of what a model [with gradient checkpointing](crate::LanguageModel::with_gradient_checkpointing) has read.
    /// None for other models: the graph of their hidden states has the gradients.
    pub fn take_tape(&mut self) -> Option<Tape> {
        self.tape.take()
    }

    /// Replaces the rows of the context by the given ones, in that order. A row may occur more than once.
    ///
    /// # Panics
    /// If the context has a [tape](Self::take_tape).
    pub fn select_rows(&mut self, rows: &[usize]) {
        if self.is_whole(rows) {
            return;
        }
        assert!(self.tape.is_none(), "a model with gradient checkpointing reads all rows of a context");
        self.starts = rows.iter().map(|&row| self.starts[row]).collect();
        self.tokens = rows.iter().map(|&row| self.tokens[row].clone()).collect();
        for state in &mut self.states {
            state.select_rows(rows);
        }
    }

    /// Whether the rows of other contexts of the same model can be added to this one: whether all of its states support it.
    /// Those of the models of this crate do, except for a context with a [tape](Self::take_tape).
    pub fn can_append(&self) -> bool {
        self.tape.is_none() && self.states.iter().all(|state| state.can_append())
    }

    /// Adds the rows of another context of the same model after those of this one. Their prompts and texts may differ in
    /// length.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use wheels_lm::{LanguageModel, T5Config, TokenBatch};
    ///
    /// let config = T5Config { vocab_size: 12, d_model: 8, d_kv: 4, d_ff: 16, num_heads: 2, ..T5Config::default() };
    /// let model = config.init(&Device::flex());
    /// let mut context = model.prefill(&TokenBatch::new(&[vec![3, 4, 1], vec![5, 1]], 0), 8);
    /// context.append(model.prefill(&TokenBatch::new(&[vec![6, 7, 8, 9, 1]], 0), 4));
    /// assert_eq!(context.batch(), 3);
    /// ```
    ///
    /// # Panics
    /// If this context [cannot append](Self::can_append) rows, or if the contexts are those of different models or only one
    /// of them [remembers](Self::remembers) what it reads.
    pub fn append(&mut self, other: Self) {
        assert!(self.can_append(), "a state of this context cannot take more rows");
        assert_eq!(self.remembers, other.remembers, "both contexts remember what they read, or none does");
        assert_eq!(self.states.len(), other.states.len(), "the contexts of different models cannot be joined");
        self.starts.extend(other.starts);
        self.tokens.extend(other.tokens);
        let lengths = self.lengths();
        for added in other.states {
            let added: Box<dyn Any> = added;
            let own =
                self.states.iter_mut().find(|own| (own.as_ref() as &dyn Any).type_id() == added.as_ref().type_id());
            own.expect("the contexts of different models cannot be joined").append(added, &lengths);
        }
    }

    /// Records that row `rows[i]` has read row `i` of `tokens`. A model calls this at the end of its
    /// [`hidden`](crate::LanguageModel::hidden). A context that does not [remember](Self::remembers) is not changed.
    pub fn extend(&mut self, rows: &[usize], tokens: &TokenBatch) {
        if self.remembers {
            for (index, &row) in rows.iter().enumerate() {
                self.tokens[row].extend_from_slice(tokens.row(index));
            }
        }
    }

    /// Whether `rows` has every row once, in order.
    pub fn is_whole(&self, rows: &[usize]) -> bool {
        rows.iter().copied().eq(0..self.batch())
    }
}

/// Row numbers as an index tensor for `select`.
pub(crate) fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records its calls.
    #[derive(Debug, Default, PartialEq)]
    struct Recorder(Vec<String>);

    impl ModelState for Recorder {
        fn select_rows(&mut self, rows: &[usize]) {
            self.0.push(format!("rows {rows:?}"));
        }

        fn truncate(&mut self, row: usize, length: usize) {
            self.0.push(format!("row {row} to {length}"));
        }
    }

    /// The ids of the rows.
    #[derive(Debug)]
    struct Ids(Vec<u32>);

    impl ModelState for Ids {
        fn select_rows(&mut self, rows: &[usize]) {
            self.0 = rows.iter().map(|&row| self.0[row]).collect();
        }

        fn truncate(&mut self, _row: usize, _length: usize) {}

        fn can_append(&self) -> bool {
            true
        }

        fn append(&mut self, other: Box<dyn Any>, _lengths: &[usize]) {
            self.0.extend(other.downcast::<Self>().expect("a state of the same type").0);
        }
    }

    #[test]
    fn rows_of_another_context_come_after_its_own() {
        let context_of = |ids: &[u32]| {
            let mut context = Context::new(ids.to_vec(), true);
            context.insert(Ids(ids.to_vec()));
            context
        };
        let (mut context, mut other) = (context_of(&[3, 4]), context_of(&[5]));
        context.extend(&[1], &TokenBatch::column(&[4]));
        other.extend(&[0], &TokenBatch::column(&[5]));
        context.append(other);
        context.select_rows(&[1, 2]);
        assert_eq!((context.starts(), context.lengths()), (vec![4, 5], vec![1, 1]));
        assert_eq!(context.state::<Ids>().map(|ids| ids.0.as_slice()), Some(&[4, 5][..]));
        context.insert(Recorder::default());
        assert!(!context.can_append(), "one state without `append` is enough");
    }

    #[test]
    fn a_model_state_sees_only_the_rows_that_change() {
        let mut context = Context::new(vec![0, 0], true);
        context.insert(Recorder(vec!["replaced".into()]));
        context.insert(Recorder::default());
        context.extend(&[0, 1], &TokenBatch::new(&[vec![0, 5], vec![0]], 9));
        context.truncate(0, 1);
        context.truncate(1, 1);
        context.select_rows(&[0, 1]);
        context.select_rows(&[1]);
        assert_eq!(context.tokens(0), [0]);
        let calls = context.state::<Recorder>().map(|recorder| recorder.0.as_slice());
        assert_eq!(calls, Some(&["row 0 to 1".to_owned(), "rows [1]".to_owned()][..]), "unchanged rows need no call");
    }
}
