//! A teacher's distributions on disk: a corpus is scored once, and students are trained without the teacher.
//!
//! # Files
//!
//! The folder of a cache has these files:
//!
//! ```text
//! cache.json                what the cache has, and the size and SHA-256 of every other file
//! shard-00000.safetensors   consecutive pairs of the data, position after position
//! shard-00001.safetensors
//! head.safetensors          only with hidden states: the teacher's output head
//! ```
//!
//! A shard has P pairs with N target tokens together. A position of a target has one row in each tensor of numbers:
//!
//! - `digests`, U8 `[P, 16]`: the digest of each pair, from the token ids of its source and its target.
//! - `offsets`, U64 `[P + 1]`: the first row of each pair, and N.
//! - For the k most likely tokens: `ids`, U16 `[N, k]` or U32 for a vocabulary of more than 65,536 tokens; `log_probs`,
//!   nats, F16 or F32 `[N, k]`; `tail`, the log of the mass of all other tokens, nats, `[N, 1]`.
//! - If k is the size of the vocabulary: only `log_probs`, `[N, vocab]`, in the order of the ids.
//! - For hidden states: `hidden`, F16 or F32 `[N, d_model]`.
//!
//! Log-probs below -30 nats count as -30, as in the objectives.
//!
//! Each file is written under another name and renamed when it is complete, and cache.json is written after each shard.
//! A writer that was interrupted goes on with the next shard, and its files are the same as without the interruption.
//!
//! # Which cache serves which run
//!
//! A run finds its pairs by their digests. A cache therefore serves every selection and every order of its pairs, such
//! as a run with shorter texts. Another tokenizer or another prompt template gives other token ids, so that the pairs are
//! not found and the cache is refused. Top k log-probs also depend on the temperature and on the excluded tokens, which
//! are compared. Hidden states depend on neither.

mod cache;
mod columns;
mod config;
mod digest;
mod head;
mod manifest;
mod scorer;
mod shard;
mod top_k_writer;
mod top_tokens;
mod writer;

pub use cache::TeacherCache;
pub use config::{CacheContent, TeacherCacheConfig};
pub(crate) use digest::hexadecimal;
pub use digest::weights_digest;
pub use manifest::{CacheFile, CacheManifest};
pub use top_k_writer::{TopKCacheWriter, TopKTeacher, TopTokenList};
pub use writer::{CacheProgress, TeacherCacheWriter};
