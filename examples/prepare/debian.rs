//! Debian's package descriptions and their translations, from the lists that apt downloads.
//!
//! Volunteers translate the descriptions of Debian's packages, and `apt-get update` downloads the translations. A
//! description and its translation carry the MD5 of the English text, which pairs them. Paragraphs are paired if both
//! texts have the same number of them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use training_wheels::text::Example;

use crate::splits::Splits;
use crate::stanza::{Description, Descriptions, read_sources};

/// A program of apt that unpacks every compression that apt uses.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// The file extensions of compressed lists.
const COMPRESSIONS: [&str; 6] = ["lz4", "xz", "gz", "bz2", "zst", "lzma"];

/// The sources of translations have fewer characters than this.
const SOURCE_CHARS: usize = 400;
/// The targets of translations have fewer characters than this.
const TARGET_CHARS: usize = 600;
/// The smallest number of characters in a text to summarise.
const DOCUMENT_LEAST: usize = 120;
/// The largest number of characters in a text to summarise. Longer texts are cut.
const DOCUMENT_MOST: usize = 1200;

/// Which of apt's lists to read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DebianLists {
    /// The folder of apt's lists.
    #[arg(long = "lists", value_name = "DIR", default_value = "/var/lib/apt/lists")]
    pub(crate) folder: PathBuf,
    /// The Debian release whose lists are read.
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    pub(crate) suite: String,
    /// The architecture of the package list, which names the source package of each package.
    #[arg(long, value_name = "NAME", default_value = "amd64")]
    pub(crate) architecture: String,
}

impl DebianLists {
    /// Reads the packages and the English descriptions.
    ///
    /// # Errors
    /// If a list is missing, or cannot be read or unpacked.
    pub(crate) fn open(self) -> Result<DebianArchive, DebianError> {
        let mut sources = HashMap::new();
        let packages = format!("_{}_main_binary-{}_Packages", self.suite, self.architecture);
        for path in self.find(&packages, "en")? {
            read_sources(&unpack(&path)?, &mut sources);
        }
        let english = self.descriptions("en")?;
        Ok(DebianArchive { lists: self, sources, english })
    }

    fn descriptions(&self, language: &str) -> Result<Descriptions, DebianError> {
        let mut descriptions = Descriptions::default();
        let name = format!("_{}_main_i18n_Translation-{language}", self.suite);
        for path in self.find(&name, language)? {
            descriptions.read(&unpack(&path)?);
        }
        Ok(descriptions)
    }

    /// The lists of all mirrors whose names end in `wanted` and perhaps the extension of a compression, sorted by name.
    fn find(&self, wanted: &str, language: &str) -> Result<Vec<PathBuf>, DebianError> {
        let read_error = |source| DebianError::Read { path: self.folder.clone(), source };
        let mut found = Vec::new();
        for entry in self.folder.read_dir().map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let stem = match name.rsplit_once('.') {
                Some((stem, compression)) if COMPRESSIONS.contains(&compression) => stem,
                _ => name,
            };
            // These lists change after the release, and a corpus must not change with them.
            let changes = name.contains("security") || name.contains("updates");
            if stem.ends_with(wanted) && !changes {
                found.push(entry.path());
            }
        }
        if found.is_empty() {
            return Err(DebianError::NoLists {
                folder: self.folder.clone(),
                wanted: wanted.to_owned(),
                language: language.to_owned(),
            });
        }
        found.sort();
        Ok(found)
    }
}

/// The packages of a release with their English descriptions.
#[derive(Debug)]
pub(crate) struct DebianArchive {
    lists: DebianLists,
    sources: HashMap<String, String>,
    english: Descriptions,
}

impl DebianArchive {
    /// The number of packages.
    pub(crate) fn packages(&self) -> usize {
        self.sources.len()
    }

    /// The number of English descriptions.
    pub(crate) fn descriptions(&self) -> usize {
        self.english.len()
    }

    /// English texts with their translations into a language, which is apt's code for it ("it", "de", "pt_BR").
    ///
    /// The pairs are the short descriptions, and the paragraphs if both texts have the same number of them. Lists,
    /// tables, repeated sources and pairs of equal texts are left out. Sources have fewer than 400 characters and
    /// targets fewer than 600. The pairs are sorted by source package. The source package also decides the split,
    /// because packages that are built from one source package have similar texts.
    ///
    /// # Errors
    /// If the list of that language is missing, or cannot be read or unpacked.
    pub(crate) fn translations(&self, language: &str) -> Result<Splits, DebianError> {
        let translated = self.lists.descriptions(language)?;
        let mut seen = HashSet::new();
        let mut pairs = Vec::new();
        for (md5, other) in translated.by_package() {
            let Some(english) = self.english.get(md5) else {
                continue;
            };
            for (source, target) in aligned(english, other) {
                let short = source.chars().count() < SOURCE_CHARS && target.chars().count() < TARGET_CHARS;
                if source != target && short && seen.insert(source) {
                    pairs.push((self.source_package(other), source, target));
                }
            }
        }
        Ok(splits(pairs))
    }

