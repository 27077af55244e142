//! The state of Llama.

use std::any::Any;

use crate::ModelState;
use crate::cache::KvCache;

/// What a Llama keeps in a [`Context`](crate::Context).
#[derive(Debug)]
pub(super) struct LlamaState {
    /// The prompt of each row without its last token, which is the start token of the context.
    pub(super) prefixes: Vec<Vec<u32>>,
    /// One cache for each block, which begins with the prefix. There are none in a context that does not remember.
    pub(super) caches: Vec<KvCache>,
}

impl ModelState for LlamaState {
    fn select_rows(&mut self, rows: &[usize]) {
        self.prefixes = rows.iter().map(|&row| self.prefixes[row].clone()).collect();
        for cache in &mut self.caches {
            cache.select_rows(rows);
        }
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // The context knows the lengths: slots past them are masked, and the next append overwrites them.
    }

    fn can_append(&self) -> bool {
        true
    }

    fn append(&mut self, other: Box<dyn Any>, lengths: &[usize]) {
        let other = other.downcast::<Self>().expect("a state of the same type");
        self.prefixes.extend(other.prefixes);
        let used = self.prefixes.iter().zip(lengths).map(|(prefix, length)| prefix.len() + length).max().unwrap_or(0);
        for (cache, added) in self.caches.iter_mut().zip(other.caches) {
            cache.append_rows(added, used);
        }
    }
}
