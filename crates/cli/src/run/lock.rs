//! One run at a time in a folder.

use std::error::Error;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use wheels_distill::FolderContent;

use super::{check_out, remove_if_empty};

/// A lock that keeps other runs out of an output folder. It ends when the value is dropped or the process ends.
///
/// On Unix the folder itself is locked, so that no file is left. Other systems cannot lock a folder.
#[derive(Debug)]
pub(crate) struct FolderLock {
    /// None without a lock.
    _folder: Option<File>,
    /// The folder, if it did not exist.
    created: Option<PathBuf>,
}

impl FolderLock {
    /// Checks an output folder ([`check_out`]) and locks it. It is created if it is missing.
    ///
    /// # Errors
    /// If it has something else than `own`, if another run writes into it, or if it cannot be created.
    pub(crate) fn new(folder: &Path, own: FolderContent) -> Result<Self, Box<dyn Error>> {
        check_out(folder, own)?;
        let name = folder.display();
        let created = (!folder.exists()).then(|| folder.to_owned());
        let failed = |error| {
            format!("{name} cannot be created: {error}; check its permissions, or give another folder as --out")
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::open(folder).map_err(TryLockError::Error);
        let lock = lock.and_then(|folder| folder.try_lock().map(|()| folder));
        match lock {
            Ok(folder) => Ok(Self { _folder: Some(folder), created }),
            Err(TryLockError::WouldBlock) => {
                Err(format!("another run writes into {name}: wait for its end, or give another folder as --out").into())
            }
            Err(TryLockError::Error(error)) => {
                log::debug!("{name} cannot be locked against other runs: {error}");
                Ok(Self { _folder: None, created })
            }
        }
    }
}

impl Drop for FolderLock {
    /// Removes the folder again if nothing was written.
    fn drop(&mut self) {
        self.created.iter().for_each(|folder| remove_if_empty(folder));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn lock(folder: &Path) -> Result<FolderLock, Box<dyn Error>> {
        FolderLock::new(folder, FolderContent::Training)
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_has_one_run_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("out");
        let first = lock(&folder).unwrap();
        let error = lock(&folder).unwrap_err().to_string();
        assert!(error.contains("another run writes into"), "{error}");
        drop(first);
        lock(&folder).unwrap();
    }

    #[test]
    fn only_a_new_folder_without_files_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("out");
        drop(lock(&folder).unwrap());
        assert!(!folder.exists());
        let written = lock(&folder).unwrap();
        fs::write(folder.join("train.json"), "{}").unwrap();
        drop(written);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_file(folder.join("train.json")).unwrap();
        drop(lock(&folder).unwrap());
        assert!(folder.exists(), "it was there before");
    }

    #[test]
    fn a_file_is_no_output_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("out");
        fs::write(&file, "").unwrap();
        assert!(lock(&file).unwrap_err().to_string().contains("is a file"));
    }
}
