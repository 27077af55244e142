//! Splits a JSON list into its values, and holds one of them at a time.

use std::io::{self, BufRead};

use super::records::{Failure, Record, parse_object};

/// Where in a file the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the whole file.
    Whole,
    /// In the field `data` of the object that is the whole file.
    Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstValue,
    LaterValue,
    End,
}

/// The values of a JSON list.
///
/// Only brackets and strings are read here. Each value is parsed by itself, so that an invalid one can be skipped.
pub(super) struct JsonList<R> {
    reader: R,
    place: Place,
    state: State,
    /// The number of the line, from 1.
    line: usize,
    /// The number of bytes of the line that were read.
    column: usize,
}

const ENDS: &str = "the file ends before the end of the list";

impl<R: BufRead> JsonList<R> {
    pub(super) fn new(reader: R, place: Place) -> Self {
        Self { reader, place, state: State::Start, line: 1, column: 0 }
    }

    /// Whether the list is in its place and begins with an object.
    pub(super) fn holds_objects(mut self) -> bool {
        self.enter().is_ok() && self.next_byte().is_ok_and(|byte| byte == Some(b'{'))
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        if self.state == State::End {
            return Ok(None);
        }
        if self.state == State::Start {
            self.enter()?;
            self.state = State::FirstValue;
        }
        let mut byte = self.next_byte()?;
        if self.state == State::LaterValue && byte == Some(b',') {
            self.skip(b',');
            byte = self.next_byte()?;
        } else if self.state == State::LaterValue && byte.is_some_and(|byte| byte != b']') {
            return Err(self.failure("there is no comma between two values of the list"));
        }
        match byte {
            None => Err(self.failure(ENDS)),
            Some(b']') => {
                self.skip(b']');
                self.leave()?;
                self.state = State::End;
                Ok(None)
            }
            Some(_) => {
                self.state = State::LaterValue;
                let (line, column, mut value) = (self.line, self.column, Vec::new());
                self.value(Some(&mut value))?;
                Ok(Some(parse_object(&value, line, column)))
            }
        }
    }

    /// Reads up to the first value.
    fn enter(&mut self) -> Result<(), Failure> {
        if self.place == Place::Data {
            self.expect(b'{', "the file is not an object")?;
            while self.key()? != b"\"data\"" {
                self.value(None)?;
                self.next_byte()?;
                self.expect(b',', "the object has no list `data`")?;
            }
        }
        self.expect(b'[', "there is no list")
    }

    /// Reads from the end of the list to the end of the file.
    fn leave(&mut self) -> Result<(), Failure> {
        if self.place == Place::Data {
            while self.next_byte()? == Some(b',') {
                self.skip(b',');
                self.key()?;
                self.value(None)?;
            }
            self.expect(b'}', "the file ends before the end of the object")?;
        }
        match self.next_byte()? {
            None => Ok(()),
            Some(_) if self.place == Place::Whole => Err(self.failure("there is more after the end of the list")),
            Some(_) => {
                Err(self.failure("there is more after the object with the list `data` (name JSON lines .jsonl)"))
            }
        }
    }

    /// Reads a key with its colon.
    fn key(&mut self) -> Result<Vec<u8>, Failure> {
        let mut key = Vec::new();
        self.next_byte()?;
        self.value(Some(&mut key))?;
        self.expect(b':', "a field of the object has no value")?;
        self.next_byte()?;
        Ok(key)
    }

    /// Reads one value into `out`.
    fn value(&mut self, mut out: Option<&mut Vec<u8>>) -> Result<(), Failure> {
        let (mut depth, mut string, mut escaped) = (0_usize, false, false);
        loop {
            let Some(byte) = self.peek()? else { return Err(self.failure(ENDS)) };
            let ends = matches!(byte, b',' | b':' | b']' | b'}') || byte.is_ascii_whitespace();
            if ends && depth == 0 && !string {
                return Ok(());
            }
            self.skip(byte);
            if let Some(out) = &mut out {
                out.push(byte);
            }
            match byte {
                // No string has a line feed. So one that is not closed ends here, and the later values can be read.
                b'\n' => string = false,
                _ if escaped => {}
                b'"' => string = !string,
                b'{' | b'[' if !string => depth += 1,
                b'}' | b']' if !string => depth -= 1,
                _ => {}
            }
            escaped = string && !escaped && byte == b'\\';
            if depth == 0 && !string && matches!(byte, b'"' | b'}' | b']') {
                return Ok(());
            }
        }
    }

    fn expect(&mut self, expected: u8, otherwise: &'static str) -> Result<(), Failure> {
        if self.next_byte()? != Some(expected) {
            return Err(self.failure(otherwise));
        }
        self.skip(expected);
        Ok(())
    }

    /// The next byte that is not white space.
    fn next_byte(&mut self) -> Result<Option<u8>, Failure> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.skip(byte);
        }
        Ok(None)
    }

    fn peek(&mut self) -> Result<Option<u8>, Failure> {
        loop {
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Goes past `byte`, which is the next one.
    fn skip(&mut self, byte: u8) {
        self.reader.consume(1);
        self.column += 1;
        if byte == b'\n' {
            (self.line, self.column) = (self.line + 1, 0);
        }
    }

    fn failure(&self, reason: &'static str) -> Failure {
        Failure::List { line: self.line, reason }
    }
}
