//! Training a student, a small language model that can ask its teacher for help: objectives, data, rollouts, prices of
//! help, and the trainer.
//!
//! One [`Trainer`] serves every method. A [`BatchSource`] makes batches: [`SupervisedBatches`] from pairs of texts, or
//! [`Rollouts`] from texts that the student writes while it can ask its teacher. An [`Objective`] turns a scored batch
//! into a loss. The trainer adds the gradients of workers and micro-batches, clips them, and makes steps of AdamW with
//! a learning rate schedule. It validates, and writes checkpoints from which a run resumes bit for bit. [`Rollouts`]
//! also finds the prices of help. A [`TeacherCache`] stands in for the teacher: [`TeacherCacheWriter`] scores the
//! training pairs once, and all students train on the same distributions. [`ask_samples`] returns a student's log-odds of
//! asking, its divergence and its regret at each token.
//!
//! These are the stages of one step:
//!
//! ```text
//! pair -> prompt (a budget in words) -> rollout (token ids: the student asks, the teacher answers)
//!   -> training batch -> scored batch (tensors) -> loss -> gradients -> next student -> step report
//! ```
//!
//! With a large vocabulary, the logits and everything of their size are most of the memory of a step. They are therefore
//! computed in chunks of positions ([`TrainerConfig::logits_bytes`]), and the gradient of a chunk is taken before the
//! next one. The gradients are those of the whole batch. In long texts and deep models, most of the memory are the
//! activations of the blocks. Gradient checkpointing ([`TrainerConfig::gradient_checkpointing`]) keeps those of one block at
//! a time, and computes each block twice.
//!
//! This crate works on token ids and tensors. The caller passes a closure that validates, because only the caller can
//! judge texts.
//!
//! This example trains a student by word-level distillation:
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use burn::tensor::Device;
//! use wheels_distill::objective::ForwardKl;
//! use wheels_distill::{RolloutConfig, RolloutSampler, Rollouts, TokenizedDataset, Trainer, TrainerConfig};
//! use wheels_lm::T5Config;
//! use wheels_student::Student;
//! use wheels_text::{Dataset, PromptTemplate, Tokenizer, TokenizerConfig};
//!
//! let lines = "{\"source\": \"one\", \"target\": \"uno\"}\n{\"source\": \"two\", \"target\": \"due\"}\n";
//! let dataset = Dataset::from_reader(lines.as_bytes(), "numbers")?;
//! let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["one".to_owned()])?;
//! let pairs = TokenizedDataset::new(&dataset, &tokenizer, &PromptTemplate::default(), 64)?;
//!
//! // Two small models with random weights. The student lives on a device that tracks gradients.
//! let sizes = T5Config { vocab_size: 259, d_model: 8, d_kv: 4, d_ff: 16, ..T5Config::default() };
//! let config = T5Config { num_layers: 1, num_heads: 2, ..sizes };
//! let teacher = config.init(&Device::flex());
//! let student = Student::new(config.init(&Device::flex().autodiff()));
//!
//! // The student has no help token here, so it never asks.
//! let sampler = RolloutSampler::new(RolloutConfig::new(4), &pairs, &teacher, None, tokenizer.suppressed_ids());
//! let rollouts = Rollouts::new(sampler)?;
//! let folder = tempfile::tempdir()?;
//! let config = TrainerConfig::new(4).with_warmup_steps(1);
//! let mut trainer = Trainer::resume(config, &ForwardKl, student, rollouts, folder.path())?;
//!
//! let outcome = trainer.train(&mut |_student| Ok(0.5), &mut |report| {
//!     assert!(report.loss.is_finite());
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((outcome.steps, outcome.best), (4, Some((4, 0.5))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adamw;
mod checkpoint;
mod clipping;
mod config;
#[cfg(feature = "dashboard")]
mod dashboard;
mod data;
mod diagnostics;
mod error;
mod folder_content;
mod gradients;
mod help_head;
pub mod objective;
mod plan;
mod price;
mod read_batch;
mod report;
mod rollout;
mod scored;
mod targets;
pub mod teacher_cache;
mod teacher_softmax;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod top_k;
mod traffic;
mod trainer;
mod workers;

pub use config::{Decay, RolloutConfig, TrainerConfig};
#[cfg(feature = "dashboard")]
pub use dashboard::Dashboard;
pub use data::{BatchSource, PromptSource, SupervisedBatches, TokenPair, TokenPairs, TokenizedDataset, TrainingBatch};
pub use diagnostics::{AskSample, ask_samples};
pub use error::DistillError;
pub use folder_content::FolderContent;
pub use help_head::{HelpHeadConfig, HelpHeadFit};
pub use objective::{Loss, LossScope, Objective};
pub use plan::{BatchShape, MemoryPlan, PlannedModel};
pub use price::{ConstraintConfig, PriceFitConfig};
pub use report::{StepReport, WorkProgress};
pub use rollout::{Mixture, Rollout, RolloutRow, RolloutSampler, Rollouts};
pub use scored::{PriceTargets, Scored, TeacherTensors};
pub use targets::{HiddenData, PricePrompts, TeacherDistributions, TeacherHead, TeacherTargets};
pub use teacher_cache::{
    CacheContent, CacheFile, CacheManifest, CacheProgress, TeacherCache, TeacherCacheConfig, TeacherCacheWriter,
    TopKCacheWriter, TopKTeacher, TopTokenList, weights_digest,
};
pub use top_k::{TopKData, TopKVocabulary};
pub use traffic::StepTraffic;
pub use trainer::{Trainer, TrainingOutcome, Validate};
pub use workers::Workers;
