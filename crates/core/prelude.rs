//! The names that most programs need, for `use training_wheels::prelude::*`.

#[doc(no_inline)]
pub use crate::decode::{
    BudgetedDecoder, Confidence, Decoder, Experts, HelpRule, Policy, Sampler, Teacher, Verification,
};
#[doc(no_inline)]
pub use crate::device::{self, DeviceSpec};
#[doc(no_inline)]
pub use crate::distill::objective::{ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd};
#[doc(no_inline)]
pub use crate::eval::Evaluation;
#[doc(no_inline)]
pub use crate::lm::{FloatFormat, LanguageModel, LoraConfig, Pretrained, WeightFormat};
#[cfg(all(feature = "remote", not(target_family = "wasm")))]
#[doc(no_inline)]
pub use crate::remote::{RemoteConfig, RemoteTeacher};
#[doc(no_inline)]
pub use crate::text::{Dataset, GenerationConfig, HelpBudget, Prompt, PromptTemplate, Seed, Tokenizer};
#[doc(no_inline)]
pub use crate::{Answer, CalibrationConfig, Distillation, DistillationConfig, Error, Pair, TextModel};
