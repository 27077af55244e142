//! Printable text as tokens arrive.

use crate::{TextError, Tokenizer};

/// Tokens that a decoder may still need to see before new ones: T5's takes the space off the first token it is given.
const KEPT: usize = 4;
/// Tokens after which the printed ones are forgotten, so that a push costs the same at any length.
const WINDOW: usize = 32;
/// The replacement characters that bytes still to come can change: an unfinished character is at most three bytes.
const UNFINISHED: usize = 3;

/// Turns tokens into text piece by piece, and holds back what is not yet a whole character.
///
/// The pieces joined are exactly [`Tokenizer::decode`] of all the tokens for byte-level tokenizers and for T5's.
///
/// ```
/// use wheels_text::{Tokenizer, TrainTokenizer};
///
/// let tokenizer = Tokenizer::train(TrainTokenizer { vocab_size: 259, ..Default::default() }, ["a".to_owned()])?;
/// let mut stream = tokenizer.stream();
/// let euro = tokenizer.encode("€")?;
/// assert_eq!(euro.len(), 3);
/// assert_eq!(stream.push(euro[0])?, None);
/// assert_eq!(stream.push(euro[1])?, None);
/// assert_eq!(stream.push(euro[2])?.as_deref(), Some("€"));
/// assert_eq!(stream.finish()?, None);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The last tokens, never special ones.
    window: Vec<u32>,
    /// How many bytes of the window's text have been handed out.
    printed: usize,
}

impl<'a> TextStream<'a> {
    /// A stream at the start of a text.
    #[must_use]
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, window: Vec::new(), printed: 0 }
    }

    /// Takes a token and returns the text that is certain with it, if any.
    ///
    /// # Errors
    /// If the id is not in the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TextError> {
        if self.tokenizer.is_special(id) {
            return Ok(None);
        }
        self.window.push(id);
        let text = match self.tokenizer.decode(&self.window) {
            Ok(text) => text,
            Err(error) => {
                self.window.pop();
                return Err(error);
            }
        };
        let certain = certain(&text);
        let piece = self.take(&text[..certain]);
        if certain == text.len() && self.window.len() >= WINDOW {
            self.window.drain(..self.window.len() - KEPT);
            self.printed = self.tokenizer.decode(&self.window)?.len();
        }
        Ok(piece)
    }

    /// Ends the text and returns what was held back; a character that never became whole comes as U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer refuses its own tokens.
    pub fn finish(mut self) -> Result<Option<String>, TextError> {
        let text = self.tokenizer.decode(&self.window)?;
        Ok(self.take(&text))
    }

    fn take(&mut self, text: &str) -> Option<String> {
        let piece = text.get(self.printed..).filter(|piece| !piece.is_empty())?;
        self.printed = text.len();
        Some(piece.to_owned())
    }
}

/// How many bytes of a text no further token can change.
fn certain(text: &str) -> usize {
    text.char_indices()
        .rev()
        .take(UNFINISHED)
        .take_while(|(_, c)| *c == char::REPLACEMENT_CHARACTER)
        .last()
        .map_or(text.len(), |(at, _)| at)
}
