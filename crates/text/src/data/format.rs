//! What a file is, by its content and its name.

use std::path::Path;

use super::json_list::{JsonList, Place};
use super::layout::Fields;
use super::table;

/// The formats of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object per line.
    Lines,
    /// One JSON list of objects.
    List(Place),
    /// Rows of fields, with the names of the fields in the first row.
    Table { delimiter: u8, quotes: bool },
}

const CSV: Format = Format::Table { delimiter: b',', quotes: true };
const TSV: Format = Format::Table { delimiter: b'\t', quotes: false };

impl Format {
    /// Recognises a format by the first bytes of a file, and by its name without ".gz".
    ///
    /// JSON is known by its first character. A table is known by its name. Without one, it must have fields that are
    /// known, because any text could be a table.
    pub(super) fn of(head: &[u8], path: &Path, fields: &Fields) -> Self {
        let ending = ending(path);
        match (ending.as_str(), head.trim_ascii_start()) {
            ("csv", _) => Self::Table { delimiter: delimiter(head), quotes: true },
            ("tsv" | "tab", _) => TSV,
            (_, [b'[', ..]) => Self::List(Place::Whole),
            ("jsonl" | "ndjson", _) => Self::Lines,
            (_, [b'{', ..]) if JsonList::new(head, Place::Data).holds_objects() => Self::List(Place::Data),
            (_, [b'{', ..]) | ("json", _) => Self::Lines,
            _ => [CSV, TSV].into_iter().find(|format| format.has_header(head, fields)).unwrap_or(Self::Lines),
        }
    }

    fn has_header(self, head: &[u8], fields: &Fields) -> bool {
        let Self::Table { delimiter, quotes } = self else { return false };
        table::header(head, delimiter, quotes).is_some_and(|header| fields.fit(&header))
    }
}

/// The last ending of a file's name in lower case, before ".gz".
fn ending(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".gzip")).unwrap_or(&name);
    name.rsplit_once('.').map(|(_, ending)| ending.to_owned()).unwrap_or_default()
}

/// The delimiter of a file that is named CSV. Spreadsheets write semicolons in countries with decimal commas.
fn delimiter(head: &[u8]) -> u8 {
    let header = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    [b',', b';', b'\t'].into_iter().find(|delimiter| header.contains(delimiter)).unwrap_or(b',')
}
