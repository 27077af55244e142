//! Tables: CSV, and TSV.

use std::io::{self, BufRead, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::{Map, Value};

use super::records::{Failure, Record};
use crate::LineProblem;

/// The rows of a table whose first row has the names of the fields.
///
/// In CSV, a field in quotes may have delimiters and line feeds. TSV has no such rule, and its texts often begin with a
/// quote that nothing closes. So each line of TSV is a row, and a field loses its quotes only if it was written by a
/// program that doubles the quotes inside.
pub(super) struct Table<R: Read> {
    csv: csv::Reader<Watched<R>>,
    quotes: bool,
    header: Vec<String>,
    /// Whether all fields of TSV are in quotes, those of the header too.
    all_quoted: bool,
    row: ByteRecord,
}

impl<R: BufRead> Table<R> {
    pub(super) fn new(reader: R, delimiter: u8, quotes: bool) -> Result<Self, Failure> {
        let watched = Watched { reader, ended: false, open_quote: false };
        let csv = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quotes)
            .has_headers(false)
            .flexible(true)
            // By default a lone carriage return ends a row, and then lines are counted wrongly.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(watched);
        let row = ByteRecord::new();
        let mut table = Self { csv, quotes, header: Vec::new(), all_quoted: false, row };
        table.read()?;
        table.all_quoted = !quotes && table.row.iter().all(|field| trim_return(field).starts_with(b"\""));
        table.header =
            (0..table.row.len()).map(|index| String::from_utf8_lossy(&table.field(index)).trim().to_owned()).collect();
        Ok(table)
    }

    fn read(&mut self) -> Result<bool, Failure> {
        self.csv.read_byte_record(&mut self.row).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => Failure::Read(error),
            // Rows of any length and any bytes are read, so that only the reader can fail.
            other => Failure::Read(io::Error::other(format!("{other:?}"))),
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        while self.read()? {
            if !self.row.iter().all(|field| field.trim_ascii().is_empty()) {
                return Ok(Some(Record { line: self.first_line(), object: self.object() }));
            }
        }
        Ok(None)
    }

    /// The number of the line on which the row begins.
    fn first_line(&self) -> usize {
        let after = usize::try_from(self.csv.position().line()).unwrap_or(usize::MAX);
        // Only the last row of a file can end without a line feed.
        let last = if self.csv.get_ref().ended { after } else { after.saturating_sub(1) };
        last.saturating_sub(self.line_feeds())
    }

    fn line_feeds(&self) -> usize {
        self.row.as_slice().iter().filter(|byte| **byte == b'\n').count()
    }

    /// A field without its quotes, and without the carriage return at the end of the line. If this belongs to the text,
    /// inside its quotes, it is lost: that is rarer than a file with both kinds of line ends.
    fn field(&self, index: usize) -> Vec<u8> {
        let field = &self.row[index];
        let field = if index + 1 == self.row.len() { trim_return(field) } else { field };
        if self.quotes { field.to_owned() } else { unquoted(field, self.all_quoted) }
    }

    fn object(&self) -> Result<Map<String, Value>, LineProblem> {
        let watched = self.csv.get_ref();
        if self.quotes && watched.ended && watched.open_quote && self.line_feeds() > 0 {
            return Err(LineProblem::OpenQuote);
        }
        if self.row.len() != self.header.len() {
            return Err(LineProblem::Columns { found: self.row.len(), header: self.header.len() });
        }
        let mut object = Map::new();
        let mut before = 0;
        for (index, name) in self.header.iter().enumerate() {
            let text = String::from_utf8(self.field(index))
                .map_err(|error| LineProblem::InvalidUtf8 { byte: before + error.utf8_error().valid_up_to() + 1 })?;
            before += self.row[index].len() + 1;
            object.insert(name.clone(), Value::String(text));
        }
        Ok(object)
    }
}

/// The names in the first row of a table. `None` without any.
pub(super) fn header(head: &[u8], delimiter: u8, quotes: bool) -> Option<Vec<String>> {
    let table = Table::new(head, delimiter, quotes).ok()?;
    (!table.header.is_empty()).then_some(table.header)
}

fn trim_return(field: &[u8]) -> &[u8] {
    field.strip_suffix(b"\r").unwrap_or(field)
}

/// A field of TSV without quotes around it: if all fields have them, or if it has doubled quotes and no others inside.
fn unquoted(field: &[u8], all_quoted: bool) -> Vec<u8> {
    let inside = field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\""));
    let Some(inside) = inside.and_then(|inside| std::str::from_utf8(inside).ok()) else { return field.to_owned() };
    let single = inside.replace("\"\"", "");
    if single.contains('"') || (single.len() == inside.len() && !all_quoted) {
        return field.to_owned();
    }
    inside.replace("\"\"", "\"").into_bytes()
}

/// A reader that knows whether it has ended, and whether the number of quotes in it is odd.
///
/// A quote that is never closed makes one field of the rest of a file. Without this, that would be a valid row.
struct Watched<R> {
    reader: R,
    ended: bool,
    open_quote: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        self.open_quote ^= buffer[..count].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        Ok(count)
    }
}
