//! A text on the terminal while it is written, with the teacher's parts in colour.

use std::io;

use training_wheels::decode::{Observer, Source, Step};
use training_wheels::text::{TextError, TextStream, Tokenizer};

use super::Output;

/// How the teacher's parts look: before and after them.
pub(crate) const TEACHER: (&str, &str) = ("\x1b[1;32m", "\x1b[0m");
/// How a note looks beside a text.
pub(crate) const NOTE: (&str, &str) = ("\x1b[2m", "\x1b[0m");

/// How the teacher's parts are marked at a terminal: in colour, or in brackets if colours are not wanted.
pub(crate) fn teacher_marks() -> (&'static str, &'static str) {
    if std::env::var_os("NO_COLOR").is_some() { ("[", "]") } else { TEACHER }
}

/// A note at a terminal, dim if colours are wanted.
pub(crate) fn note(text: &str) -> String {
    if std::env::var_os("NO_COLOR").is_some() { text.to_owned() } else { format!("{}{text}{}", NOTE.0, NOTE.1) }
}

/// Prints one text while it is written.
pub(crate) struct LiveText<'a> {
    output: Output,
    /// Whether the teacher's parts are marked.
    has_marks: bool,
    stream: TextStream<'a>,
    /// Whether the last part is the teacher's.
    in_help: bool,
    failure: Result<(), LiveTextError>,
}

/// Why a text could not be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiveTextError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Text(#[from] TextError),
}

impl<'a> LiveText<'a> {
    /// A text of a student and its teacher has marks, and that of a model alone has none.
    pub(crate) fn new(output: Output, tokenizer: &'a Tokenizer, has_marks: bool) -> Self {
        Self { output, has_marks, stream: tokenizer.stream(), in_help: false, failure: Ok(()) }
    }

    /// Ends the text and its line.
    ///
    /// # Errors
    /// The first error of any part of the text.
    pub(crate) fn finish(mut self) -> Result<(), LiveTextError> {
        std::mem::replace(&mut self.failure, Ok(()))?;
        let rest = self.stream.clone().finish()?.unwrap_or_default();
        self.output.part(rest)?;
        self.mark(false)?;
        self.output.line("")?;
        Ok(())
    }

    fn show(&mut self, step: &Step) -> Result<(), LiveTextError> {
        if let Some(text) = self.stream.push(step.token)? {
            self.mark(self.has_marks && step.source != Source::Student)?;
            self.output.part(text)?;
        }
        Ok(())
    }

    /// Begins or ends the marks of the teacher.
    fn mark(&mut self, helped: bool) -> io::Result<()> {
        let (open, close) = teacher_marks();
        match (self.in_help, helped) {
            (false, true) => self.output.part(open)?,
            (true, false) => self.output.part(close)?,
            _ => {}
        }
        self.in_help = helped;
        Ok(())
    }
}

impl Observer for LiveText<'_> {
    fn step(&mut self, _row: usize, step: &Step) {
        if self.failure.is_ok() {
            self.failure = self.show(step);
        }
    }
}
