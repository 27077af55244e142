//! Writes a cache of a teacher that is not on this machine, from its most likely tokens.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use burn::tensor::{DType, TensorData};

use super::cache::within;
use super::columns::id_format;
use super::digest::{pair_digests, sha256};
use super::head::stored;
use super::scorer::PairRows;
use super::writer::{ShardPlan, write_shards};
use super::{CacheContent, CacheManifest, CacheProgress, TeacherCacheConfig};
use crate::rollout::MIN_LOG_PROB;
use crate::{DistillError, TokenPair, TokenPairs, TopKVocabulary};

/// The number of pairs that a teacher scores together.
const TOGETHER: usize = 64;

/// The most likely tokens at a position with their log-probs, nats. The tokens are distinct, in any order.
pub type TopTokenList = Vec<(u32, f64)>;

/// A teacher that is not on this machine, and that scores given texts.
pub trait TopKTeacher {
    /// What identifies the teacher, such as the address of its server and its name there. A cache goes on only with the same.
    fn identity(&self) -> String;

    /// The `k` most likely tokens, or more, at every target token of some pairs. The log-probs are those of the teacher
    /// itself, at the temperature 1.
    ///
    /// # Errors
    /// Any error. What is written of the cache before stays.
    fn score(&self, pairs: &[TokenPair], k: usize) -> Result<Vec<Vec<TopTokenList>>, Box<dyn Error + Send + Sync>>;
}

/// Scores training pairs with a [`TopKTeacher`], and writes a cache from which students are trained like from one of a
/// [`TeacherCacheWriter`](crate::TeacherCacheWriter).
///
/// Excluded tokens among the most likely ones are removed, and their mass is divided among all others in proportion. Those
/// that are not among them keep their small part of the tail.
pub struct TopKCacheWriter<'a> {
    config: TeacherCacheConfig,
    pairs: &'a dyn TokenPairs,
    teacher: &'a dyn TopKTeacher,
    vocabulary: TopKVocabulary,
    special: (u32, Vec<u32>),
}

impl<'a> TopKCacheWriter<'a> {
    /// A writer for some pairs. The vocabulary is the student's, without help tokens. `pad` and `eos` are the tokens that
    /// pad and end a text.
    pub fn new(
        config: TeacherCacheConfig,
        pairs: &'a dyn TokenPairs,
        teacher: &'a dyn TopKTeacher,
        vocabulary: TopKVocabulary,
        (pad, eos): (u32, Vec<u32>),
    ) -> Self {
        let excluded = within(&vocabulary.excluded, vocabulary.size);
        Self { config, pairs, teacher, vocabulary: TopKVocabulary { excluded, ..vocabulary }, special: (pad, eos) }
    }

    /// Writes the cache, or what is missing of a cache in this folder.
    ///
    /// # Errors
    /// As [`TeacherCacheWriter::write`](crate::TeacherCacheWriter::write); [`DistillError::CacheContent`] if the
    /// configuration wants hidden states, as many tokens as there are, or another temperature than 1; and
    /// [`DistillError::Scoring`] if the teacher fails.
    pub fn write(
        &self,
        folder: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(CacheProgress),
    ) -> Result<CacheManifest, DistillError> {
        self.config.check()?;
        let k = self.top_k()?;
        if self.pairs.count() == 0 {
            return Err(DistillError::NoData);
        }
        let digests = pair_digests(self.pairs)?;
        let manifest = CacheManifest {
            vocab_size: self.vocabulary.size,
            d_model: 0,
            pad: self.special.0,
            eos: self.special.1.clone(),
            excluded: self.vocabulary.excluded.clone(),
            teacher: sha256(self.teacher.identity().as_bytes()),
            ..CacheManifest::empty(&self.config, self.pairs, &digests)
        };
        let plan = ShardPlan { folder: folder.as_ref(), pairs: self.pairs, digests: &digests };
        write_shards(plan, manifest.with_row_size(), on_progress, |range, on_tokens| {
            let mut rows = Vec::with_capacity(range.len());
            for start in range.clone().step_by(TOGETHER) {
                let mut pairs = Vec::new();
                for index in start..range.end.min(start + TOGETHER) {
                    pairs.push(self.pairs.pair(index)?.into_owned());
                }
                let scored = self.teacher.score(&pairs, k).map_err(DistillError::Scoring)?;
                assert_eq!(scored.len(), pairs.len(), "a teacher scores each pair");
                for (pair, positions) in pairs.iter().zip(&scored) {
                    assert_eq!(positions.len(), pair.target.len(), "a teacher scores each target token");
                    rows.push(self.rows(positions, k)?);
                }
                on_tokens(pairs.iter().map(|pair| pair.target.len()).sum());
            }
            Ok(rows)
        })
    }

