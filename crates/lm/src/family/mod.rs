//! Model families, one file each.

pub(crate) mod bart;
pub(crate) mod bart_config;
pub(crate) mod llama;
pub(crate) mod t5;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod tabular;
