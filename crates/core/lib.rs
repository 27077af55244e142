//! Knowledge distillation with training wheels: a small language model learns from a large one, and when to ask it
//! for help.
//!
//! This crate is the front door. It re-exports the crates of the workspace under one name and opens devices; what it
//! exports is documented where it lives.

mod bundle;
pub mod device;
pub mod embedded;
mod error;
mod models;
pub mod prelude;

pub use bundle::{Bundle, Files};
pub use error::{Error, explain};
pub use models::Models;
pub use wheels_decode as decode;
pub use wheels_distill as distill;
pub use wheels_eval as eval;
pub use wheels_lm as lm;
pub use wheels_text as text;

/// The README's code runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
