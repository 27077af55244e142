//! What most programs import.

pub use crate::decode::{Asking, BudgetedDecoder, Decoder, HelpDesk, Measure, Policy, Sampler, Teacher};
pub use crate::device::{self, DeviceSpec};
pub use crate::lm::{LanguageModel, Pretrained};
pub use crate::text::{HelpBudget, Prompt, PromptFormat, Seed, Tokenizer, Translate};
pub use crate::{Bundle, Error, Models};
