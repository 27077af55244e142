//! Knowledge distillation with training wheels: a small language model learns from a large one, and learns when to ask it
//! for help.
//!
//! Start with [`Distillation`], which trains a student, and [`Pair`], which decodes with a student and its teacher. A
//! [`TextModel`] is a model folder: weights, tokenizer, prompt template and generation config. [`device`] opens the
//! hardware.
//!
//! The crates of the workspace are re-exported as modules: [`text`] (tokenizers, prompts, budgets, data sets), [`lm`]
//! (language models), [`student`] (the help token and its heads), [`decode`] (decoding within a budget), [`distill`]
//! (training) and [`eval`] (metrics and comparisons).

mod answer;
mod calibration;
pub mod device;
mod distillation;
mod error;
mod method;
mod pair;
pub mod prelude;
mod text_model;

pub use answer::{Answer, AnswerSpan};
pub use calibration::{CalibrationConfig, CalibrationTrial};
pub use distillation::{BudgetReport, Distillation, DistillationConfig, Distilled};
pub use error::{Error, report};
pub use method::Method;
pub use pair::Pair;
pub use text_model::{ModelFile, TextModel};
pub use wheels_decode as decode;
pub use wheels_distill as distill;
pub use wheels_eval as eval;
pub use wheels_lm as lm;
pub use wheels_student as student;
pub use wheels_text as text;

/// The code in the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
