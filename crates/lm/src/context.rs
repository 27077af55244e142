//! What a model has read so far, row by row.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::KvCache;

/// The encoder's side of a context: what every decoder layer attends to, computed once from the prompts.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Keys and values of each decoder layer, `[batch, heads, source, d_head]`.
    pub layers: Vec<(Tensor<4>, Tensor<4>)>,
    /// Added to the attention scores: 0 at a token, a large negative number at padding, `[batch, 1, 1, source]`; absent
    /// where no row is padded.
    pub bias: Option<Tensor<4>>,
}

/// The running state of a batch: prompts that were read and tokens that were appended since.
///
/// Rows are independent. They may differ in length, be taken back to an earlier length
/// ([`truncate`](Self::truncate)), and be dropped or reordered ([`select_rows`](Self::select_rows)).
#[derive(Clone, Debug)]
pub struct Context {
    starts: Vec<u32>,
    tokens: Vec<Vec<u32>>,
    remembers: bool,
    /// What came before the starts, for models that look at tokens instead of tensors.
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) memory: Option<Memory>,
    /// What help costs by a student's reading of its prompts, nats, `[batch, 1]`.
    pub(crate) price: Option<Tensor<2>>,
    pub(crate) layers: Vec<KvCache>,
}

impl Context {
    /// A context in which each row begins with its token in `starts`, and which keeps what it reads if `remembers`.
    pub(crate) fn new(starts: Vec<u32>, remembers: bool) -> Self {
        let none = vec![Vec::new(); starts.len()];
        Self { starts, tokens: none.clone(), remembers, prompts: none, memory: None, price: None, layers: Vec::new() }
    }

    /// The number of rows.
    pub fn batch(&self) -> usize {
        self.starts.len()
    }

    /// The token that the first forward after the prompt must be given, for each row.
    pub fn starts(&self) -> Vec<u32> {
        self.starts.clone()
    }

    /// The tokens that a row has read since its prompt, its start included.
    pub fn tokens(&self, row: usize) -> &[u32] {
        &self.tokens[row]
    }

    /// The number of tokens that a row has read since its prompt.
    pub fn length(&self, row: usize) -> usize {
        self.tokens[row].len()
    }

    /// The number of tokens that each row has read since its prompt.
    pub fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }

    /// Whether forwards extend this context, or each starts at the prompt (capacity 0).
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// Takes a row back to its first `length` tokens.
    ///
    /// # Panics
    /// If the row is shorter than that.
    pub fn truncate(&mut self, row: usize, length: usize) {
        let held = self.length(row);
        assert!(length <= held, "cannot truncate row {row} to {length} tokens: it holds {held}");
        self.tokens[row].truncate(length);
    }

    /// Keeps the given rows, in that order. A row may be named more than once.
    pub fn select_rows(&mut self, rows: &[usize]) {
        if rows.iter().copied().eq(0..self.batch()) {
            return;
        }
        self.starts = rows.iter().map(|&row| self.starts[row]).collect();
        self.tokens = rows.iter().map(|&row| self.tokens[row].clone()).collect();
        self.prompts = rows.iter().map(|&row| self.prompts[row].clone()).collect();
        for layer in &mut self.layers {
            layer.select_rows(rows);
        }
        self.memory = self.memory.take().map(|memory| memory.select_rows(rows));
        let select = |price: Tensor<2>| price.clone().select(0, row_index(rows, &price.device()));
        self.price = self.price.take().map(select);
    }

    /// Notes that `rows` have read the rows of `tokens`.
    pub(crate) fn extend(&mut self, rows: &[usize], tokens: &crate::TokenBatch) {
        if self.remembers {
            for (index, &row) in rows.iter().enumerate() {
                self.tokens[row].extend_from_slice(tokens.row(index));
            }
        }
    }

    /// Whether `rows` names every row once, in order.
    pub(crate) fn is_whole(&self, rows: &[usize]) -> bool {
        rows.iter().copied().eq(0..self.batch())
    }
}

impl Memory {
    /// The memory of the given rows.
    pub(crate) fn select_rows(&self, rows: &[usize]) -> Self {
        let Some((keys, _)) = self.layers.first() else { return self.clone() };
        let index = row_index(rows, &keys.device());
        Self {
            layers: self
                .layers
                .iter()
                .map(|(keys, values)| (keys.clone().select(0, index.clone()), values.clone().select(0, index.clone())))
                .collect(),
            bias: self.bias.clone().map(|bias| bias.select(0, index)),
        }
    }
}

/// Row numbers as a tensor that `select` takes.
pub(crate) fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    Tensor::from_data(TensorData::new(rows.clone(), [rows.len()]), device)
}
