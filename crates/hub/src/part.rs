//! A file that is not complete yet.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::HubError;

/// The size of the blocks in which a file is read, bytes.
const BLOCK: usize = 1 << 18;

/// The beginning of a file, on the disk, to which the rest is appended.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    hash: Sha256,
}

impl Part {
    /// Opens the part that an earlier call left, or an empty one.
    pub(crate) fn open(path: PathBuf) -> Result<Self, HubError> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).append(true).create(true).open(&path);
        let file = opened.map_err(|source| HubError::write(&path, source))?;
        let mut part = Self { path, file, len: 0, hash: Sha256::new() };
        part.read_again()?;
        Ok(part)
    }

    /// The bytes that are on the disk.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(|source| HubError::write(&self.path, source))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what was written.
    pub(crate) fn clear(&mut self) -> Result<(), HubError> {
        if self.len > 0 {
            self.file.set_len(0).map_err(|source| HubError::write(&self.path, source))?;
            self.len = 0;
            self.hash = Sha256::new();
        }
        Ok(())
    }

    /// Deletes the file.
    pub(crate) fn delete(self) -> Result<(), HubError> {
        drop(self.file);
        fs::remove_file(&self.path).map_err(|source| HubError::write(&self.path, source))
    }

    /// The SHA-256 of what was written, in hexadecimal digits.
    pub(crate) fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Gives the file its name.
    pub(crate) fn finish(self, path: &Path) -> Result<(), HubError> {
        // Without this, a crash after the rename could leave an empty file.
        self.file.sync_all().map_err(|source| HubError::write(&self.path, source))?;
        // Windows does not rename an open file.
        drop(self.file);
        fs::rename(&self.path, path).map_err(|source| HubError::write(path, source))
    }

    /// Hashes what is on the disk.
    fn read_again(&mut self) -> Result<(), HubError> {
        let unreadable = |source| HubError::Read { path: self.path.clone(), source };
        let mut rest = self.file.metadata().map_err(unreadable)?.len();
        let mut block = vec![0; BLOCK];
        while rest > 0 {
            let bytes = &mut block[..BLOCK.min(usize::try_from(rest).unwrap_or(BLOCK))];
            self.file.read_exact(bytes).map_err(unreadable)?;
            self.hash.update(&*bytes);
            self.len += bytes.len() as u64;
            rest -= bytes.len() as u64;
        }
        Ok(())
    }
}
