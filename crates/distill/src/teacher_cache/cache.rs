//! Reads a cache by position.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::columns::Column;
use super::digest::{PairDigest, pair_digests};
use super::head::CachedHead;
use super::shard::{Place, Shard};
use super::{CacheContent, CacheManifest};
use crate::{DistillError, HiddenData, TeacherDistributions, TokenPairs, TopKVocabulary};

/// A teacher's distributions at every target token of some training pairs, on disk.
///
/// The numbers stay on disk, and a batch reads those of its own pairs by position. The module [`teacher_cache`](crate::teacher_cache) describes the files.
#[derive(Debug)]
pub struct TeacherCache {
    folder: PathBuf,
    manifest: CacheManifest,
    columns: Vec<Column>,
    shards: Vec<Shard>,
    /// The place of each pair of the data.
    places: Vec<Place>,
    vocabulary: Arc<TopKVocabulary>,
    head: Option<CachedHead>,
}

impl TeacherCache {
    /// Opens the cache in a folder for some pairs, which may be a part of its pairs in any order. It reads all files once,
    /// to check them. `device` is the one on which log-probs are computed from hidden states.
    ///
    /// # Errors
    /// As [`CacheManifest::of_folder`], [`DistillError::CacheFile`] if a file is missing or damaged, and
    /// [`DistillError::CacheData`] if the cache lacks some of the pairs.
    pub fn open(folder: impl AsRef<Path>, pairs: &dyn TokenPairs, device: &Device) -> Result<Self, DistillError> {
        let folder = folder.as_ref();
        let manifest = CacheManifest::of_folder(folder)?;
        let columns = manifest.columns();
        let mut found = HashMap::with_capacity(manifest.pairs);
        let mut shards = Vec::with_capacity(manifest.shards.len());
        for (index, file) in manifest.shards.iter().enumerate() {
            shards.push(Shard::open(folder, file, &columns, index as u32, &mut found)?);
        }
        let places = places(folder, pairs, &found)?;
        let head = match (&manifest.head, manifest.content) {
            (Some(file), CacheContent::HiddenStates) => Some(CachedHead::open(folder, file, &manifest, device)?),
            (None, CacheContent::HiddenStates) => {
                let reason = "it names no head for its hidden states".to_owned();
                return Err(DistillError::CacheFile { path: folder.join("cache.json"), reason });
            }
            _ => None,
        };
        let vocabulary = TopKVocabulary { size: manifest.vocab_size, excluded: manifest.excluded.clone() };
        let (folder, vocabulary) = (folder.to_owned(), Arc::new(vocabulary));
        Ok(Self { folder, manifest, columns, shards, places, vocabulary, head })
    }

    /// What the cache has.
    pub fn manifest(&self) -> &CacheManifest {
        &self.manifest
    }

    /// The number of pairs for which the cache was opened.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The teacher's distributions at the targets of some pairs, `[batch, time]`, padding included. `time` is the length of
    /// the longest target.
    ///
    /// # Errors
    /// [`DistillError::Io`] if a shard cannot be read.
    ///
    /// # Panics
    /// If there is no pair with one of these indices.
    pub fn read(&self, pairs: &[u32]) -> Result<TeacherDistributions, DistillError> {
        let places: Vec<Place> = pairs.iter().map(|&pair| self.places[pair as usize]).collect();
        let time = places.iter().map(|place| place.rows).max().unwrap_or(0) as usize;
        let size = |column: &Column| places.len() * time * column.row_bytes();
        let mut bytes: Vec<Vec<u8>> = self.columns.iter().map(|column| vec![0; size(column)]).collect();
        for (row, place) in places.iter().enumerate() {
            let shard = &self.shards[place.shard as usize];
            let rows = row * time..(row + 1) * time;
            shard.read(place, &self.columns, rows, &mut bytes).map_err(|source| DistillError::Io {
                action: "read",
                path: shard.path.clone(),
                source,
            })?;
        }
        Ok(self.manifest.distributions(bytes, [places.len(), time], &self.vocabulary))
    }

    /// The teacher's logits from its hidden states, `[positions, vocab]`.
    ///
    /// # Panics
    /// If the cache has no hidden states.
    pub(crate) fn logits(&self, hidden: &HiddenData) -> Tensor<2> {
        self.head.as_ref().expect("a cache of hidden states has a head").logits(hidden)
    }

    /// Checks that the log-probs are those of this temperature, without these tokens. Hidden states serve for all.
    ///
    /// # Errors
    /// [`DistillError::CacheSettings`].
    pub(crate) fn check_settings(&self, temperature: f64, excluded: &[u32]) -> Result<(), DistillError> {
        let CacheManifest { content, vocab_size, teacher_temperature, excluded: cached, .. } = &self.manifest;
        if *content == CacheContent::HiddenStates {
            return Ok(());
        }
        let differs = |setting: &str, cached: String, asked: String| {
            Err(DistillError::CacheSettings { folder: self.folder.clone(), setting: setting.into(), cached, asked })
        };
        if *teacher_temperature != temperature {
            return differs("teacher_temperature", teacher_temperature.to_string(), temperature.to_string());
        }
        let excluded = within(excluded, *vocab_size);
        if *cached != excluded {
            return differs("the excluded tokens", format!("{cached:?}"), format!("{excluded:?}"));
        }
        Ok(())
    }
}

/// The tokens of a vocabulary among some ids, in rising order and without repetition.
pub(super) fn within(ids: &[u32], vocab_size: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = ids.iter().copied().filter(|&id| (id as usize) < vocab_size).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The place of each pair of the data.
fn places(
    folder: &Path,
    pairs: &dyn TokenPairs,
    found: &HashMap<PairDigest, Place>,
) -> Result<Vec<Place>, DistillError> {
    let mut places = Vec::with_capacity(pairs.count());
    let (mut missing, mut first) = (0, 0);
    for (index, digest) in pair_digests(pairs)?.iter().enumerate() {
        match found.get(digest) {
            Some(&place) => places.push(place),
            None => {
                first = if missing == 0 { index } else { first };
                missing += 1;
            }
        }
    }
    match missing {
        0 => Ok(places),
        _ => Err(DistillError::CacheData { folder: folder.into(), missing, pairs: pairs.count(), first }),
    }
}
