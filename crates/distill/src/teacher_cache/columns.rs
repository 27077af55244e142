//! The tensors of a shard that have one row for each position.

use std::sync::Arc;

use burn::tensor::{DType, TensorData};
use safetensors::Dtype;

use super::{CacheContent, CacheManifest};
use crate::{HiddenData, TeacherDistributions, TopKData, TopKVocabulary};

pub(super) const IDS: &str = "ids";
pub(super) const LOG_PROBS: &str = "log_probs";
pub(super) const TAIL: &str = "tail";
pub(super) const HIDDEN: &str = "hidden";

/// A tensor of a shard, `[rows, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) dtype: DType,
    pub(super) width: usize,
}

impl Column {
    /// The size of a row, bytes.
    pub(super) fn row_bytes(&self) -> usize {
        self.width * self.dtype.size()
    }

    /// The number format in the file.
    pub(super) fn stored(&self) -> Dtype {
        match self.dtype {
            DType::U16 => Dtype::U16,
            DType::U32 => Dtype::U32,
            DType::F16 => Dtype::F16,
            _ => Dtype::F32,
        }
    }
}

/// The format of the ids of a vocabulary.
pub(super) fn id_format(vocab_size: usize) -> DType {
    if vocab_size <= 1 << 16 { DType::U16 } else { DType::U32 }
}

impl CacheManifest {
    /// The columns of the shards.
    pub(super) fn columns(&self) -> Vec<Column> {
        let float = self.float();
        let column = |name, dtype, width| Column { name, dtype, width };
        match self.content {
            CacheContent::HiddenStates => vec![column(HIDDEN, float, self.d_model)],
            CacheContent::TopK(k) if k >= self.vocab_size => vec![column(LOG_PROBS, float, self.vocab_size)],
            CacheContent::TopK(k) => {
                vec![column(IDS, id_format(self.vocab_size), k), column(LOG_PROBS, float, k), column(TAIL, float, 1)]
            }
        }
    }

    /// The format of numbers that are not ids.
    pub(super) fn float(&self) -> DType {
        if self.half_precision { DType::F16 } else { DType::F32 }
    }

    /// The teacher's distributions from the bytes of each column, at the positions of `[batch, time]`.
    pub(super) fn distributions(
        &self,
        bytes: Vec<Vec<u8>>,
        [batch, time]: [usize; 2],
        vocabulary: &Arc<TopKVocabulary>,
    ) -> TeacherDistributions {
        let mut data = Vec::with_capacity(bytes.len());
        for (column, bytes) in self.columns().iter().zip(bytes) {
            let shape = if column.width == self.vocab_size && column.name == LOG_PROBS {
                vec![batch, time, column.width]
            } else {
                vec![batch * time, column.width]
            };
            data.push(TensorData::from_bytes_vec(bytes, shape, column.dtype));
        }
        match <[TensorData; 3]>::try_from(data) {
            Ok([ids, log_probs, tail]) => {
                TeacherDistributions::TopK(TopKData::new(ids, log_probs, tail, vocabulary.clone()))
            }
            Err(mut data) if self.content == CacheContent::HiddenStates => {
                TeacherDistributions::Hidden(HiddenData::from_states(data.remove(0)))
            }
            Err(mut data) => TeacherDistributions::LogProbs(data.remove(0)),
        }
    }
}
