//! Knowledge distillation with training wheels: a small language model learns from a large one, and learns when to ask
//! the large one for help.
//!
//! Start with [`Distillation`], which trains a small model (the student) on a large one (the teacher), and [`Pair`],
//! which decodes with both. A [`TextModel`] is a model folder: weights, tokenizer, prompt template and generation
//! config. [`device`] opens a CPU or a GPU.
//!
//! The crates of the workspace are re-exported as modules: [`text`] (tokenizers, prompts, budgets, datasets), [`lm`]
//! (language models), [`student`] (the help token and its heads), [`decode`] (decoding within a budget), [`distill`]
//! (training), [`eval`] (metrics and comparisons), and with the feature `remote` also `remote` (a teacher behind a server).

mod answer;
mod budget_report;
mod cached_teacher;
mod calibration;
mod callbacks;
pub mod device;
mod distillation;
mod distillation_config;
mod error;
mod expert_help;
mod forecast_accuracy;
mod host;
#[cfg(target_family = "wasm")]
mod hub;
mod method;
mod pair;
pub mod prelude;
#[cfg(all(feature = "remote", not(target_family = "wasm")))]
mod remote_training;
mod run;
mod setup;
mod teacher_input;
mod text_model;
mod training_data;

pub use answer::{Answer, AnswerSpan};
pub use budget_report::BudgetReport;
pub use calibration::{CalibrationConfig, CalibrationTrial, HelpCost};
pub use distillation::{Distillation, Distilled, Trained};
pub use distillation_config::DistillationConfig;
pub use error::{Error, report};
pub use host::check_memory;
pub use method::Method;
pub use pair::Pair;
pub use text_model::{ModelFile, TextModel};
pub use training_data::TrainingData;
pub use wheels_decode as decode;
pub use wheels_distill as distill;
pub use wheels_eval as eval;
#[cfg(not(target_family = "wasm"))]
pub use wheels_hub as hub;
pub use wheels_lm as lm;
#[cfg(all(feature = "remote", not(target_family = "wasm")))]
pub use wheels_remote as remote;
pub use wheels_student as student;
pub use wheels_text as text;

/// Runs the code of the README as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Compiles the code of the README of `wheels-remote`.
#[cfg(all(doctest, feature = "remote"))]
#[doc = include_str!("../remote/README.md")]
struct RemoteReadme;
