//! Reads files, and writes them atomically.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process;

use crate::TextError;

/// Writes a file so that a reader sees either the old content or the new content, even after a crash.
///
/// Creates the folder if it does not exist.
///
/// # Errors
/// [`TextError::Write`] if the file cannot be written. The old content is then unchanged.
pub fn write_atomically(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<(), TextError> {
    let path = path.as_ref();
    // The temporary file is in the same folder, because only a rename within one file system is atomic.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", process::id()));
    let temporary = Path::new(&temporary);
    replace(path, temporary, content.as_ref()).map_err(|source| {
        // A second error is ignored: the temporary file may not exist, and the first error says what went wrong.
        let _ = fs::remove_file(temporary);
        TextError::Write { path: path.to_owned(), source }
    })
}

/// Writes the temporary file and renames it to `path`.
fn replace(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(temporary)?;
    file.write_all(content)?;
    // Without this, a crash after the rename could leave an empty file.
    file.sync_all()?;
    fs::rename(temporary, path)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn writing_replaces_the_file_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/file.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn writing_into_a_file_as_if_it_were_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let message = write_atomically(file.join("tokenizer.json"), b"").unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("tokenizer.json"), "{message}");
    }
}
