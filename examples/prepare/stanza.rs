//! Parser for apt's package lists and lists of descriptions, which consist of stanzas: paragraphs of `Field: value`.

use std::collections::HashMap;

/// The description of a package in one language.
#[derive(Debug)]
pub(crate) struct Description {
    /// The name of the package.
    pub(crate) package: String,
    /// The short description, one line.
    pub(crate) short: String,
    /// The paragraphs of the long description. `None` stands for a list or a table, whose lines must not be joined.
    pub(crate) paragraphs: Vec<Option<String>>,
}

/// Descriptions by the MD5 of their English texts, in the order in which each MD5 first occurs.
#[derive(Debug, Default)]
pub(crate) struct Descriptions {
    entries: Vec<Description>,
    by_md5: HashMap<String, usize>,
}

impl Descriptions {
    pub(crate) fn get(&self, md5: &str) -> Option<&Description> {
        self.by_md5.get(md5).map(|at| &self.entries[*at])
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All descriptions with their MD5s, sorted by package. Those of one package keep their order.
    pub(crate) fn by_package(&self) -> Vec<(&str, &Description)> {
        let mut sorted: Vec<_> = self.by_md5.iter().map(|(md5, at)| (*at, md5.as_str(), &self.entries[*at])).collect();
        sorted.sort_by(|(a, _, left), (b, _, right)| left.package.cmp(&right.package).then(a.cmp(b)));
        sorted.into_iter().map(|(_, md5, entry)| (md5, entry)).collect()
    }

    /// Reads the stanzas of a list of descriptions. A later description with the same MD5 replaces an earlier one.
    pub(crate) fn read(&mut self, list: &str) {
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

/// Reads the source package of each package from a package list.
///
/// A package without a source package in its stanza has a source package of the same name.
pub(crate) fn read_sources(list: &str, sources: &mut HashMap<String, String>) {
    for stanza in list.split("\n\n") {
        let (mut package, mut source) = ("", "");
        for line in stanza.split('\n') {
            if let Some(value) = line.strip_prefix("Package: ") {
                package = strip(value);
            } else if let Some(value) = line.strip_prefix("Source: ") {
                // A version in brackets may follow the name.
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

/// Takes the lines of a paragraph and joins them. `None` if there are no lines, and `Some(None)` if a line belongs to a
/// list or a table.
fn paragraph(lines: &mut Vec<Option<&str>>) -> Option<Option<String>> {
    if lines.is_empty() {
        return None;
    }
    let text: Option<Vec<&str>> = lines.drain(..).collect();
    Some(text.map(|lines| join(&lines.join(" "))))
}

/// Whether Python's `str.split` and `str.strip` treat a character as whitespace: Unicode's, and ASCII's separators.
///
/// A Python script made the first corpora, and the tests require the same bytes.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The words of a text with one space between them.
fn join(text: &str) -> String {
    words(text).collect::<Vec<_>>().join(" ")
}
