//! Model families: one file for each model, and one for its config.

pub(crate) mod bart;
pub(crate) mod bart_config;
pub(crate) mod llama;
pub(crate) mod llama_config;
pub(crate) mod t5;
pub(crate) mod t5_config;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod tabular;
