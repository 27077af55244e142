//! The lines that a user types, or that a pipe brings.

use std::error::Error;
use std::io::{BufRead, IsTerminal, stdin, stdout};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::run::interrupt;

/// The lines of a chat.
pub(crate) struct Input {
    /// At a terminal, lines can be edited, and earlier ones come back with the arrow keys.
    editor: Option<DefaultEditor>,
    lines_read: usize,
}

impl Input {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let is_terminal = stdin().is_terminal() && stdout().is_terminal();
        Ok(Self { editor: is_terminal.then(DefaultEditor::new).transpose()?, lines_read: 0 })
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.editor.is_some()
    }

    /// The number of lines that were read.
    pub(crate) fn lines_read(&self) -> usize {
        self.lines_read
    }

    /// The next line. None at the end.
    pub(crate) fn next_line(&mut self) -> Result<Option<String>, Box<dyn Error>> {
        self.lines_read += 1;
        let Some(editor) = &mut self.editor else {
            let mut line = String::new();
            let read = stdin().lock().read_line(&mut line);
            let read = read.map_err(|error| format!("standard input, line {}: {error}", self.lines_read))?;
            return Ok((read > 0).then_some(line));
        };
        match editor.readline("> ") {
            Ok(line) => {
                editor.add_history_entry(line.as_str())?;
                Ok(Some(line))
            }
            Err(ReadlineError::Eof) => Ok(None),
            Err(ReadlineError::Interrupted) => interrupt::stop(),
            Err(error) => Err(error.into()),
        }
    }
}
