//! Pairs of a source text and a target text.

use std::fmt::{self, Write};
use std::io::BufRead;
use std::path::Path;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::stream::Examples;
use super::{DatasetOptions, ExampleStream, SkippedLines};
use crate::{Message, Seed, TextError, files};

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
pub struct Dataset {
    examples: Vec<Example>,
    skipped: Option<SkippedLines>,
}

impl Dataset {
    /// Reads all examples of a file.
    ///
    /// The file holds one of these, all in UTF-8. It may be compressed with gzip, under any name.
    /// - JSON lines: one object per line.
    /// - A JSON list of objects, or an object with such a list in its field `data`.
    /// - A table with the names of the fields in its first row: CSV, with commas, semicolons or tabs, and TSV. In TSV,
    ///   each line is a row. A table must be named `.csv`, `.tsv` or `.tab`, or have names that are recognised.
    ///
    /// The fields of the first object or row decide which of them are used in the whole file:
    /// - `source` and `target`, which always win; then `turns` may have the earlier messages.
    /// - `input` and `output`, `prompt` and `completion`, `question` and `answer`, `document` and `summary`, `article`
    ///   and `highlights`, or `text` and `summary`.
    /// - `instruction` and `output`, with or without `input` (Alpaca). The source is the instruction, and then an empty
    ///   line and the input if this is not blank.
    /// - A conversation in `messages` or `conversations`: a list of objects with `role` and `content`, or with `from`
    ///   and `value` (ShareGPT). Its last answer is the target, and the user's message directly before it is the source.
    ///   All earlier messages, with their answers, are in [`Example::turns`]. Messages after the last answer are left
    ///   out.
    ///
    /// Other names, and the order of the languages in a `translation`, are given with [`Dataset::open_with`]. Blank
    /// lines, other fields and a byte-order mark at the start of the file are ignored.
    ///
    /// # Errors
    /// If the file cannot be read or unpacked, or has no examples. [`TextError::Fields`] if the fields fit no layout or
    /// several; the message lists them. [`TextError::Line`] if a line is not UTF-8, is not such an object, or has a
    /// field that is missing, blank or not a text; the message names the file and the line.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::open_with(path, &DatasetOptions::default())
    }

    /// Reads all examples of a file with the names of its fields, or without its invalid lines.
    ///
    /// # Errors
    /// For the reasons of [`Dataset::open`]. If invalid lines are skipped, [`TextError::MostlyBad`] if they are more
    /// than half of the lines. [`TextError::NoSourceField`] if only the field of the target has a name.
    pub fn open_with(path: impl AsRef<Path>, options: &DatasetOptions) -> Result<Self, TextError> {
        let mut stream = Self::stream(path, options)?;
        let examples = stream.by_ref().collect::<Result<_, _>>()?;
        Ok(Self { examples, skipped: stream.into_skipped() })
    }

    /// Opens a file of any size, and reads one example at a time.
    ///
    /// The examples and the errors are those of [`Dataset::open_with`]. The stream ends at its first error. That too
    /// many lines are invalid, or that there are no examples, is an error at its end.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wheels_text::{Dataset, DatasetOptions};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("train.csv");
    /// std::fs::write(&path, "source,target\none,uno\ntwo,due\n")?;
    /// let mut words = 0;
    /// for example in Dataset::stream(&path, &DatasetOptions::default())? {
    ///     words += example?.target.split_whitespace().count();
    /// }
    /// assert_eq!(words, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the file cannot be opened, or its first bytes are those of a format that is not read.
    pub fn stream(path: impl AsRef<Path>, options: &DatasetOptions) -> Result<ExampleStream, TextError> {
        ExampleStream::open(path.as_ref(), options)
    }

    /// Reads all examples of a reader, whose content is that of a file with this name: see [`Dataset::open`].
    ///
    /// # Errors
    /// For the reasons of [`Dataset::open`].
    pub fn from_reader(reader: impl BufRead, name: impl AsRef<Path>) -> Result<Self, TextError> {
        Examples::new(reader, name.as_ref(), &DatasetOptions::default())?.collect()
    }

    /// The invalid lines that were skipped when the file was read. `None` if there were none. Both parts of a
    /// [`split`](Self::split) have those of the whole.
    pub fn skipped(&self) -> Option<&SkippedLines> {
        self.skipped.as_ref()
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
        for example in &self.examples {
            write_line(&mut text, example).expect("writing to a string cannot fail");
        }
        files::write_atomically(path, text)
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Iterates over the examples in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Example> {
        self.examples.iter()
    }

    /// The examples as a slice.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Shuffles the examples. The order depends only on the seed and on the number of examples.
    pub fn shuffled(mut self, seed: Seed) -> Self {
        self.examples.shuffle(&mut seed.stream("shuffle").rng());
        self
    }

    /// Splits into the first `count` examples and the rest. If there are fewer than `count`, the rest is empty.
    pub fn split(mut self, count: usize) -> (Self, Self) {
        let examples = self.examples.split_off(count.min(self.examples.len()));
        let rest = Self { examples, skipped: self.skipped.clone() };
        (self, rest)
    }

    /// Keeps the first `count` examples, or all if there are fewer.
    pub fn take(self, count: usize) -> Self {
        self.split(count).0
    }
}

impl FromIterator<Example> for Dataset {
    fn from_iter<I: IntoIterator<Item = Example>>(examples: I) -> Self {
        Self { examples: examples.into_iter().collect(), skipped: None }
    }
}

impl IntoIterator for Dataset {
    type Item = Example;
    type IntoIter = std::vec::IntoIter<Example>;

    fn into_iter(self) -> Self::IntoIter {
        self.examples.into_iter()
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
