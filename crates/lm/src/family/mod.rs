//! Model families, one file each.

pub(crate) mod t5;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod tabular;
