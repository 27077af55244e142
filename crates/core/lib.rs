//! Knowledge distillation with training wheels: a small language model learns from a large one, and learns when to ask
//! the large one for help.
//!
//! Start with [`Distillation`], which trains a small model (the student) on a large one (the teacher), and [`Pair`],
//! which decodes with both. A [`TextModel`] is a model folder: weights, tokenizer, prompt template and generation
//! config. [`device`] opens a CPU or a GPU.
//!
//! The modules are [`text`] (tokenizers, prompts, budgets, datasets), [`lm`] (language models), [`student`] (the help token and
//! its heads), [`decode`] (decoding within a budget), [`distill`] (training), [`eval`] (metrics and comparisons), `hub`
//! (downloads), and with the feature `remote` also `remote` (a teacher behind a server). Each re-exports what most programs need
//! of one crate: `decode` of `wheels-decode`, and so on. If you need more, such as for a training loop of your own, add that crate
//! to your dependencies. Its other names may change in any version.
//!
//! # The allocator
//! Tensors on the CPU are allocated and freed all the time. The C library of Linux (glibc) returns much of that memory to the
//! system, and then every page of it is set up anew. The programs of this repository therefore use the crate mimalloc, with
//! which a prompt of 512 tokens is read 1.2 times as fast. In a program of your own:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
//! ```

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

/// Decoding with help within a budget. More is in the crate `wheels-decode`.
pub mod decode {
    #[doc(inline)]
    pub use wheels_decode::{
        Acceptance, AcceptanceRule, Action, BudgetUnit, BudgetedDecoder, Calibration, CalibrationPoint, Confidence,
        DecodeError, DecodeSession, DecodeStats, Decoded, Decoder, Distribution, End, Enforcement, Expert,
        ExpertSession, Experts, FailureReason, HelpFailure, HelpForecast, HelpRequest, HelpResponse, HelpRule,
        ModelUse, NewText, Observer, Policy, PromptSide, Readout, RequestInfo, Sampler, Source, Step, Teacher,
        Trajectory, Verification, Vocabulary,
    };
}

/// Training: objectives, rollouts, settings and the trainer. More is in the crate `wheels-distill`.
pub mod distill {
    #[doc(inline)]
    pub use wheels_distill::{
        CacheContent, ConstraintConfig, Decay, DistillError, HelpHeadConfig, Loss, LossScope, MemoryPlan, Mixture,
        Objective, PriceFitConfig, RolloutConfig, Scored, StepReport, SupervisedBatches, TeacherCacheConfig, TokenPair,
        TokenPairs, TokenizedDataset, Trainer, TrainerConfig, TrainingOutcome, WorkProgress,
    };

    /// What is minimised: the objectives, and what an objective of your own needs.
    pub mod objective {
        #[doc(inline)]
        pub use wheels_distill::objective::{
            AllActionConsistency, ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd, HelpValue, PathConsistency,
            Requirements, ValueSource,
        };
    }
}

/// Metrics and comparisons of decoders. More is in the crate `wheels-eval`.
pub mod eval {
    #[doc(inline)]
    pub use wheels_eval::{CallCost, CorpusStats, EvalError, Evaluation, Scores};
}

/// Downloads from the Hugging Face Hub. More is in the crate `wheels-hub`.
#[cfg(not(target_family = "wasm"))]
pub mod hub {
    #[doc(inline)]
    pub use wheels_hub::{HubError, Progress, fetch};
}

/// Language models: token ids in, logits out. More is in the crate `wheels-lm`.
pub mod lm {
    #[doc(inline)]
    pub use wheels_lm::{
        Activation, BartConfig, Context, FeedForward, FloatFormat, Hidden, LanguageModel, LlamaConfig, LmError,
        LoadOptions, LoraConfig, ModelSize, ModelSpec, ModelState, Positions, Pretrained, T5Config, TokenBatch,
        TokenIds, WeightFormat,
    };
}

/// A teacher behind a server. More is in the crate `wheels-remote`.
#[cfg(all(feature = "remote", not(target_family = "wasm")))]
pub mod remote {
    #[doc(inline)]
    pub use wheels_remote::{RemoteConfig, RemoteError, RemoteTeacher, SpendingCap, TokenPrices};
}

/// A model with a help token: its heads and the prices of help. More is in the crate `wheels-student`.
pub mod student {
    #[doc(inline)]
    pub use wheels_student::{Prices, Student, StudentConfig, StudentError};
}

/// Tokenizers, prompts, budgets and datasets. More is in the crate `wheels-text`.
pub mod text {
    #[doc(inline)]
    pub use wheels_text::{
        BudgetPlacement, ChatPrompt, Dataset, DatasetOptions, Example, ExampleStream, GenerationConfig, HelpBudget,
        Message, Prompt, PromptTemplate, Role, Seed, TextError, Tokenizer, TokenizerConfig,
    };
}

/// Runs the code of the README as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Compiles the code of the README of `wheels-remote`.
#[cfg(all(doctest, feature = "remote"))]
#[doc = include_str!("../remote/README.md")]
struct RemoteReadme;
