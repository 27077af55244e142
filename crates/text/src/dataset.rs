//! Pairs of a source text and a target text, in files of JSON lines.

use std::fmt::{self, Write};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::{LineProblem, Message, Seed, TextError, files};

/// A source text, and the target text that a model should generate for it.
///
/// In a conversation, the target is the last answer, the source is the user's message before it, and
/// [`turns`](Self::turns) has all messages before these two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Example {
    /// The text that a model reads.
    pub source: String,
    /// The text that a model should generate.
    pub target: String,
    /// The messages of a conversation before the source, in order, with the system message. Empty for single texts.
    /// Models read them and are not trained on them. [`PromptTemplate::prompt_of`](crate::PromptTemplate::prompt_of)
    /// puts them into the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Message>,
}

impl Example {
    /// An example with a source and a target, and without earlier messages.
    pub fn new(source: impl Into<String>, target: impl Into<String>) -> Self {
        Self { source: source.into(), target: target.into(), turns: Vec::new() }
    }

    /// Sets the messages before the source.
    #[must_use]
    pub fn with_turns(self, turns: Vec<Message>) -> Self {
        Self { turns, ..self }
    }
}

/// An ordered list of examples.
///
/// ```
/// use wheels_text::{Dataset, Seed};
///
/// let lines = "{\"source\": \"one\", \"target\": \"uno\"}\n{\"source\": \"two\", \"target\": \"due\"}\n";
/// let dataset = Dataset::from_reader(lines.as_bytes(), "numbers")?;
/// let (held_out, rest) = dataset.shuffled(Seed(7)).split(1);
/// assert_eq!((held_out.len(), rest.len()), (1, 1));
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset(Vec<Example>);

impl Dataset {
    /// Reads a file of JSON lines: one JSON object with the fields `source` and `target` per line.
    ///
    /// Blank lines, other fields and a byte-order mark at the start of the file are ignored.
    ///
    /// # Errors
    /// If the file cannot be read or has no examples. If a line is not UTF-8, is not such an object, or has a blank
    /// field; the message then names the file and the line.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| TextError::Read { path: path.to_owned(), source })?;
        Self::from_reader(BufReader::new(file), path)
    }

    /// Reads JSON lines from a reader. Error messages use `name` as the name of the file.
    ///
    /// # Errors
    /// For the reasons of [`Dataset::open`].
    pub fn from_reader(reader: impl BufRead, name: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = name.as_ref();
        let mut examples = Vec::new();
        // The file is split before it is decoded, so that an encoding error has a line number too.
        for (index, bytes) in reader.split(b'\n').enumerate() {
            let bytes = bytes.map_err(|source| TextError::Read { path: path.to_owned(), source })?;
            match parse_line(&bytes, index == 0) {
                Ok(example) => examples.extend(example),
                Err(problem) => {
                    return Err(TextError::Line { path: path.to_owned(), line: index + 1, problem });
                }
            }
        }
        if examples.is_empty() {
            return Err(TextError::Empty { path: path.to_owned() });
        }
        Ok(Self(examples))
    }

    /// Writes the examples as JSON lines atomically. Creates the folder if it does not exist.
    ///
    /// Each line is exactly what Python's `json.dumps(..., ensure_ascii=False)` writes. It has the fields `source` and
    /// `target`, and in a conversation also `turns`: a list of objects with `role` and `content`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_jsonl(&self, path: impl AsRef<Path>) -> Result<(), TextError> {
        let mut text = String::new();
        for example in &self.0 {
            write_line(&mut text, example).expect("writing to a string cannot fail");
        }
        files::write_atomically(path, text)
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the examples in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Example> {
        self.0.iter()
    }

    /// The examples as a slice.
    pub fn examples(&self) -> &[Example] {
        &self.0
    }

    /// Shuffles the examples. The order depends only on the seed and on the number of examples.
    pub fn shuffled(mut self, seed: Seed) -> Self {
        self.0.shuffle(&mut seed.stream("shuffle").rng());
        self
    }

    /// Splits into the first `count` examples and the rest. If there are fewer than `count`, the rest is empty.
    pub fn split(mut self, count: usize) -> (Self, Self) {
        let rest = self.0.split_off(count.min(self.0.len()));
        (self, Self(rest))
    }

    /// Keeps the first `count` examples, or all if there are fewer.
    pub fn take(self, count: usize) -> Self {
        self.split(count).0
    }
}

impl FromIterator<Example> for Dataset {
    fn from_iter<I: IntoIterator<Item = Example>>(examples: I) -> Self {
        Self(examples.into_iter().collect())
    }
}

impl IntoIterator for Dataset {
    type Item = Example;
    type IntoIter = std::vec::IntoIter<Example>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Dataset {
    type Item = &'a Example;
    type IntoIter = std::slice::Iter<'a, Example>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn write_line(text: &mut String, example: &Example) -> fmt::Result {
    let Example { source, target, turns } = example;
    write!(text, r#"{{"source": {}, "target": {}"#, quoted(source), quoted(target))?;
    for (index, Message { role, content }) in turns.iter().enumerate() {
        let before = if index == 0 { r#", "turns": ["# } else { ", " };
        write!(text, r#"{before}{{"role": "{role}", "content": {}}}"#, quoted(content))?;
    }
    writeln!(text, "{}", if turns.is_empty() { "}" } else { "]}" })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// Parses one line without its line feed. A blank line gives `None`.
fn parse_line(bytes: &[u8], first: bool) -> Result<Option<Example>, LineProblem> {
    let line =
        std::str::from_utf8(bytes).map_err(|error| LineProblem::InvalidUtf8 { byte: error.valid_up_to() + 1 })?;
    let line = if first { line.trim_start_matches('\u{feff}') } else { line };
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return Ok(None);
    }
    let example: Example = serde_json::from_str(line).map_err(|error| json_problem(&error))?;
    for (field, text) in [("source", &example.source), ("target", &example.target)] {
        if text.trim().is_empty() {
            return Err(LineProblem::EmptyField { field });
        }
    }
    Ok(Some(example))
}

/// The parser's error without its line number.
///
/// The parser sees one line at a time, so that number is always 1 and would mislead.
fn json_problem(error: &serde_json::Error) -> LineProblem {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    LineProblem::Json { column: error.column(), reason: reason.to_owned() }
}
