//! The two kinds of list that are read: which source a package is built from, and what it says of itself.

use std::collections::HashMap;

/// What a package says of itself in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) package: String,
    /// The summary in one line.
    pub(super) short: String,
    /// The paragraphs of the long text; `None` is a list or a table, whose lines are kept as they are.
    pub(super) paragraphs: Vec<Option<String>>,
}

/// Descriptions by the MD5 of the English one, in the order of their first mention.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptions {
    entries: Vec<Description>,
    by_md5: HashMap<String, usize>,
}

impl Descriptions {
    pub(super) fn get(&self, md5: &str) -> Option<&Description> {
        self.by_md5.get(md5).map(|at| &self.entries[*at])
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them sorted by package; those of one package stay in the order of their first mention.
    pub(super) fn by_package(&self) -> Vec<(&str, &Description)> {
        let mut sorted: Vec<_> = self.by_md5.iter().map(|(md5, at)| (*at, md5.as_str(), &self.entries[*at])).collect();
        sorted.sort_by(|(a, _, left), (b, _, right)| left.package.cmp(&right.package).then(a.cmp(b)));
        sorted.into_iter().map(|(_, md5, entry)| (md5, entry)).collect()
    }

    /// Reads the stanzas of a translation list; a later description of the same MD5 takes the place of an earlier.
    pub(super) fn read(&mut self, list: &str) {
        for stanza in list.split("\n\n") {
            let Some((md5, description)) = description(stanza) else {
                continue;
            };
            if let Some(at) = self.by_md5.get(&md5) {
                self.entries[*at] = description;
            } else {
                self.by_md5.insert(md5, self.entries.len());
                self.entries.push(description);
            }
        }
    }
}

/// Reads the stanzas of a package list: the source of each package, which is named only where it differs.
pub(super) fn read_sources(list: &str, sources: &mut HashMap<String, String>) {
    for stanza in list.split("\n\n") {
        let (mut package, mut source) = ("", "");
        for line in stanza.split('\n') {
            if let Some(value) = line.strip_prefix("Package: ") {
                package = strip(value);
            } else if let Some(value) = line.strip_prefix("Source: ") {
                // A version in brackets may follow.
                source = strip(value.split(' ').next().unwrap_or_default());
            }
        }
        if !package.is_empty() {
            let source = if source.is_empty() { package } else { source };
            sources.insert(package.to_owned(), source.to_owned());
        }
    }
}

fn description(stanza: &str) -> Option<(String, Description)> {
    let (mut package, mut md5, mut short) = (None, None, None);
    let mut paragraphs = Vec::new();
    let mut lines: Vec<Option<&str>> = Vec::new();
    for line in stanza.split('\n') {
        if let Some(value) = line.strip_prefix("Package: ") {
            package = Some(strip(value));
        } else if let Some(value) = line.strip_prefix("Description-md5:") {
            md5 = words(value).next();
        } else if line.starts_with("Description-") {
            short = line.split_once(':').map(|(_, value)| value);
        } else if line.starts_with(" .") {
            paragraphs.extend(paragraph(&mut lines));
        } else if line.starts_with("  ") {
            lines.push(None);
        } else if line.starts_with(' ') {
            lines.push(Some(line));
        }
    }
    paragraphs.extend(paragraph(&mut lines));
    let short = join(short?);
    (!short.is_empty()).then_some(())?;
    let description = Description { package: package?.to_owned(), short, paragraphs };
    Some((md5?.to_owned(), description))
}

/// Closes a paragraph: its text, or `None` inside if a line of it is to be kept as it is; nothing if it has no lines.
fn paragraph(lines: &mut Vec<Option<&str>>) -> Option<Option<String>> {
    if lines.is_empty() {
        return None;
    }
    let text: Option<Vec<&str>> = lines.drain(..).collect();
    Some(text.map(|lines| join(&lines.join(" "))))
}

/// White space as Python's `str.split` and `str.strip` know it, which made the first corpora: Unicode's, and the four
/// separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The words of a text with one space between.
fn join(text: &str) -> String {
    words(text).collect::<Vec<_>>().join(" ")
}
