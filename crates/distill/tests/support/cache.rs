//! A cache of the teacher of all tests.

use std::path::Path;

use burn::tensor::Device;
use wheels_distill::{
    CacheContent, CacheManifest, DistillError, TeacherCache, TeacherCacheConfig, TeacherCacheWriter, TokenPairs,
    Workers,
};

use crate::support::{HELP, MODELS, PAIRS, VOCAB};

/// All log-probs in f32.
pub(crate) fn whole() -> TeacherCacheConfig {
    TeacherCacheConfig::new().with_content(CacheContent::TopK(VOCAB as usize)).with_half_precision(false)
}

/// The four most likely tokens in f16, with a few pairs in each shard.
pub(crate) fn top_4() -> TeacherCacheConfig {
    TeacherCacheConfig::new().with_content(CacheContent::TopK(4)).with_shard_bytes(400).with_batch_tokens(40)
}

/// Writes a cache of the teacher for some pairs.
pub(crate) fn write(
    config: &TeacherCacheConfig,
    pairs: &dyn TokenPairs,
    folder: &Path,
) -> Result<CacheManifest, DistillError> {
    let writer = TeacherCacheWriter::new(config.clone(), pairs, &MODELS.teacher, &[HELP, 0]);
    writer.write(folder, &Workers::new(2)?, &mut |_| ())
}

/// Opens a cache for all pairs.
pub(crate) fn open(folder: &Path) -> Result<TeacherCache, DistillError> {
    TeacherCache::open(folder, &*PAIRS, &Device::flex())
}
