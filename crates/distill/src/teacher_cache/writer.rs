//! Writes a cache.

use std::ops::Range;
use std::path::Path;

use burn::module::Module;
use wheels_lm::LanguageModel;

use super::cache::within;
use super::columns::Column;
use super::digest::{PairDigest, pair_digests, sha256};
use super::head::CachedHead;
use super::manifest::{FORMAT, write};
use super::scorer::{PairRows, Scorer};
use super::{CacheContent, CacheFile, CacheManifest, TeacherCacheConfig, shard, weights_digest};
use crate::{DistillError, TokenPairs, Workers};

/// Scores training pairs with a teacher, and writes its distributions at every target token into a folder.
pub struct TeacherCacheWriter<'a, T> {
    config: TeacherCacheConfig,
    pairs: &'a dyn TokenPairs,
    teacher: &'a T,
    excluded: Vec<u32>,
}

/// How much of a cache is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheProgress {
    /// The number of target tokens that the teacher has scored, including those of an earlier call.
    pub tokens: usize,
    /// The number of target tokens of all pairs.
    pub total: usize,
}

impl<'a, T: LanguageModel + Module + Sync> TeacherCacheWriter<'a, T> {
    /// A writer for some pairs. `suppressed_ids` are excluded from the teacher's distribution, as in
    /// [`RolloutSampler::new`](crate::RolloutSampler::new).
    pub fn new(config: TeacherCacheConfig, pairs: &'a dyn TokenPairs, teacher: &'a T, suppressed_ids: &[u32]) -> Self {
        let excluded = within(suppressed_ids, teacher.spec().vocab_size);
        Self { config, pairs, teacher, excluded }
    }

    /// Writes the cache, or what is missing of a cache in this folder. `on_progress` is called first for what is there, and
    /// then again and again.
    ///
    /// # Errors
    /// [`DistillError::NoData`] if there are no pairs, [`DistillError::CacheSettings`] if the folder has a cache with other
    /// settings, of another teacher or of other data, [`DistillError::CacheContent`] if a setting is out of its range or the
    /// teacher's numbers cannot be kept, and any error of reading the pairs and of writing.
    pub fn write(
        &self,
        folder: impl AsRef<Path>,
        workers: &Workers,
        on_progress: &mut dyn FnMut(CacheProgress),
    ) -> Result<CacheManifest, DistillError> {
        let folder = folder.as_ref();
        self.config.check()?;
        if self.pairs.count() == 0 {
            return Err(DistillError::NoData);
        }
        let digests = pair_digests(self.pairs)?;
        let mut manifest = self.empty_manifest(&digests);
        let scorer =
            Scorer { config: &self.config, pairs: self.pairs, teacher: self.teacher, excluded: &self.excluded };
        if self.config.content == CacheContent::HiddenStates {
            let earlier = CacheManifest::read(folder)?;
            earlier.as_ref().map_or(Ok(()), |earlier| manifest.check_same(earlier, folder))?;
            manifest.head = earlier.and_then(|earlier| earlier.head).filter(|head| head.read(folder).is_ok());
            if manifest.head.is_none() {
                let sample = scorer.hidden(&[self.pairs.pair(0)?]).0;
                manifest.head = Some(CachedHead::of(self.teacher, &sample)?.save(folder, &manifest)?);
            }
        }
        let plan = ShardPlan { folder, pairs: self.pairs, digests: &digests };
        write_shards(plan, manifest, on_progress, |range, on_tokens| scorer.rows(range, workers, on_tokens))
    }

    /// The manifest of this cache without files.
    fn empty_manifest(&self, digests: &[PairDigest]) -> CacheManifest {
        let spec = self.teacher.spec();
        let manifest = CacheManifest {
            vocab_size: spec.vocab_size,
            d_model: spec.d_model,
            pad: spec.pad,
            eos: spec.eos.clone(),
            excluded: self.excluded.clone(),
            teacher: weights_digest(self.teacher),
            ..CacheManifest::empty(&self.config, self.pairs, digests)
        };
        manifest.with_row_size()
    }
}

