//! Where the examples of a tokenised data set and their token ids are kept.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wheels_text::Example;

use super::TokenPair;
use crate::DistillError;

/// An example and its token ids.
type Record<'a> = (Cow<'a, Example>, Cow<'a, TokenPair>);

/// A list of examples and their token ids.
#[derive(Debug)]
pub(super) enum Store<'a> {
    Memory(Vec<(&'a Example, TokenPair)>),
    Disk(DiskStore),
}

impl<'a> Store<'a> {
    /// Record `index`, with what was borrowed in memory and read from disk.
    pub(super) fn record(&self, index: usize) -> Result<Record<'_>, DistillError> {
        match self {
            Self::Memory(records) => {
                let (example, pair) = &records[index];
                Ok((Cow::Borrowed(*example), Cow::Borrowed(pair)))
            }
            Self::Disk(store) => {
                let (example, pair) = store.read(index).map_err(|error| store.failed("read", error))?;
                Ok((Cow::Owned(example), Cow::Owned(pair)))
            }
        }
    }
}

/// Records in a temporary file, one JSON value after the other. The file has no name and vanishes with the process.
#[derive(Debug)]
pub(super) struct DiskStore {
    /// The folder of the file.
    folder: PathBuf,
    file: Mutex<BufWriter<File>>,
    /// The position after each record, bytes.
    ends: Vec<u64>,
}

impl DiskStore {
    /// An empty store in a folder, which is created if it does not exist.
    pub(super) fn create(folder: &Path) -> Result<Self, DistillError> {
        let file = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
        let failed = |source| DistillError::Io { action: "write to", path: folder.to_owned(), source };
        let file = Mutex::new(BufWriter::new(file.map_err(failed)?));
        Ok(Self { folder: folder.to_owned(), file, ends: vec![] })
    }

    pub(super) fn push(&mut self, example: &Example, pair: &TokenPair) -> Result<(), DistillError> {
        let bytes = serde_json::to_vec(&(example, pair)).expect("texts and ids are JSON");
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes).map_err(|error| self.failed("write to", error))?;
        self.ends.push(self.ends.last().copied().unwrap_or(0) + bytes.len() as u64);
        Ok(())
    }

    /// Writes what is still in the buffer.
    pub(super) fn finish(self) -> Result<Self, DistillError> {
        let flushed = self.file.lock().unwrap_or_else(PoisonError::into_inner).flush();
        flushed.map_err(|error| self.failed("write to", error))?;
        Ok(self)
    }

    fn read(&self, index: usize) -> io::Result<(Example, TokenPair)> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let mut bytes = vec![0; (self.ends[index] - start) as usize];
        {
            let mut writer = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let file = writer.get_mut();
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut bytes)?;
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> DistillError {
        DistillError::Io { action, path: self.folder.clone(), source }
    }
}