    /// English long descriptions with the short descriptions as their summaries.
    ///
    /// The paragraphs of a description are joined. Lists, tables and repeated texts are left out. Texts have at least
    /// 120 characters and are cut to 1,200. The examples are sorted and split as in [`DebianArchive::translations`].
    pub(crate) fn summaries(&self) -> Splits {
        let mut documents = HashMap::new();
        for (_, english) in self.english.by_package() {
            let paragraphs = english.paragraphs.iter().flatten().map(String::as_str);
            let text = paragraphs.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
            if text.chars().count() >= DOCUMENT_LEAST {
                documents.entry(text).or_insert((self.source_package(english), english.short.as_str()));
            }
        }
        let mut pairs = Vec::new();
        for (text, (group, short)) in &documents {
            pairs.push((*group, first_chars(text, DOCUMENT_MOST), *short));
        }
        splits(pairs)
    }

    fn source_package<'a>(&'a self, description: &'a Description) -> &'a str {
        let package = description.package.as_str();
        self.sources.get(package).map_or(package, String::as_str)
    }
}

/// Pairs the short texts and the paragraphs of a description and its translation.
fn aligned<'a>(english: &'a Description, other: &'a Description) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![(english.short.as_str(), other.short.as_str())];
    if english.paragraphs.len() == other.paragraphs.len() {
        for pair in english.paragraphs.iter().zip(&other.paragraphs) {
            if let (Some(source), Some(target)) = pair
                && !source.is_empty()
                && !target.is_empty()
            {
                pairs.push((source, target));
            }
        }
    }
    pairs
}

/// Sorts triples of group, source and target, and splits them into parts.
fn splits(mut pairs: Vec<(&str, &str, &str)>) -> Splits {
    pairs.sort_unstable();
    Splits::by_group(pairs.into_iter().map(|(group, source, target)| (group, Example::new(source, target))))
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// Reads a list, compressed or not. Bytes that are not UTF-8 become U+FFFD.
fn unpack(path: &Path) -> Result<String, DebianError> {
    let compressed =
        path.extension().and_then(OsStr::to_str).is_some_and(|extension| COMPRESSIONS.contains(&extension));
    let bytes = if compressed {
        apt_cat(path)?
    } else {
        fs::read(path).map_err(|source| DebianError::Read { path: path.to_owned(), source })?
    };
    log::debug!("{}: {} bytes", path.display(), bytes.len());
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn apt_cat(path: &Path) -> Result<Vec<u8>, DebianError> {
    let output = Command::new(APT_HELPER)
        .arg("cat-file")
        .arg(path)
        .output()
        .map_err(|source| DebianError::NoHelper { path: path.to_owned(), source })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(DebianError::Unpack { path: path.to_owned(), status: output.status, message });
    }
    Ok(output.stdout)
}

/// An error while reading apt's lists.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DebianError {
    /// A list, or the folder of the lists, cannot be read.
    #[error("cannot read {}; check the path and its permissions", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A list is missing.
    #[error(
        "there is no list *{wanted} in {}; run `apt-get update -o Acquire::Languages=en,{language}` as root on that \
         release, or name another folder or suite",
        folder.display()
    )]
    NoLists {
        /// The folder of the lists.
        folder: PathBuf,
        /// The end of the file's name.
        wanted: String,
        /// The language to download.
        language: String,
    },
    /// A list is compressed, and the program that unpacks it cannot be started.
    #[error(
        "{} is compressed and {} cannot be started; unpack it by hand to a file of the same name without its last \
         extension",
        path.display(),
        APT_HELPER
    )]
    NoHelper {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A compressed list cannot be unpacked.
    #[error(
        "{} cannot unpack {} ({status}: {message}); unpack it by hand to a file of the same name without its last \
         extension",
        APT_HELPER,
        path.display()
    )]
    Unpack {
        /// The file.
        path: PathBuf,
        /// The program's exit status.
        status: ExitStatus,
        /// The program's error message.
        message: String,
    },
}
