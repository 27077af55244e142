//! Standard output: lines for people, or JSON for programs.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write, stdout};

use serde::Serialize;

use super::console;

/// Standard output: lines for people, or JSON for programs (`--json`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether people read it, at a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        !self.json && stdout().is_terminal()
    }

    /// Prints a line for people.
    ///
    /// # Errors
    /// If it cannot be written, for example because its reader has ended.
    pub(crate) fn line(self, line: impl Display) -> io::Result<()> {
        if self.json { Ok(()) } else { write(format_args!("{line}\n")) }
    }

    /// Prints a part of a line for people, which appears at once.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn part(self, part: impl Display) -> io::Result<()> {
        if self.json { Ok(()) } else { write(format_args!("{part}")) }
    }

    /// Prints a value as one line of JSON for programs.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn json(self, value: &impl Serialize) -> io::Result<()> {
        if self.json { write(format_args!("{}\n", serde_json::to_string(value)?)) } else { Ok(()) }
    }
}

fn write(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    console::print(|| {
        let mut out = stdout().lock();
        out.write_fmt(text)?;
        out.flush()
    })
}
