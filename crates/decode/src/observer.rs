//! Following texts while they are written.

use crate::{Distribution, Step};

/// An observer is told of every step while texts are written.
///
/// Any closure that takes a row and a step is an observer, which is not told of rollbacks. A row is the index of its
/// prompt. The steps of one row come in order.
pub trait Observer {
    /// The student has read row `row` and is about to decide. This is called once for each row that a forward pass of the
    /// student reads.
    fn distribution(&mut self, _row: usize, _distribution: &Distribution<'_>) {}

    /// Row `row` was rolled back to its first `length` steps; see [`Verification`](crate::Verification). Its new steps
    /// follow.
    fn rolled_back(&mut self, _row: usize, _length: usize) {}

    /// A step was appended to row `row`.
    fn step(&mut self, row: usize, step: &Step);
}

impl<F: FnMut(usize, &Step)> Observer for F {
    fn step(&mut self, row: usize, step: &Step) {
        self(row, step);
    }
}
