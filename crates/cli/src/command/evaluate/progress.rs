//! The progress bar of an evaluation.

use indicatif::ProgressBar;
use training_wheels::decode::{Observer, Step};

use crate::screen::console;

/// A bar that counts decoded texts, with rate and time left. It is drawn on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over this many texts.
    pub(crate) fn new(texts: usize) -> Self {
        let template = "{bar:30} {pos}/{len} texts {per_sec} {elapsed}<{eta} {msg}";
        Self { bar: console::bar(Some(texts as u64), template) }
    }

    /// Says what is done now.
    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Takes texts out of the count that need not be decoded.
    pub(crate) fn skip(&self, texts: usize) {
        self.bar.dec_length(texts as u64);
    }

    /// An observer that counts `texts` texts when they end.
    pub(crate) fn watch<'a>(&'a self, texts: usize, ends: &'a [u32]) -> TextProgress<'a> {
        TextProgress { bar: &self.bar, ends, ended: vec![false; texts] }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Counts texts as they end.
pub(crate) struct TextProgress<'a> {
    bar: &'a ProgressBar,
    ends: &'a [u32],
    ended: Vec<bool>,
}

impl TextProgress<'_> {
    /// Counts the texts that were cut at the length limit, and so have no end-of-text token.
    pub(crate) fn finish(self) {
        self.bar.inc(self.ended.iter().filter(|&&ended| !ended).count() as u64);
    }
}

impl Observer for TextProgress<'_> {
    fn step(&mut self, row: usize, step: &Step) {
        // A text whose end was rolled back ends twice.
        if self.ends.contains(&step.token) && !self.ended[row] {
            self.ended[row] = true;
            self.bar.inc(1);
        }
    }
}