    fn top_k(&self) -> Result<usize, DistillError> {
        let reason = match self.config.content {
            CacheContent::HiddenStates => {
                "a teacher that is not on this machine shows no hidden states: keep the top k"
            }
            // A list of all tokens has another format.
            CacheContent::TopK(k) if k >= self.vocabulary.size => "keep fewer tokens than the vocabulary has",
            CacheContent::TopK(k) if k > self.vocabulary.size - self.vocabulary.excluded.len() => {
                "keep at most as many tokens as are not excluded"
            }
            CacheContent::TopK(_) if self.config.teacher_temperature != 1.0 => {
                "the log-probs of a teacher that is not on this machine are at the temperature 1: set \
                 `TeacherCacheConfig::teacher_temperature` and `RolloutConfig::teacher_temperature` to 1"
            }
            CacheContent::TopK(k) => return Ok(k),
        };
        Err(DistillError::CacheContent { reason: reason.into() })
    }

    /// The bytes of each column at the positions of a target.
    fn rows(&self, positions: &[TopTokenList], k: usize) -> Result<PairRows, DistillError> {
        let (mut ids, mut log_probs, mut tails) = (Vec::new(), Vec::<f32>::new(), Vec::<f32>::new());
        for position in positions {
            let (top, tail) = self.top(position, k)?;
            for (id, log_prob) in top {
                ids.push(id);
                log_probs.push(log_prob.max(MIN_LOG_PROB) as f32);
            }
            tails.push(tail.max(MIN_LOG_PROB) as f32);
        }
        let count = positions.len();
        let float = if self.config.half_precision { DType::F16 } else { DType::F32 };
        let ids = TensorData::new(ids, [count, k]).convert_dtype(id_format(self.vocabulary.size));
        let log_probs = stored(TensorData::new(log_probs, [count, k]), float)?;
        Ok(vec![ids.as_bytes().to_vec(), log_probs, stored(TensorData::new(tails, [count, 1]), float)?])
    }

    /// The `k` most likely tokens by their ids, and the log of the mass of all others.
    fn top(&self, position: &TopTokenList, k: usize) -> Result<(BTreeMap<u32, f64>, f64), DistillError> {
        let TopKVocabulary { size, excluded } = &self.vocabulary;
        let is_open = |id: u32| (id as usize) < *size && excluded.binary_search(&id).is_err();
        let closed: f64 = position.iter().filter(|token| !is_open(token.0)).map(|token| token.1.exp()).sum();
        let mut open: Vec<(u32, f64)> = position.iter().copied().filter(|token| is_open(token.0)).collect();
        let mass: f64 = open.iter().map(|token| token.1.exp()).sum();
        if !mass.is_finite() || open.is_empty() || closed + mass > 1.01 {
            let reason = format!("the teacher's {} most likely tokens are no distribution", position.len());
            return Err(DistillError::CacheContent { reason });
        }
        open.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        // What is left for the open tokens: everything but the mass of those that are closed.
        let total = (1.0 - closed).max(mass);
        let mut top: BTreeMap<u32, f64> = open.iter().take(k).map(|&(id, log)| (id, log - total.ln())).collect();
        let mut tail = (1.0 - top.values().map(|log| log.exp()).sum::<f64>()).max(0.0);
        // If there are too few, others get their even share of the rest, as they would without being listed.
        let others = size - excluded.len() - top.len();
        let share = tail / others.max(1) as f64;
        for id in (0..*size as u32).filter(|&id| is_open(id)) {
            if top.len() == k {
                break;
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = top.entry(id) {
                entry.insert(share.ln());
                tail -= share;
            }
        }
        Ok((top, tail.max(0.0).ln()))
    }
}
