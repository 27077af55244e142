//! The examples of a file, one after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::Format;
use super::input::{Input, Origin, unpack};
use super::layout::Fields;
use super::records::{Failure, Records};
use super::{DatasetOptions, Example};
use crate::{LineProblem, TextError};

/// The invalid lines of a file that were skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLines {
    /// The file, or the name given for a reader.
    pub path: PathBuf,
    /// The number of invalid lines. In a JSON list or a table, the number of invalid objects or rows.
    pub count: usize,
    /// The number of the first invalid line, from 1.
    pub line: usize,
    /// What is wrong with the first invalid line.
    pub problem: LineProblem,
}

/// How much of a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadProgress {
    /// The number of bytes that are read, before they are unpacked.
    pub bytes: u64,
    /// The size of the file, bytes. `None` if it is a pipe.
    pub total: Option<u64>,
}

/// Iterates over the examples of a file without holding more than one of them: see
/// [`Dataset::stream`](crate::Dataset::stream).
///
/// After an error, there are no more examples.
pub struct ExampleStream {
    examples: Examples<BufReader<CountedFile>>,
    read: Arc<AtomicU64>,
    progress: ReadProgress,
    on_read: Option<Box<OnRead>>,
}

/// A callback after each part of a file that is read.
type OnRead = dyn FnMut(ReadProgress) + Send;

impl ExampleStream {
    /// The invalid lines that were skipped until now. `None` if there are none.
    pub fn skipped(&self) -> Option<&SkippedLines> {
        self.examples.skipped.as_ref()
    }

    /// Calls `on_read` each time that a further part of the file is read, about every 8 kB, to show progress.
    #[must_use]
    pub fn on_read(self, on_read: impl FnMut(ReadProgress) + Send + 'static) -> Self {
        Self { on_read: Some(Box::new(on_read)), ..self }
    }

    pub(super) fn open(path: &Path, options: &DatasetOptions) -> Result<Self, TextError> {
        let failed = |source| TextError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let file_data = file.metadata().map_err(failed)?;
        let read = Arc::new(AtomicU64::new(0));
        let reader = BufReader::new(CountedFile { file, read: read.clone() });
        let total = file_data.is_file().then_some(file_data.len());
        let progress = ReadProgress { bytes: 0, total };
        Ok(Self { examples: Examples::new(reader, path, options)?, read, progress, on_read: None })
    }

    pub(super) fn into_skipped(self) -> Option<SkippedLines> {
        self.examples.skipped
    }
}

impl Iterator for ExampleStream {
    type Item = Result<Example, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.examples.next();
        let bytes = self.read.load(Ordering::Relaxed);
        if let Some(on_read) = &mut self.on_read
            && bytes > self.progress.bytes
        {
            self.progress.bytes = bytes;
            on_read(self.progress);
        }
        next
    }
}

/// A file that counts the bytes that are read from it.
struct CountedFile {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// The examples of a reader.
pub(super) struct Examples<R: BufRead> {
    origin: Origin,
    records: Records<Input<R>>,
    fields: Fields,
    skip_bad: bool,
    count: usize,
    pub(super) skipped: Option<SkippedLines>,
    ended: bool,
}

impl<R: BufRead> Examples<R> {
    pub(super) fn new(reader: R, path: &Path, options: &DatasetOptions) -> Result<Self, TextError> {
        options.check()?;
        let fields = Fields::new(options);
        let (origin, head, input) = unpack(reader, path)?;
        let format = Format::of(&head, path, &fields);
        let records = Records::new(input, format).map_err(|failure| failure_error(&origin, failure))?;
        Ok(Self { origin, records, fields, skip_bad: options.skip_bad, count: 0, skipped: None, ended: false })
    }

    fn try_next(&mut self) -> Result<Option<Example>, TextError> {
        while let Some(record) = self.records.next().map_err(|failure| failure_error(&self.origin, failure))? {
            match record.object.and_then(|object| self.fields.example(&object)) {
                Ok(example) => {
                    self.count += 1;
                    return Ok(Some(example));
                }
                Err(problem) if self.skip_bad => self.skip(record.line, problem),
                Err(problem) => return Err(line_error(&self.origin, record.line, problem, self.count == 0)),
            }
        }
        self.finish().map(|()| None)
    }

    fn skip(&mut self, line: usize, problem: LineProblem) {
        let path = &self.origin.path;
        let skipped = self.skipped.get_or_insert_with(|| SkippedLines { path: path.clone(), count: 0, line, problem });
        skipped.count += 1;
    }

    fn finish(&self) -> Result<(), TextError> {
        let path = self.origin.path.clone();
        match &self.skipped {
            Some(SkippedLines { count, line, problem, .. }) => {
                let total = self.count + count;
                if *count > self.count {
                    let (bad, line, problem) = (*count, *line, Box::new(problem.clone()));
                    return Err(TextError::MostlyBad { path, bad, total, line, problem });
                }
                log::warn!("{}: skipped {count} of {total} lines; line {line}: {problem}", path.display());
                Ok(())
            }
            None if self.count == 0 => Err(TextError::Empty { path }),
            None => Ok(()),
        }
    }
}

impl<R: BufRead> Iterator for Examples<R> {
    type Item = Result<Example, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.try_next().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn failure_error(origin: &Origin, failure: Failure) -> TextError {
    match failure {
        Failure::Read(source) => origin.read_error(source),
        Failure::List { line, reason } => TextError::List { path: origin.path.clone(), line, reason },
    }
}

/// The error of an invalid line. A field that the `first` line lacks has another name.
fn line_error(origin: &Origin, line: usize, problem: LineProblem, first: bool) -> TextError {
    let (path, problem) = (origin.path.clone(), Box::new(problem));
    match *problem {
        LineProblem::MissingField { .. } if first => TextError::Fields { path, line, problem },
        LineProblem::UnknownFields { .. } => TextError::Fields { path, line, problem },
        _ => TextError::Line { path, line, problem },
    }
}