impl CacheManifest {
    /// A manifest without files and without a teacher.
    pub(super) fn empty(config: &TeacherCacheConfig, pairs: &dyn TokenPairs, digests: &[PairDigest]) -> Self {
        Self {
            format: FORMAT,
            content: config.content,
            half_precision: config.half_precision,
            vocab_size: 0,
            d_model: 0,
            pad: 0,
            eos: vec![],
            teacher_temperature: config.teacher_temperature,
            excluded: vec![],
            teacher: String::new(),
            data: sha256(digests.as_flattened()),
            pairs: digests.len(),
            tokens: (0..digests.len()).map(|index| pairs.lengths(index).1).sum(),
            batch_tokens: config.batch_tokens,
            shard_bytes: config.shard_bytes,
            bytes_per_token: 0,
            head: None,
            shards: vec![],
        }
    }

    /// The same manifest with the size of its rows.
    pub(super) fn with_row_size(mut self) -> Self {
        self.bytes_per_token = self.columns().iter().map(Column::row_bytes).sum();
        self
    }
}

/// Where shards are written, and of which pairs.
#[derive(Clone, Copy)]
pub(super) struct ShardPlan<'a> {
    pub(super) folder: &'a Path,
    pub(super) pairs: &'a dyn TokenPairs,
    pub(super) digests: &'a [PairDigest],
}

/// Writes the shards of a cache, or what is missing of them. `score` gives the rows of some pairs, and reports the number of
/// tokens that were scored.
pub(super) fn write_shards(
    plan: ShardPlan<'_>,
    mut manifest: CacheManifest,
    on_progress: &mut dyn FnMut(CacheProgress),
    mut score: impl FnMut(Range<usize>, &mut dyn FnMut(usize)) -> Result<Vec<PairRows>, DistillError>,
) -> Result<CacheManifest, DistillError> {
    let ShardPlan { folder, digests, .. } = plan;
    // A file that is missing or damaged is written again.
    let mut kept: Vec<Option<CacheFile>> = vec![];
    if let Some(earlier) = CacheManifest::read(folder)? {
        manifest.check_same(&earlier, folder)?;
        kept.extend(earlier.shards.into_iter().map(|file| Some(file).filter(|file| file.read(folder).is_ok())));
    }
    let columns = manifest.columns();
    let tokens = kept.iter().flatten().map(|file| file.tokens).sum();
    let mut progress = CacheProgress { tokens, total: manifest.tokens };
    on_progress(progress);
    for (index, range) in plan.shards(&manifest).into_iter().enumerate() {
        if let Some(Some(kept)) = kept.get(index) {
            manifest.shards.push(kept.clone());
            continue;
        }
        let rows = score(range.clone(), &mut |tokens| {
            progress.tokens += tokens;
            on_progress(progress);
        })?;
        let (content, tokens) = shard::encode(&columns, &digests[range], &rows);
        let file = CacheFile::new(format!("shard-{index:05}.safetensors"), [rows.len(), tokens], &content);
        write(&file.path(folder), &content)?;
        manifest.shards.push(file);
        manifest.save(folder)?;
    }
    manifest.save(folder)?;
    Ok(manifest)
}

impl ShardPlan<'_> {
    /// The pairs of each shard.
    fn shards(&self, manifest: &CacheManifest) -> Vec<Range<usize>> {
        let (mut shards, mut start, mut bytes) = (Vec::new(), 0, 0);
        for index in 0..self.pairs.count() {
            let size = self.pairs.lengths(index).1 * manifest.bytes_per_token;
            if index > start && bytes + size > manifest.shard_bytes {
                shards.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes += size;
        }
        shards.push(start..self.pairs.count());
        shards
    }
}
