//! Model families: one file each.

pub mod t5;
pub mod tabular;
