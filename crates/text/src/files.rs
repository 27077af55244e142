//! Reads the files of a model, from a folder or from memory, and writes files atomically.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use serde_json::{Map, Value};

use crate::TextError;

/// Where the files of a model are.
#[derive(Clone, Copy)]
pub(crate) enum ModelFiles<'a> {
    /// In a folder.
    Folder(&'a Path),
    /// In memory, each with its name. `origin` is the name of the folder in error messages.
    Memory { origin: &'a str, files: &'a [(&'a str, &'a [u8])] },
}

impl<'a> ModelFiles<'a> {
    /// The name of the folder.
    pub(crate) fn folder(&self) -> &'a Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Memory { origin, .. } => Path::new(*origin),
        }
    }

    /// The path of a file, for error messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_file(),
            Self::Memory { files, .. } => files.iter().any(|(file, _)| *file == name),
        }
    }

    /// The content of a file. `None` if there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Cow<'a, [u8]>>, TextError> {
        match self {
            Self::Folder(_) if !self.contains(name) => Ok(None),
            Self::Folder(folder) => Ok(Some(read(&folder.join(name))?.into())),
            Self::Memory { files, .. } => {
                Ok(files.iter().find(|(file, _)| *file == name).map(|(_, content)| Cow::Borrowed(*content)))
            }
        }
    }

    /// The content of a file with a JSON object. An empty object if there is no such file.
    pub(crate) fn object(&self, name: &str) -> Result<Map<String, Value>, TextError> {
        let Some(content) = self.read(name)? else {
            return Ok(Map::new());
        };
        serde_json::from_slice(&content).map_err(|source| TextError::Json { path: self.path(name), source })
    }
}

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

/// Removes a file if it exists.
pub(crate) fn remove(path: PathBuf) -> Result<(), TextError> {
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(TextError::Write { path, source }),
        _ => Ok(()),
    }
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
