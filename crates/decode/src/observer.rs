//! Looking on while texts are written.

use crate::{Law, Step};

/// Someone who looks on while texts are written.
///
/// Any closure that takes a row and a step is an observer, one that does not hear of steps taken back. Rows are named by
/// their place among the prompts; steps of one row come in order, and rows of a batch in turn.
pub trait Observer {
    /// The student has read row `row` and is about to decide. Called once for each of its forwards.
    fn law(&mut self, _row: usize, _law: &Law<'_>) {}

    /// Row `row` was taken back to its first `length` steps; see [`Hindsight`](crate::Hindsight). Its next step follows.
    fn taken_back(&mut self, _row: usize, _length: usize) {}

    /// A step was appended to row `row`.
    fn step(&mut self, row: usize, step: &Step);
}

impl<F: FnMut(usize, &Step)> Observer for F {
    fn step(&mut self, row: usize, step: &Step) {
        self(row, step);
    }
}
