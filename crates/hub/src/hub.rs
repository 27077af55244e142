//! Fetches the files of a model.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::cache::ModelCache;
use crate::client::Client;
use crate::needed::{self, ADAPTER, INDEX, WEIGHTS};
use crate::part::Part;
use crate::patience::Patience;
use crate::repository::{Listing, RemoteFile, Repository};
use crate::{HubConfig, HubError, HubModel, Progress};

/// The size of the blocks in which a download is read, bytes.
const BLOCK: usize = 1 << 18;

/// The Hugging Face hub, and the cache for what was fetched from it.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    client: Client,
}

/// A model while its files are fetched.
struct Fetch<'a> {
    repository: Repository<'a>,
    cache: ModelCache,
    commit: String,
    retries: u32,
    progress: &'a mut dyn FnMut(&Progress<'_>),
}

impl Hub {
    /// A hub with these settings. No request is sent yet.
    ///
    /// # Errors
    /// [`HubError::Endpoint`] or [`HubError::Token`] if one of them is invalid.
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let client = Client::new(&config)?;
        Ok(Self { config, client })
    }

    /// Fetches the files of a model that the cache does not have, and returns the folder with all of them.
    ///
    /// # Errors
    /// [`HubError`] if there is no such model or no access to it, if it has no safetensors, if a download fails, or if a
    /// file cannot be written.
    pub fn fetch(&self, model: &HubModel, mut progress: impl FnMut(&Progress<'_>)) -> Result<PathBuf, HubError> {
        let cache = ModelCache::new(&self.config.cache, model);
        if self.config.offline {
            return self.cached(&cache, model);
        }
        let repository = Repository { client: &self.client, model };
        let Listing { commit, files } = match repository.listing() {
            Err(error) if error.is_temporary() => {
                let Ok(folder) = self.cached(&cache, model) else { return Err(error) };
                let (cause, shown) = (error.cause(), folder.display());
                log::warn!("no news of {model} ({cause}): using the snapshot in {shown}, which may be old");
                return Ok(folder);
            }
            listing => listing?,
        };
        let folder = cache.snapshot(&commit);
        let retries = self.config.retries;
        let mut fetch = Fetch { repository, cache, commit, retries, progress: &mut progress };
        fetch.all(&files.iter().map(String::as_str).collect::<Vec<_>>())?;
        // The revision names this commit only now, so that an earlier snapshot is used if a download breaks.
        fetch.cache.set_commit(model.revision(), &fetch.commit)?;
        Ok(folder)
    }

    /// The snapshot in the cache.
    fn cached(&self, cache: &ModelCache, model: &HubModel) -> Result<PathBuf, HubError> {
        let snapshot = cache.commit(model.revision()).map(|commit| cache.snapshot(&commit));
        let missing = match &snapshot {
            Some(folder) => needed::first_missing(folder)?,
            None => Some(needed::CONFIG.into()),
        };
        match (snapshot, missing) {
            (Some(folder), None) => Ok(folder),
            (_, file) => Err(HubError::Offline {
                model: model.clone(),
                file: file.unwrap_or_default(),
                cache: self.config.cache.clone(),
            }),
        }
    }
}

