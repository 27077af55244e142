//! Names of models.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::HubError;

/// The revision of a model if its name has none.
const DEFAULT_REVISION: &str = "main";

/// The longest owner and the longest name on the hub, characters.
const LONGEST: usize = 96;

/// What a program takes as a model: a folder, or the name of a model on the hub.
///
/// ```
/// use wheels_hub::ModelName;
///
/// let ModelName::Hub(model) = "google-t5/t5-small@refs/pr/9".parse()? else { panic!("there is no such folder") };
/// assert_eq!((model.id(), model.revision()), ("google-t5/t5-small", "refs/pr/9"));
///
/// assert_eq!("src".parse::<ModelName>()?, ModelName::Folder("src".into()));
/// assert!("no/such/folder".parse::<ModelName>().is_err());
/// # Ok::<(), wheels_hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// A folder that exists.
    Folder(PathBuf),
    /// A model on the hub.
    Hub(HubModel),
}

/// The name of a model on the hub, with a revision: a branch, a tag, a pull request such as `refs/pr/1`, or a commit.
///
/// It is written as `owner/name` or `owner/name@revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    id: String,
    revision: Option<String>,
}

impl ModelName {
    /// Reads a name. If there is a folder of this name, it is the folder.
    ///
    /// # Errors
    /// [`HubError::Name`] if it is neither a folder nor a valid name of a model, and [`HubError::NotAFolder`] if it is a
    /// file.
    pub fn new(name: impl AsRef<Path>) -> Result<Self, HubError> {
        let path = name.as_ref();
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        if path.exists() {
            return Err(HubError::NotAFolder { path: path.to_owned() });
        }
        // A path that is not Unicode is shown with replacement characters, which no model's name has.
        path.to_string_lossy().parse().map(Self::Hub)
    }
}

impl FromStr for ModelName {
    type Err = HubError;

    fn from_str(name: &str) -> Result<Self, HubError> {
        Self::new(name)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(formatter),
            Self::Hub(model) => model.fmt(formatter),
        }
    }
}

impl HubModel {
    /// `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The revision, or `main`.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }
}

impl FromStr for HubModel {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let id_is_valid = id.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
        if !id_is_valid || !revision.is_none_or(is_revision) {
            return Err(HubError::Name { name: text.to_owned() });
        }
        Ok(Self { id: id.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)?;
        match &self.revision {
            Some(revision) => write!(formatter, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// Whether the hub accepts the text as an owner or a name. `--` stands for `/` in the names of the cache's folders.
fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_outer = |byte: Option<&u8>| byte.is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let bytes = text.as_bytes();
    (1..=LONGEST).contains(&bytes.len())
        && bytes.iter().all(|&byte| is_inner(byte))
        && is_outer(bytes.first())
        && is_outer(bytes.last())
        && !text.contains("--")
        && !text.contains("..")
        && !text.ends_with(".git")
}

/// Whether the text can be the name of a git reference and, piece by piece, of files below `refs/` in the cache.
fn is_revision(text: &str) -> bool {
    let is_forbidden = |byte: u8| !byte.is_ascii_graphic() || br#"\:?*[~^"<>|"#.contains(&byte);
    !text.bytes().any(is_forbidden)
        && text.split('/').all(|piece| !piece.is_empty() && !piece.starts_with('.') && !piece.ends_with('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, id, revision) in [
            ("google/flan-t5-small", "google/flan-t5-small", "main"),
            ("Qwen/Qwen2.5-0.5B@v1.0", "Qwen/Qwen2.5-0.5B", "v1.0"),
            ("_a/b_@refs/pr/3", "_a/b_", "refs/pr/3"),
        ] {
            let model: HubModel = text.parse().unwrap();
            assert_eq!((model.id(), model.revision()), (id, revision));
            assert_eq!(model.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_an_error_that_shows_both_forms() {
        for text in [
            "",
            "t5-small",
            "a/b/c",
            "/a/b",
            "./a",
            "a/.b",
            "a/b.",
            "../b",
            "a/..",
            "a\\b",
            "C:/b",
            "a b/c",
            "a/b@",
            "a--b/c",
            "a/b@../../x",
            "a/b@/x",
            "a/b@x/./y",
            "a/b@x y",
            "a/b.git",
            "~/b",
            "https://huggingface.co/a/b",
            "\u{fffd}/b",
        ] {
            let message = text.parse::<HubModel>().unwrap_err().to_string();
            assert!(message.contains(&format!("{text:?}")) && message.contains("owner/name@revision"), "{message}");
        }
    }

    #[test]
    fn a_folder_wins_and_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ModelName::new(folder.path()).unwrap(), ModelName::Folder(folder.path().into()));
        let file = folder.path().join("model.safetensors");
        fs::write(&file, "").unwrap();
        let message = ModelName::new(&file).unwrap_err().to_string();
        assert!(message.contains("model.safetensors is a file"), "{message}");
    }
}
