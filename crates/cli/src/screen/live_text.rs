//! A text on the terminal while it is written, with the teacher's parts in colour.

use std::error::Error;

use terminal_size::{Width, terminal_size};
use training_wheels::decode::{Observer, Source, Step};
use training_wheels::text::Tokenizer;
use unicode_width::UnicodeWidthChar;
use wheels_text::TextStream;

use super::Output;

/// The number of columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// How the teacher's parts are marked at a terminal: in colour, or in brackets if colours are not wanted.
pub(crate) fn teacher_marks() -> (&'static str, &'static str) {
    if has_colours() { ("\x1b[1;32m", "\x1b[0m") } else { ("[", "]") }
}

/// A note at a terminal, dim if colours are wanted.
pub(crate) fn note(text: &str) -> String {
    if has_colours() { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
}

fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none()
}

/// Prints one text while it is written. What is rolled back is removed from the terminal.
pub(crate) struct LiveText<'a> {
    output: Output,
    /// Whether the teacher's parts are marked.
    has_marks: bool,
    tokenizer: &'a Tokenizer,
    stream: TextStream<'a>,
    steps: Vec<ShownStep>,
    /// Whether the last part is the teacher's.
    in_help: bool,
    columns: usize,
    failure: Result<(), Box<dyn Error>>,
}

/// A step, and what of the text it has printed, with marks.
struct ShownStep {
    token: u32,
    printed: String,
    in_help: bool,
}

impl<'a> LiveText<'a> {
    /// A text of a student and its teacher has marks, and that of a model alone has none.
    pub(crate) fn new(output: Output, tokenizer: &'a Tokenizer, has_marks: bool) -> Self {
        let columns = terminal_size().map_or(COLUMNS, |(Width(columns), _)| usize::from(columns.max(2)));
        let stream = tokenizer.stream();
        Self { output, has_marks, tokenizer, stream, steps: vec![], in_help: false, columns, failure: Ok(()) }
    }

    /// Ends the text and its line.
    ///
    /// # Errors
    /// The first error of any part of the text.
    pub(crate) fn finish(mut self) -> Result<(), Box<dyn Error>> {
        std::mem::replace(&mut self.failure, Ok(()))?;
        let rest = self.stream.clone().finish()?.unwrap_or_default();
        let close = self.marks_to(false);
        self.output.part(rest + close + "\n")?;
        Ok(())
    }

    fn show(&mut self, step: &Step) -> Result<(), Box<dyn Error>> {
        let mut printed = String::new();
        if let Some(text) = self.stream.push(step.token)? {
            printed += self.marks_to(self.has_marks && step.source != Source::Student);
            printed += &text;
            self.output.part(&printed)?;
        }
        self.steps.push(ShownStep { token: step.token, printed, in_help: self.in_help });
        Ok(())
    }

    /// The marks that begin or end a part of the teacher.
    fn marks_to(&mut self, helped: bool) -> &'static str {
        let (open, close) = teacher_marks();
        match (std::mem::replace(&mut self.in_help, helped), helped) {
            (false, true) => open,
            (true, false) => close,
            _ => "",
        }
    }

    /// Removes the steps after the first `length` ones.
    fn remove(&mut self, length: usize) -> Result<(), Box<dyn Error>> {
        let text = |steps: &[ShownStep]| steps.iter().map(|step| step.printed.as_str()).collect::<String>();
        let end = place(&text(&self.steps), self.columns);
        self.steps.truncate(length);
        let start = place(&text(&self.steps), self.columns);
        self.output.part(back(end, start, self.columns))?;
        self.stream = self.tokenizer.stream();
        for step in &self.steps {
            self.stream.push(step.token)?;
        }
        self.in_help = self.steps.last().is_some_and(|step| step.in_help);
        if self.in_help {
            // The colour ended after these steps.
            self.output.part(if has_colours() { teacher_marks().0 } else { "" })?;
        }
        Ok(())
    }
}

impl Observer for LiveText<'_> {
    fn rolled_back(&mut self, _row: usize, length: usize) {
        if self.failure.is_ok() {
            self.failure = self.remove(length);
        }
    }

    fn step(&mut self, _row: usize, step: &Step) {
        if self.failure.is_ok() {
            self.failure = self.show(step);
        }
    }
}

/// The row and the column of the cursor after a text that began in the first column of a row. After a full row the cursor
/// waits in its last column: the column is then equal to the number of columns.
fn place(text: &str, columns: usize) -> [usize; 2] {
    let [mut row, mut column] = [0; 2];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\n' => [row, column] = [row + 1, 0],
            // A colour ends with an "m", and takes no room.
            '\x1b' => drop(characters.find(|&character| character == 'm')),
            '\t' => column = (column / 8 * 8 + 8).min(columns - 1),
            character => {
                let width = character.width().unwrap_or(0);
                if column + width > columns {
                    [row, column] = [row + 1, 0];
                }
                column += width;
            }
        }
    }
    [row, column]
}

/// Moves the cursor back from one place to an earlier one, and removes what is after it.
fn back(end: [usize; 2], start: [usize; 2], columns: usize) -> String {
    if end == start {
        return String::new();
    }
    // After a full row, what is removed begins in the next one.
    let [row, column] = if start[1] == columns { [start[0] + 1, 0] } else { start };
    let up = match end[0].saturating_sub(row) {
        0 => String::new(),
        rows => format!("\x1b[{rows}A"),
    };
    // Terminals count columns from 1.
    format!("\x1b[0m{up}\x1b[{}G\x1b[0J", column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_where_a_terminal_would_have_it() {
        for (text, expected) in [
            ("", [0, 0]),
            ("abc", [0, 3]),
            ("abcde", [0, 5]),
            ("abcdef", [1, 1]),
            ("ab\ncd", [1, 2]),
            ("\x1b[1;32mab\x1b[0mc", [0, 3]),
            // A wide character does not fit into the last column.
            ("abcd\u{6f22}", [1, 2]),
            ("e\u{301}a", [0, 2]),
        ] {
            assert_eq!(place(text, 5), expected, "{text:?}");
        }
        assert_eq!(back([2, 3], [1, 1], 5), "\x1b[0m\x1b[1A\x1b[2G\x1b[0J");
        assert_eq!(back([1, 2], [0, 5], 5), "\x1b[0m\x1b[1G\x1b[0J", "the full row stays");
        assert_eq!(back([1, 2], [1, 2], 5), "");
    }
}
