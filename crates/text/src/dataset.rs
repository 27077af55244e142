//! Pairs of texts, in files with one pair a line.

use std::{
    fmt::Write,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::{LineProblem, Seed, TextError, files};

/// A text and what should become of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Example {
    /// The text given.
    pub source: String,
    /// The text wanted.
    pub target: String,
}

/// Examples in order.
///
/// ```
/// use wheels_text::{Dataset, Seed};
///
/// let lines = "{\"source\": \"one\", \"target\": \"uno\"}\n{\"source\": \"two\", \"target\": \"due\"}\n";
/// let dataset = Dataset::from_jsonl_reader(lines.as_bytes(), "numbers")?;
/// let (held_out, rest) = dataset.shuffled(Seed(7)).split(1);
/// assert_eq!((held_out.len(), rest.len()), (1, 1));
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset(Vec<Example>);

impl Dataset {
    /// Reads a file of JSON objects with the fields `source` and `target`, one a line.
    ///
    /// Blank lines, further fields and a byte-order mark are passed over.
    ///
    /// # Errors
    /// If the file cannot be read or holds no examples, or a line is not UTF-8, not such an object, or has an empty
    /// field; the message carries the file and the line.
    pub fn from_jsonl(path: impl AsRef<Path>) -> Result<Self, TextError> {
        read_lines(open(path.as_ref())?, path.as_ref(), json)
    }

    /// Reads JSON lines from anything; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`Dataset::from_jsonl`].
    pub fn from_jsonl_reader(reader: impl BufRead, name: impl AsRef<Path>) -> Result<Self, TextError> {
        read_lines(reader, name.as_ref(), json)
    }

    /// Reads a file with a source, a tab and a target on each line; there is no quoting and no heading.
    ///
    /// # Errors
    /// As [`Dataset::from_jsonl`], and if a line has not exactly two columns.
    pub fn from_tsv(path: impl AsRef<Path>) -> Result<Self, TextError> {
        read_lines(open(path.as_ref())?, path.as_ref(), columns)
    }

    /// Writes one JSON object a line, atomically.
    ///
    /// The spelling is that of Python's `json.dumps(..., ensure_ascii=False)`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_jsonl(&self, path: impl AsRef<Path>) -> Result<(), TextError> {
        let mut text = String::new();
        for Example { source, target } in &self.0 {
            writeln!(text, r#"{{"source": {}, "target": {}}}"#, quoted(source), quoted(target))
                .expect("a string takes any text");
        }
        files::write_atomically(path, text)
    }

    /// How many examples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no examples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The examples in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Example> {
        self.0.iter()
    }

    /// The examples as a slice.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.0
    }

    /// The examples in an order that the seed decides.
    #[must_use]
    pub fn shuffled(mut self, seed: Seed) -> Self {
        self.0.shuffle(&mut seed.stream("shuffle").rng());
        self
    }

    /// The first `count` examples, or all if there are fewer, and the rest.
    #[must_use]
    pub fn split(mut self, count: usize) -> (Self, Self) {
        let rest = self.0.split_off(count.min(self.0.len()));
        (self, Self(rest))
    }

    /// The first `count` examples, or all if there are fewer.
    #[must_use]
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

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

fn open(path: &Path) -> Result<BufReader<File>, TextError> {
    let file = File::open(path).map_err(|source| TextError::Read { path: path.to_owned(), source })?;
    Ok(BufReader::new(file))
}

fn read_lines(
    reader: impl BufRead,
    path: &Path,
    parse: fn(&str) -> Result<Example, LineProblem>,
) -> Result<Dataset, TextError> {
    let mut examples = Vec::new();
    // Lines are split as bytes, so that an error of encoding has a line number too.
    for (index, bytes) in reader.split(b'\n').enumerate() {
        let bytes = bytes.map_err(|source| TextError::Read { path: path.to_owned(), source })?;
        match example(&bytes, index == 0, parse) {
            Ok(example) => examples.extend(example),
            Err(problem) => {
                return Err(TextError::Line { path: path.to_owned(), line: index + 1, problem });
            }
        }
    }
    if examples.is_empty() {
        return Err(TextError::Empty { path: path.to_owned() });
    }
    Ok(Dataset(examples))
}

fn example(
    bytes: &[u8],
    first: bool,
    parse: fn(&str) -> Result<Example, LineProblem>,
) -> Result<Option<Example>, LineProblem> {
    let line =
        std::str::from_utf8(bytes).map_err(|error| LineProblem::InvalidUtf8 { byte: error.valid_up_to() + 1 })?;
    let line = if first { line.trim_start_matches('\u{feff}') } else { line };
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return Ok(None);
    }
    let example = parse(line)?;
    for (field, text) in [("source", &example.source), ("target", &example.target)] {
        if text.trim().is_empty() {
            return Err(LineProblem::EmptyField { field });
        }
    }
    Ok(Some(example))
}

fn json(line: &str) -> Result<Example, LineProblem> {
    serde_json::from_str(line).map_err(LineProblem::Json)
}

fn columns(line: &str) -> Result<Example, LineProblem> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[source, target] = columns.as_slice() else {
        return Err(LineProblem::Columns { found: columns.len() });
    };
    Ok(Example { source: source.to_owned(), target: target.to_owned() })
}
