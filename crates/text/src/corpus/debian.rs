//! Debian's package descriptions and their translations, as apt keeps them.
//!
//! Volunteers translate what packages say of themselves; `apt-get update` fetches it. The English and the other text
//! share the MD5 of the English one, so that summaries pair up, and paragraphs too where both texts have as many.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Splits,
    stanza::{Description, Descriptions, read_sources},
};
use crate::{Example, TextError, files};

/// Knows every compression that apt may choose for its lists.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
const COMPRESSIONS: [&str; 6] = ["lz4", "xz", "gz", "bz2", "zst", "lzma"];

/// A source must be shorter than this, in characters.
const SOURCE_CHARS: usize = 400;
/// A translation must be shorter than this, in characters.
const TARGET_CHARS: usize = 600;
/// A text to summarise must be at least this long, in characters.
const DOCUMENT_LEAST: usize = 120;
/// A text to summarise is cut to this length, in characters.
const DOCUMENT_MOST: usize = 1200;

/// Where the lists are and which of them to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianLists {
    /// The folder of lists.
    pub folder: PathBuf,
    /// The release, such as "bookworm".
    pub suite: String,
    /// The architecture of the package list, which tells the source of each package.
    pub architecture: String,
}

impl Default for DebianLists {
    /// Where apt keeps them, for bookworm on amd64.
    fn default() -> Self {
        Self {
            folder: PathBuf::from("/var/lib/apt/lists"),
            suite: "bookworm".to_owned(),
            architecture: "amd64".to_owned(),
        }
    }
}

impl DebianLists {
    /// Reads the packages and the English descriptions.
    ///
    /// # Errors
    /// If a list is missing, cannot be read or cannot be unpacked.
    pub fn open(self) -> Result<DebianArchive, TextError> {
        let mut sources = HashMap::new();
        let packages = format!("_{}_main_binary-{}_Packages", self.suite, self.architecture);
        for path in self.find(&packages, "en")? {
            read_sources(&unpack(&path)?, &mut sources);
        }
        let english = self.descriptions("en")?;
        Ok(DebianArchive { lists: self, sources, english })
    }

    fn descriptions(&self, language: &str) -> Result<Descriptions, TextError> {
        let mut descriptions = Descriptions::default();
        let name = format!("_{}_main_i18n_Translation-{language}", self.suite);
        for path in self.find(&name, language)? {
            descriptions.read(&unpack(&path)?);
        }
        Ok(descriptions)
    }

    /// The lists of every mirror whose names end so, with or without a compression, in the order of their names.
    fn find(&self, wanted: &str, language: &str) -> Result<Vec<PathBuf>, TextError> {
        let read_error = |source| TextError::Read { path: self.folder.clone(), source };
        let mut found = Vec::new();
        for entry in self.folder.read_dir().map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let stem = match name.rsplit_once('.') {
                Some((stem, compression)) if COMPRESSIONS.contains(&compression) => stem,
                _ => name,
            };
            // Corrections that came later would make one release give several corpora.
            let later = name.contains("security") || name.contains("updates");
            if stem.ends_with(wanted) && !later {
                found.push(entry.path());
            }
        }
        if found.is_empty() {
            return Err(TextError::NoLists {
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
#[derive(Clone, Debug)]
pub struct DebianArchive {
    lists: DebianLists,
    sources: HashMap<String, String>,
    english: Descriptions,
}

impl DebianArchive {
    /// How many packages there are.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.sources.len()
    }

    /// How many English descriptions there are.
    #[must_use]
    pub fn descriptions(&self) -> usize {
        self.english.len()
    }

    /// Pairs of English and another language, by apt's code for it ("it", "de", "pt_BR").
    ///
    /// Summaries, and paragraphs where both texts have as many; no lists or tables, nothing that is the same in both,
    /// no source twice, sources under 400 characters and targets under 600. Sorted by source package, which also
    /// decides the part, so that the packages built from one source, whose texts are near-copies, stay together.
    ///
    /// # Errors
    /// If the list of that language is missing, cannot be read or cannot be unpacked.
    pub fn translations(&self, language: &str) -> Result<Splits, TextError> {
        let translated = self.lists.descriptions(language)?;
        let mut seen = HashSet::new();
        let mut pairs = Vec::new();
        for (md5, other) in translated.by_package() {
            let Some(english) = self.english.get(md5) else {
                continue;
            };
            for (source, target) in aligned(english, other) {
                let fits =
                    source != target && source.chars().count() < SOURCE_CHARS && target.chars().count() < TARGET_CHARS;
                if fits && seen.insert(source) {
                    pairs.push((self.source_package(other), source, target));
                }
            }
        }
        Ok(splits(pairs))
    }

    /// English long texts with their summaries.
    ///
    /// Paragraphs joined, without lists and tables, of 120 characters or more, cut to 1,200; no text twice. Sorted and
    /// cut into parts as [`DebianArchive::translations`].
    #[must_use]
    pub fn summaries(&self) -> Splits {
        let mut documents = HashMap::new();
        for (_, english) in self.english.by_package() {
            let paragraphs = english.paragraphs.iter().flatten().map(String::as_str);
            let text = paragraphs.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
            if text.chars().count() >= DOCUMENT_LEAST {
                documents.entry(text).or_insert((self.source_package(english), english.short.as_str()));
            }
        }
        let cut =
            documents.iter().map(|(text, (group, short))| (*group, first_chars(text, DOCUMENT_MOST), *short)).collect();
        splits(cut)
    }

    fn source_package<'a>(&'a self, description: &'a Description) -> &'a str {
        let package = description.package.as_str();
        self.sources.get(package).map_or(package, String::as_str)
    }
}

/// The texts of two descriptions that say the same.
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

/// Sorts (group, source, target) and cuts them into parts.
fn splits(mut pairs: Vec<(&str, &str, &str)>) -> Splits {
    pairs.sort_unstable();
    Splits::by_group(pairs.into_iter().map(|(group, source, target)| {
        let example = Example { source: source.to_owned(), target: target.to_owned() };
        (group, example)
    }))
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// The text of a list; bytes that are not UTF-8 become U+FFFD.
fn unpack(path: &Path) -> Result<String, TextError> {
    let compressed =
        path.extension().and_then(OsStr::to_str).is_some_and(|extension| COMPRESSIONS.contains(&extension));
    let bytes = if compressed { apt_cat(path)? } else { files::read(path)? };
    log::debug!("{}: {} bytes", path.display(), bytes.len());
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn apt_cat(path: &Path) -> Result<Vec<u8>, TextError> {
    let failed = |reason| TextError::Unpack { path: path.to_owned(), reason };
    let output = Command::new(APT_HELPER)
        .arg("cat-file")
        .arg(path)
        .output()
        .map_err(|error| failed(format!("{APT_HELPER} does not run ({error})")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{APT_HELPER} failed ({}: {})", output.status, said.trim())));
    }
    Ok(output.stdout)
}
