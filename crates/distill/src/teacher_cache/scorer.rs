//! Scores pairs with a teacher.

use std::borrow::Cow;
use std::ops::Range;

use burn::tensor::DType;
use wheels_lm::{Hidden, LanguageModel, TokenBatch};

use super::columns::id_format;
use super::head::stored;
use super::top_tokens::TopTokens;
use super::{CacheContent, TeacherCacheConfig};
use crate::config::default_positions;
use crate::data::pack;
use crate::read_batch::teacher_forced;
use crate::rollout::MIN_LOG_PROB;
use crate::teacher_softmax::teacher_log_probs;
use crate::{DistillError, TokenPair, TokenPairs, Workers};

/// The rows of a pair: the bytes of each column.
pub(super) type PairRows = Vec<Vec<u8>>;

/// Computes what a cache keeps of a teacher's distributions.
pub(super) struct Scorer<'a, T> {
    pub(super) config: &'a TeacherCacheConfig,
    pub(super) pairs: &'a dyn TokenPairs,
    pub(super) teacher: &'a T,
    pub(super) excluded: &'a [u32],
}

impl<T: LanguageModel + Sync> Scorer<'_, T> {
    /// The rows of some pairs. `on_tokens` gets the number of tokens that were scored.
    pub(super) fn rows(
        &self,
        range: Range<usize>,
        workers: &Workers,
        on_tokens: &mut dyn FnMut(usize),
    ) -> Result<Vec<PairRows>, DistillError> {
        let mut rows: Vec<PairRows> = vec![vec![]; range.len()];
        let mut indices: Vec<u32> = range.clone().map(|index| index as u32).collect();
        let batches = pack(self.pairs, &mut indices, self.config.batch_tokens);
        for together in batches.chunks(workers.count()) {
            let scored = workers.map_chunks(together, |batches| {
                batches.iter().map(|batch| self.score_batch(batch)).collect::<Result<Vec<_>, _>>()
            });
            let mut tokens = 0;
            for scored in scored {
                for (index, pair_rows) in scored?.into_iter().flatten() {
                    tokens += self.pairs.lengths(index as usize).1;
                    rows[index as usize - range.start] = pair_rows;
                }
            }
            on_tokens(tokens);
        }
        Ok(rows)
    }

    /// The rows of the pairs of a batch, each with the index of its pair.
    fn score_batch(&self, batch: &[u32]) -> Result<Vec<(u32, PairRows)>, DistillError> {
        let mut pairs = Vec::with_capacity(batch.len());
        for &index in batch {
            pairs.push(self.pairs.pair(index as usize)?);
        }
        let (hidden, width) = self.hidden(&pairs);
        let mut columns: Vec<Vec<u8>> = vec![];
        for chunk in hidden.chunks(default_positions(self.teacher.spec().vocab_size)) {
            let chunk = self.columns(&chunk)?;
            columns.resize(chunk.len(), vec![]);
            for (column, bytes) in columns.iter_mut().zip(chunk) {
                column.extend(bytes);
            }
        }
        let positions = pairs.len() * width;
        let mut scored = Vec::with_capacity(batch.len());
        for (row, (&index, pair)) in batch.iter().zip(&pairs).enumerate() {
            let mut pair_rows = PairRows::with_capacity(columns.len());
            for column in &columns {
                let row_bytes = column.len() / positions;
                let start = row * width * row_bytes;
                pair_rows.push(column[start..start + pair.target.len() * row_bytes].to_vec());
            }
            scored.push((index, pair_rows));
        }
        Ok(scored)
    }

    /// The teacher's hidden states at the targets of some pairs, `[batch * time, d_model]`, and the `time`.
    pub(super) fn hidden(&self, pairs: &[Cow<'_, TokenPair>]) -> (Hidden, usize) {
        let pad = self.teacher.spec().pad;
        let sources: Vec<&[u32]> = pairs.iter().map(|pair| pair.source.as_slice()).collect();
        let targets: Vec<&[u32]> = pairs.iter().map(|pair| pair.target.as_slice()).collect();
        let targets = TokenBatch::new(&targets, pad);
        (teacher_forced(self.teacher, &TokenBatch::new(&sources, pad), &targets), targets.width())
    }

    /// The bytes of each column at some positions.
    fn columns(&self, hidden: &Hidden) -> Result<Vec<Vec<u8>>, DistillError> {
        let TeacherCacheConfig { content, half_precision, teacher_temperature, .. } = self.config;
        let float = if *half_precision { DType::F16 } else { DType::F32 };
        let &CacheContent::TopK(k) = content else {
            return Ok(vec![stored(hidden.states().into_data(), float)?]);
        };
        let vocab_size = self.teacher.spec().vocab_size;
        let log_probs = teacher_log_probs(self.teacher.head(hidden), self.excluded, *teacher_temperature);
        // Clamping could hide that a number is not one.
        if log_probs.clone().sum().into_scalar::<f32>().is_nan() {
            let reason = "it computes log-probs that are not numbers".to_owned();
            return Err(DistillError::CacheContent { reason });
        }
        if k >= vocab_size {
            return Ok(vec![stored(log_probs.clamp_min(MIN_LOG_PROB).into_data(), float)?]);
        }
        let TopTokens { ids, log_probs, tail } = TopTokens::of(log_probs, k);
        let ids = ids.convert_dtype(id_format(vocab_size));
        let [log_probs, tail] = [log_probs, tail].map(|data| stored(data, float));
        Ok(vec![ids.as_bytes().to_vec(), log_probs?, tail?])
    }
}
