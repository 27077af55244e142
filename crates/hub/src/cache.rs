//! The folders of Python's huggingface_hub.
//!
//! ```text
//! <cache>/models--owner--name/refs/main                       the commit of a revision
//! <cache>/models--owner--name/blobs/<etag>                    the content of a file
//! <cache>/models--owner--name/blobs/<etag>.incomplete         its beginning
//! <cache>/models--owner--name/snapshots/<commit>/config.json  a link to a blob
//! <cache>/.locks/models--owner--name/<etag>.lock              locked by the process that writes a blob
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::{process, thread};

use crate::part::Part;
use crate::{HubError, HubModel};

/// The part of the cache that belongs to one model.
#[derive(Debug)]
pub(crate) struct ModelCache {
    folder: PathBuf,
    locks: PathBuf,
}

/// The right to write one blob. It ends when the value is dropped, or with the process.
#[must_use]
pub(crate) struct BlobLock {
    _file: File,
}

impl ModelCache {
    pub(crate) fn new(cache: &Path, model: &HubModel) -> Self {
        let name = format!("models--{}", model.id().replace('/', "--"));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// The commit of a revision when it was fetched last, if the cache has its snapshot.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        let stored = fs::read_to_string(self.reference(revision)).ok();
        let commit = stored.as_deref().map_or(revision, str::trim);
        (is_plain(commit) && self.snapshot(commit).is_dir()).then(|| commit.to_owned())
    }

    /// Stores the commit of a revision.
    pub(crate) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.reference(revision);
        if revision == commit || fs::read_to_string(&path).is_ok_and(|stored| stored == commit) {
            return Ok(());
        }
        create_parent(&path)?;
        // Another process sees the old commit or the new one.
        let temporary = temporary(&path);
        fs::write(&temporary, commit).map_err(|source| HubError::write(&temporary, source))?;
        fs::rename(&temporary, &path).map_err(|source| HubError::write(&path, source))
    }

    /// The folder of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The file with a content.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The beginning of a content. Python's library continues it, too.
    pub(crate) fn part(&self, etag: &str) -> Result<Part, HubError> {
        let path = self.blob(&format!("{etag}.incomplete"));
        create_parent(&path)?;
        Part::open(path)
    }

    /// Waits until no other process writes the blob.
    pub(crate) fn lock(&self, etag: &str, file: &str) -> Result<BlobLock, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = opened.map_err(|source| HubError::write(&path, source))?;
        let locked = match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                log::info!("another process downloads {file}: waiting for it");
                lock.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        if let Err(error) = locked {
            // Some network disks have no locks. Two downloads of one file at once would be found by the size or the hash.
            log::warn!("cannot lock {} ({error}): do not download the same model twice at once", path.display());
        }
        Ok(BlobLock { _file: lock })
    }

    /// Puts a blob into the snapshot of a commit under the name of its file.
    ///
    /// It is a symbolic link, as Python makes it. If the disk or Windows does not allow one, it is a hard link, which
    /// takes no space either, or else a copy.
    pub(crate) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        create_parent(&path)?;
        if path.is_symlink() && !path.exists() {
            fs::remove_file(&path).map_err(|source| HubError::write(&path, source))?;
        }
        let blob = self.blob(etag);
        let relative = Path::new("../../blobs").join(etag);
        let linked = symlink(&relative, &path).or_else(|_| fs::hard_link(&blob, &path));
        match linked.or_else(|error| if path.exists() { Ok(()) } else { Err(error) }) {
            Ok(()) => Ok(()),
            Err(_) => copy(&blob, &path).map_err(|source| HubError::write(&path, source)),
        }
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }
}

/// Whether a text of a server can be the name of a file.
pub(crate) fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=200).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.')
}

fn create_parent(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| HubError::write(folder, source))
}

/// Copies a file so that another process sees all of it or nothing.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let temporary = temporary(to);
    fs::copy(from, &temporary)?;
    fs::rename(&temporary, to)
}

/// A file beside `path` that no other process or thread writes.
fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.{:?}.tmp", process::id(), thread::current().id()));
    temporary.into()
}

#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    // Windows follows a relative link only with its own separators.
    let target: PathBuf = target.components().collect();
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
