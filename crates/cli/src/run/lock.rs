//! One run at a time in a folder.

use std::error::Error;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The lock file of a folder.
const FILE: &str = ".lock";

/// Keeps other runs out of a folder until it is dropped. The system releases it too if the program is killed.
#[derive(Debug)]
pub(crate) struct FolderLock {
    folder: PathBuf,
    _file: File,
}

impl FolderLock {
    /// Locks a folder, which is created if it is missing.
    ///
    /// # Errors
    /// If another run uses the folder, or it cannot be written.
    pub(crate) fn new(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let path = folder.join(FILE);
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let folder = folder.display();
                return Err(
                    format!("another run is writing into {folder}: wait for its end, or give another --out").into()
                );
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) => log::warn!("{} cannot be locked: {error}", folder.display()),
        }
        Ok(Self { folder: folder.into(), _file: file })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Nothing is lost if one of the two stays. A folder with files does.
        let _ = fs::remove_file(self.folder.join(FILE));
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_folder_has_one_run_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("out");
        let first = FolderLock::new(&folder).unwrap();
        let error = FolderLock::new(&folder).unwrap_err().to_string();
        assert!(error.contains("another run is writing into"), "{error}");
        fs::write(folder.join("model"), "").unwrap();
        drop(first);
        drop(FolderLock::new(&folder).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "only the model is left");
    }

    #[test]
    fn a_folder_without_a_run_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("out");
        drop(FolderLock::new(&folder).unwrap());
        assert!(!folder.exists());
        fs::write(&folder, "").unwrap();
        assert!(FolderLock::new(&folder).unwrap_err().to_string().contains("cannot be written"));
    }
}
