//! Rollouts: texts to train on, written by the student with its teacher, by the teacher alone, or by people.

mod mixture;
mod replay;
mod row;
mod sampler;
mod source;
mod teacher_source;

pub use mixture::Mixture;
pub use row::{Rollout, RolloutRow};
pub(crate) use sampler::MIN_LOG_PROB;
pub use sampler::RolloutSampler;
pub use source::Rollouts;
