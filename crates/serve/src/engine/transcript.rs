//! The text of an answer while it grows.

use training_wheels::text::{TextError, Tokenizer};
use wheels_text::TextStream;

use super::job::Author;

/// The text of an answer while it grows: tokens in, parts by one author out.
///
/// Text that may be the beginning of a stop text is held back. The answer ends before the first stop text.
pub(crate) struct Transcript<'t> {
    stream: Option<TextStream<'t>>,
    stops: Vec<String>,
    text: String,
    /// Who wrote the text up to each of these ends, bytes. Parts that follow each other have different authors.
    parts: Vec<(usize, Author)>,
    /// The number of bytes that have been given out.
    given: usize,
    /// Whether a stop text was found.
    is_stopped: bool,
}

impl<'t> Transcript<'t> {
    pub(crate) fn new(tokenizer: &'t Tokenizer, stops: Vec<String>) -> Self {
        Self {
            stream: Some(tokenizer.stream()),
            stops,
            text: String::new(),
            parts: Vec::new(),
            given: 0,
            is_stopped: false,
        }
    }

    /// Appends a token.
    ///
    /// # Errors
    /// If the tokenizer does not know the token.
    pub(crate) fn push(&mut self, token: u32, author: Author) -> Result<(), TextError> {
        if let Some(stream) = &mut self.stream
            && let Some(text) = stream.push(token)?
        {
            self.extend(&text, author);
        }
        Ok(())
    }

    /// Ends the text: nothing is held back any more.
    ///
    /// # Errors
    /// If the tokenizer cannot decode the last tokens.
    pub(crate) fn finish(&mut self) -> Result<(), TextError> {
        if let Some(stream) = self.stream.take()
            && let Some(text) = stream.finish()?
        {
            let author = self.parts.last().map_or(Author::Student, |part| part.1);
            self.extend(&text, author);
        }
        Ok(())
    }

    /// Whether the text has reached a stop text.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The number of characters of the text so far.
    pub(crate) fn chars(&self) -> usize {
        self.text.chars().count()
    }

    /// The parts of the text that are new and certain.
    pub(crate) fn take(&mut self) -> Vec<(Author, String)> {
        let certain = match self.stream {
            Some(_) if !self.is_stopped => self.text.len() - self.held(),
            _ => self.text.len(),
        };
        let mut new = Vec::new();
        for &(end, author) in &self.parts {
            let end = end.min(certain);
            if end > self.given {
                new.push((author, self.text[self.given..end].to_owned()));
                self.given = end;
            }
        }
        new
    }

    fn extend(&mut self, text: &str, author: Author) {
        if self.is_stopped {
            return;
        }
        self.text.push_str(text);
        match self.parts.last_mut() {
            Some(last) if last.1 == author => last.0 = self.text.len(),
            _ => self.parts.push((self.text.len(), author)),
        }
        let tail = &self.text[self.given..];
        if let Some(stop) = self.stops.iter().filter_map(|stop| tail.find(stop.as_str())).min() {
            self.text.truncate(self.given + stop);
            self.is_stopped = true;
            let end = self.text.len();
            for part in &mut self.parts {
                part.0 = part.0.min(end);
            }
        }
    }

    /// The length of the longest end of the text that begins a stop text, bytes.
    fn held(&self) -> usize {
        let tail = &self.text[self.given..];
        let begins = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&tail[*at..]));
        tail.char_indices().map(|(at, _)| at).find(begins).map_or(0, |at| tail.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use Author::{Student, Teacher};
    use training_wheels::text::TokenizerConfig;

    use super::*;

    /// The parts that come out after each letter of a text, of which the teacher writes the capital letters.
    fn parts(text: &str, stops: &[&str]) -> (Vec<(Author, String)>, bool) {
        let config = TokenizerConfig::default().with_vocab_size(259);
        let tokenizer = Tokenizer::train(config, ["a".to_owned()]).expect("a tokenizer");
        let mut transcript = Transcript::new(&tokenizer, stops.iter().map(ToString::to_string).collect());
        let mut parts = Vec::new();
        for token in tokenizer.encode(text).expect("bytes") {
            let is_upper = tokenizer.decode(&[token]).expect("a byte").chars().all(char::is_uppercase);
            transcript.push(token, if is_upper { Teacher } else { Student }).expect("a token");
            parts.extend(transcript.take());
        }
        transcript.finish().expect("text");
        parts.extend(transcript.take());
        (parts, transcript.is_stopped())
    }

    fn joined(parts: &[(Author, String)]) -> String {
        parts.iter().map(|part| part.1.as_str()).collect()
    }

    #[test]
    fn each_part_has_its_author_and_whole_characters() {
        let (found, stopped) = parts("aBè€", &[]);
        let expected = [(Student, "a"), (Teacher, "B"), (Student, "è"), (Student, "€")];
        assert_eq!(found, expected.map(|(author, text)| (author, text.to_owned())));
        assert!(!stopped);
    }

    #[test]
    fn the_text_ends_before_the_first_stop_text() {
        for (text, stops, expected) in [
            ("one END two", &["END"][..], "one "),
            ("one EN two", &["END"], "one EN two"),
            ("one EN", &["END"], "one EN"),
            ("ababac", &["abac", "ac"], "ab"),
            ("x\n\ny", &["\n\n", "y"], "x"),
            ("END", &["END"], ""),
            ("caffè", &["è"], "caff"),
        ] {
            let (found, stopped) = parts(text, stops);
            assert_eq!(joined(&found), expected, "{text:?} until {stops:?}");
            assert_eq!(stopped, expected.len() < text.len());
        }
    }

    #[test]
    fn only_what_may_begin_a_stop_text_is_held_back() {
        let (found, _) = parts("aabb", &["bbb"]);
        let texts: Vec<&str> = found.iter().map(|part| part.1.as_str()).collect();
        assert_eq!(texts, ["a", "a", "bb"]);
    }
}