impl Fetch<'_> {
    /// Fetches what is needed of these files.
    fn all(&mut self, files: &[&str]) -> Result<(), HubError> {
        let has = |file: &str| files.contains(&file);
        let model = self.repository.model;
        let is_adapter = needed::is_adapter(has);
        if is_adapter && !has(ADAPTER[1]) {
            return Err(HubError::NoFile { model: model.clone(), file: ADAPTER[1].to_owned() });
        }
        if !has(WEIGHTS) && !has(INDEX) && !is_adapter {
            return Err(match needed::pytorch_weights(has) {
                Some(file) => HubError::NoSafetensors {
                    model: model.clone(),
                    file: file.to_owned(),
                    endpoint: self.repository.client.endpoint().to_owned(),
                },
                None => HubError::NoFile { model: model.clone(), file: WEIGHTS.to_owned() },
            });
        }
        for file in needed::small_files(has) {
            if !has(file) {
                return Err(HubError::NoFile { model: model.clone(), file: file.to_owned() });
            }
            self.file(file)?;
        }
        if is_adapter {
            return self.file(ADAPTER[1]);
        }
        if has(WEIGHTS) {
            return self.file(WEIGHTS);
        }
        self.file(INDEX)?;
        let shards = needed::shards(&self.cache.snapshot(&self.commit).join(INDEX))?;
        if let Some(missing) = shards.iter().find(|shard| !has(shard)) {
            return Err(HubError::NoFile { model: model.clone(), file: missing.clone() });
        }
        for shard in &shards {
            self.file(shard)?;
        }
        Ok(())
    }

    /// Puts a file into the snapshot if it is not there.
    fn file(&mut self, name: &str) -> Result<(), HubError> {
        if self.cache.snapshot(&self.commit).join(name).exists() {
            return Ok(());
        }
        let mut patience = Patience::new(self.retries);
        let file = loop {
            match self.repository.remote_file(&self.commit, name) {
                Ok(file) => break file,
                Err(error) => patience.wait(error, name)?,
            }
        };
        let blob = self.cache.blob(&file.etag);
        let _lock = self.cache.lock(&file.etag, name)?;
        if !is_complete(&blob, file.size) {
            self.download(&file, &blob)?;
        }
        self.cache.link(&self.commit, name, &file.etag)
    }

    /// Downloads a file, and continues a download that breaks.
    fn download(&mut self, file: &RemoteFile, blob: &Path) -> Result<(), HubError> {
        let mut part = self.cache.part(&file.etag)?;
        let mut is_continued = part.len() > 0;
        log::info!("downloading {} of {} to {}", file.name, self.repository.model, blob.display());
        let mut patience = Patience::new(self.retries);
        let mut longest = part.len();
        loop {
            match self.transfer(file, &mut part) {
                Ok(()) => {}
                Err(error @ HubError::Size { .. }) => {
                    part.delete()?;
                    return Err(error);
                }
                Err(error) => {
                    // A server that ignores ranges sends the same bytes again, and they are no progress.
                    if part.len() > longest {
                        longest = part.len();
                        patience = Patience::new(self.retries);
                    }
                    patience.wait(error, &file.name)?;
                    continue;
                }
            }
            let actual = part.sha256();
            match file.sha256() {
                Some(expected) if !expected.eq_ignore_ascii_case(&actual) => {
                    // What another program has left can have holes.
                    if is_continued {
                        log::warn!("the part of {} that was on the disk is damaged: downloading all of it", file.name);
                        part.clear()?;
                        is_continued = false;
                        continue;
                    }
                    part.delete()?;
                    return Err(HubError::Hash { file: file.name.clone(), expected: expected.to_owned(), actual });
                }
                _ => return part.finish(blob),
            }
        }
    }

    /// Appends what the server sends until the file is complete or the connection breaks.
    fn transfer(&mut self, file: &RemoteFile, part: &mut Part) -> Result<(), HubError> {
        if file.size.is_some_and(|size| part.len() > size) {
            part.clear()?;
        }
        if file.size == Some(part.len()) {
            return Ok(());
        }
        let mut content = self.repository.content(&self.commit, &file.name, part.len())?;
        if content.start != part.len() {
            part.clear()?;
        }
        if content.start != part.len() {
            let server = self.repository.client.endpoint().to_owned();
            let reason = format!("it sends the file from byte {} on", content.start);
            return Err(HubError::Reply { server, file: file.name.clone(), reason });
        }
        let size = file.size.or(content.size);
        if let (Some(expected), Some(actual)) = (size, content.size.filter(|actual| Some(*actual) != size)) {
            return Err(HubError::Size { file: file.name.clone(), expected, actual });
        }
        let interrupted = |done: u64, source| HubError::Interrupted { file: file.name.clone(), done, size, source };
        let mut block = vec![0; BLOCK];
        loop {
            (self.progress)(&Progress { file: &file.name, done: part.len(), total: size });
            let count = match content.reader.read(&mut block) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(interrupted(part.len(), error)),
            };
            let received = part.len() + count as u64;
            match size {
                Some(expected) if received > expected => {
                    return Err(HubError::Size { file: file.name.clone(), expected, actual: received });
                }
                Some(expected) if count == 0 && received < expected => {
                    return Err(interrupted(part.len(), io::ErrorKind::UnexpectedEof.into()));
                }
                _ if count == 0 => return Ok(()),
                _ => part.append(&block[..count])?,
            }
        }
    }
}

/// Whether a blob is there and has its size.
fn is_complete(blob: &Path, size: Option<u64>) -> bool {
    let Ok(metadata) = fs::metadata(blob) else { return false };
    let is_complete = size.is_none_or(|size| size == metadata.len());
    if !is_complete {
        log::warn!("{} has {} bytes and not {size:?}: downloading it again", blob.display(), metadata.len());
    }
    is_complete
}
