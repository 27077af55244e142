//! What most programs import.

pub use crate::decode::{
    BudgetedDecoder, Confidence, Decoder, Experts, HelpRule, Policy, Sampler, Teacher, Verification,
};
pub use crate::device::{self, DeviceSpec};
pub use crate::distill::objective::{ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd};
pub use crate::eval::Evaluation;
pub use crate::lm::{LanguageModel, Pretrained};
pub use crate::text::{Dataset, GenerationConfig, HelpBudget, Prompt, PromptTemplate, Seed, Tokenizer};
pub use crate::{Answer, CalibrationConfig, Distillation, DistillationConfig, Error, Pair, TextModel};
