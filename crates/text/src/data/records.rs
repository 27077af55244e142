//! Splits a file into objects with named fields.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use super::format::Format;
use super::json_list::JsonList;
use super::table::Table;
use crate::LineProblem;

/// One object of a file.
#[derive(Debug)]
pub(super) struct Record {
    /// The number of the line on which it begins, or on which it is invalid, from 1.
    pub(super) line: usize,
    /// Its fields, or what is wrong with it.
    pub(super) object: Result<Map<String, Value>, LineProblem>,
}

/// Why the rest of a file cannot be read.
#[derive(Debug)]
pub(super) enum Failure {
    Read(io::Error),
    /// It is not one list.
    List {
        line: usize,
        reason: &'static str,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The objects of a file.
pub(super) enum Records<R: BufRead> {
    Lines(Lines<R>),
    List(JsonList<R>),
    Table(Box<Table<R>>),
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(reader: R, format: Format) -> Result<Self, Failure> {
        Ok(match format {
            Format::Lines => Self::Lines(Lines { reader, line: 0 }),
            Format::List(place) => Self::List(JsonList::new(reader, place)),
            Format::Table { delimiter, quotes } => Self::Table(Box::new(Table::new(reader, delimiter, quotes)?)),
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::List(list) => list.next(),
            Self::Table(table) => table.next(),
        }
    }
}

/// JSON lines. Blank lines are left out.
pub(super) struct Lines<R> {
    reader: R,
    line: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Record>, Failure> {
        let mut bytes = Vec::new();
        // The file is split before it is decoded, so that an encoding error has a line number too.
        while self.reader.read_until(b'\n', &mut bytes)? > 0 {
            self.line += 1;
            if !bytes.trim_ascii().is_empty() {
                // Without its end: else an object that is not closed would be invalid on the next line.
                return Ok(Some(parse_object(bytes.trim_ascii_end(), self.line, 0)));
            }
            bytes.clear();
        }
        Ok(None)
    }
}

/// Parses the text of an object that begins on a line after `column` other bytes.
pub(super) fn parse_object(bytes: &[u8], line: usize, column: usize) -> Record {
    // An object may have several lines. The column of the first of them begins before the object.
    let at = |lines: usize, column_in_line: usize| if lines == 0 { column + column_in_line } else { column_in_line };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let lines = valid.iter().filter(|byte| **byte == b'\n').count();
            let start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |feed| feed + 1);
            let byte = at(lines, valid.len() - start + 1);
            return Record { line: line + lines, object: Err(LineProblem::InvalidUtf8 { byte }) };
        }
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Record { line, object: Ok(object) },
        Ok(other) => Record { line, object: Err(LineProblem::NotAnObject { found: kind(&other) }) },
        Err(error) => {
            let (mut lines, mut column) = (error.line().saturating_sub(1), error.column());
            // The parser puts an invalid line feed before the first column of the next line.
            if let (0, Some(before)) = (column, lines.checked_sub(1)) {
                (lines, column) = (before, text.split('\n').nth(before).map_or(0, str::len) + 1);
            }
            let message = error.to_string();
            // The parser counts lines from the start of this text, so that its own number would mislead.
            let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
            let problem = LineProblem::Json { column: at(lines, column), reason: reason.to_owned() };
            Record { line: line + lines, object: Err(problem) }
        }
    }
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
