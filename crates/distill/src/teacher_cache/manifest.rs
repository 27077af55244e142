//! cache.json: what a cache has.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CacheContent;
use super::digest::sha256;
use crate::DistillError;
use crate::checkpoint::first_difference;

/// The version of the files.
pub(super) const FORMAT: u32 = 1;

const FILE: &str = "cache.json";

/// The content of cache.json: what a cache has, and its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CacheManifest {
    /// The version of the files.
    pub format: u32,
    /// What is kept of the teacher at each position.
    pub content: CacheContent,
    /// Whether numbers are kept in f16 instead of f32.
    pub half_precision: bool,
    /// The number of columns of the teacher's log-probs.
    pub vocab_size: usize,
    /// The width of the teacher's last hidden states.
    pub d_model: usize,
    /// The teacher's padding token.
    pub pad: u32,
    /// The tokens that end the teacher's texts.
    pub eos: Vec<u32>,
    /// The temperature of the log-probs.
    pub teacher_temperature: f64,
    /// The tokens of the teacher's vocabulary that are excluded from its distribution, in rising order.
    pub excluded: Vec<u32>,
    /// The SHA-256 of the teacher's weights ([`weights_digest`](crate::weights_digest)).
    pub teacher: String,
    /// The SHA-256 of the token ids of all pairs.
    pub data: String,
    /// The number of pairs.
    pub pairs: usize,
    /// The number of target tokens of all pairs.
    pub tokens: usize,
    /// The largest number of tokens that the teacher read together.
    pub batch_tokens: usize,
    /// The largest size of the numbers in a shard, bytes.
    pub shard_bytes: usize,
    /// The size of the numbers of one target token, bytes.
    pub bytes_per_token: usize,
    /// The teacher's output head. None without hidden states.
    pub head: Option<CacheFile>,
    /// The shards that are complete, in the order of the data.
    pub shards: Vec<CacheFile>,
}

/// A file of a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheFile {
    /// The name in the folder of the cache.
    pub name: String,
    /// The number of pairs in it; 0 for a head.
    pub pairs: usize,
    /// The number of target tokens in it; 0 for a head.
    pub tokens: usize,
    /// The size, bytes.
    pub bytes: usize,
    /// The SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
}

impl CacheManifest {
    /// What the cache in a folder has. Its other files are not read.
    ///
    /// # Errors
    /// [`DistillError::CacheFile`] if cache.json is missing, damaged or of another version, and
    /// [`DistillError::CacheUnfinished`] if the cache is not complete.
    pub fn of_folder(folder: impl AsRef<Path>) -> Result<Self, DistillError> {
        let folder = folder.as_ref();
        let Some(manifest) = Self::read(folder)? else {
            let reason = "there is no such file".to_owned();
            return Err(DistillError::CacheFile { path: folder.join(FILE), reason });
        };
        let written = manifest.shards.iter().map(|shard| shard.pairs).sum();
        let Self { pairs, .. } = manifest;
        if written != pairs {
            return Err(DistillError::CacheUnfinished { folder: folder.into(), written, pairs });
        }
        Ok(manifest)
    }

    /// The size of all files but cache.json, bytes.
    pub fn bytes(&self) -> usize {
        self.shards.iter().chain(&self.head).map(|file| file.bytes).sum()
    }

    /// Checks that the cache in `folder` was made by the teacher with these weights
    /// ([`weights_digest`](crate::weights_digest)).
    ///
    /// # Errors
    /// [`DistillError::CacheSettings`].
    pub fn check_teacher(&self, folder: &Path, digest: &str) -> Result<(), DistillError> {
        if self.teacher == digest {
            return Ok(());
        }
        let (setting, cached) = ("the teacher's weights".to_owned(), self.teacher.clone());
        Err(DistillError::CacheSettings { folder: folder.into(), setting, cached, asked: digest.into() })
    }

    /// The content of cache.json, also of an unfinished cache. None if there is no such file.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, DistillError> {
        let path = folder.join(FILE);
        let json = match fs::read_to_string(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DistillError::Io { action: "read", path, source }),
        };
        let invalid = |reason: String| DistillError::CacheFile { path: path.clone(), reason };
        let value: serde_json::Value = serde_json::from_str(&json).map_err(|error| invalid(error.to_string()))?;
        // The version is read first: another version may have other fields.
        match value["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            found => {
                let found = found.map_or("no version".to_owned(), |format| format!("version {format}"));
                return Err(invalid(format!("it has {found}, and this program reads version {FORMAT}")));
            }
        }
        serde_json::from_value(value).map(Some).map_err(|error| invalid(error.to_string()))
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), DistillError> {
        let json = serde_json::to_string_pretty(self).expect("numbers are JSON");
        write(&folder.join(FILE), (json + "\n").as_bytes())
    }

    /// Checks that an unfinished cache was begun with the settings of this one.
    ///
    /// # Errors
    /// [`DistillError::CacheSettings`] with the first setting that differs.
    pub(super) fn check_same(&self, earlier: &Self, folder: &Path) -> Result<(), DistillError> {
        match first_difference(earlier, self, &["shards", "head", "bytes_per_token"]) {
            None => Ok(()),
            Some([setting, cached, asked]) => {
                Err(DistillError::CacheSettings { folder: folder.into(), setting, cached, asked })
            }
        }
    }
}

impl CacheFile {
    /// The entry of a file with this content.
    pub(super) fn new(name: String, [pairs, tokens]: [usize; 2], content: &[u8]) -> Self {
        Self { name, pairs, tokens, bytes: content.len(), sha256: sha256(content) }
    }

    /// Reads the file and checks its size and checksum.
    ///
    /// # Errors
    /// [`DistillError::CacheFile`].
    pub(super) fn read(&self, folder: &Path) -> Result<Vec<u8>, DistillError> {
        let path = self.path(folder);
        let damaged = |reason: String| DistillError::CacheFile { path: path.clone(), reason };
        if Path::new(&self.name).file_name().is_none_or(|name| name != self.name.as_str()) {
            return Err(damaged("cache.json may only name files in its own folder".into()));
        }
        let content = fs::read(&path).map_err(|error| damaged(error.to_string()))?;
        if content.len() != self.bytes {
            return Err(damaged(format!("it has {} bytes and should have {}", content.len(), self.bytes)));
        }
        if sha256(&content) != self.sha256 {
            return Err(damaged("its checksum differs".into()));
        }
        Ok(content)
    }

    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }
}

/// Writes a file under another name and renames it. A partial file that an interrupted writer left has the same name, so
/// that it is replaced.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), DistillError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let replace = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = File::create(&partial)?;
        file.write_all(content)?;
        // Without this, a crash after the rename could leave an empty file.
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    replace().map_err(|source| DistillError::Io { action: "write", path: path.into(), source })
}
