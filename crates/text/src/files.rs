//! Files that are whole or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process,
};

use crate::TextError;

/// Writes a file so that a reader, or a crash, sees the old content or the new and nothing between.
///
/// The folder is made if it is missing.
///
/// # Errors
/// [`TextError::Write`]; the old content is then still there.
pub fn write_atomically(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<(), TextError> {
    let path = path.as_ref();
    // In the same folder, so that the rename stays on one file system.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", process::id()));
    let temporary = Path::new(&temporary);
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(temporary)?;
        file.write_all(content.as_ref())?;
        file.sync_all()?;
        fs::rename(temporary, path)
    };
    write().map_err(|source| {
        // What was written is of no use; that it may not exist either is no second error.
        let _ = fs::remove_file(temporary);
        TextError::Write { path: path.to_owned(), source }
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/file.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_a_file_cannot_be_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let message = write_atomically(file.join("tokenizer.json"), b"").unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("tokenizer.json"), "{message}");
    }
}
