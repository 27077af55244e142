//! The configuration of a cache.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::DistillError;

/// Configuration of a [`TeacherCacheWriter`](crate::TeacherCacheWriter).
#[derive(Config, Debug, PartialEq)]
pub struct TeacherCacheConfig {
    /// What is kept of the teacher at each position.
    #[config(default = "CacheContent::TopK(64)")]
    pub content: CacheContent,
    /// Whether numbers are kept in 16 bits (f16) instead of 32 (f32). The log-probs of f16 have a relative error of at
    /// most 2^-11.
    #[config(default = true)]
    pub half_precision: bool,
    /// The temperature of the teacher's distribution. It must be that of the run
    /// ([`RolloutConfig::teacher_temperature`](crate::RolloutConfig)), except for hidden states, which do not depend on
    /// it.
    #[config(default = 0.7)]
    pub teacher_temperature: f64,
    /// The largest number of source and target tokens that the teacher reads together, padding included. A longer pair is
    /// read alone.
    #[config(default = 2048)]
    pub batch_tokens: usize,
    /// The largest size of the numbers in a shard, bytes. Only a shard with a single pair can be larger. An interrupted
    /// run loses at most one shard, and a shard is in memory while it is written or checked.
    #[config(default = 16_777_216)]
    pub shard_bytes: usize,
}

impl TeacherCacheConfig {
    /// # Errors
    /// [`DistillError::CacheContent`] if a setting is out of its range.
    pub(super) fn check(&self) -> Result<(), DistillError> {
        let reason = match self {
            Self { content: CacheContent::TopK(0), .. } => "the top 0 tokens say nothing: keep at least one".to_owned(),
            Self { teacher_temperature: t, .. } if !(t.is_finite() && *t > 0.0) => {
                format!("a temperature of {t} has no distribution: it must be above 0")
            }
            _ => return Ok(()),
        };
        Err(DistillError::CacheContent { reason })
    }
}

/// What a cache keeps of the teacher at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheContent {
    /// The log-probs of the k most likely tokens, their ids, and the mass of all others. With the size of the vocabulary
    /// or more it keeps all log-probs.
    TopK(usize),
    /// The last hidden states, and once the output head. They give the whole distribution, at any temperature, from
    /// `d_model` numbers. The teacher's head must be linear.
    HiddenStates,
}
