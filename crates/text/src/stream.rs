//! Decodes tokens to text while they are generated.

use crate::{TextError, Tokenizer};

/// The number of tokens that stay in the window when older ones are dropped.
///
/// If all were dropped, the next token would be decoded as the first of a text. A tokenizer may decode it differently
/// there: T5's removes its leading space.
const KEPT: usize = 4;
/// The length of the window, tokens, at which older tokens are dropped.
///
/// Each push decodes the whole window. With a bounded window, the cost of a push does not grow with the text.
const WINDOW: usize = 32;
/// The maximum number of replacement characters (U+FFFD) at the end of a text that later tokens can still change.
///
/// An incomplete UTF-8 character has at most three bytes, and each of them may decode to one replacement character.
const UNFINISHED: usize = 3;

/// Decodes tokens to text piece by piece while they are generated. The bytes of an incomplete character are held back.
///
/// For byte-level tokenizers and for T5's, the concatenated pieces equal [`Tokenizer::decode`] of all the tokens.
/// [`Tokenizer::stream`] makes a stream.
///
/// ```
/// use wheels_text::{Tokenizer, TokenizerConfig};
///
/// let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()])?;
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
    /// The last tokens, without special ones.
    window: Vec<u32>,
    /// The number of bytes of the window's text that have been returned.
    printed: usize,
}

impl<'a> TextStream<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, window: Vec::new(), printed: 0 }
    }

    /// Takes the next token and returns the new text that later tokens cannot change, if there is any.
    ///
    /// # Errors
    /// If the id is not in the vocabulary, or if the tokenizer cannot decode the tokens.
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

    /// Ends the text and returns the rest of it. An incomplete character is returned as U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer cannot decode the tokens.
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

/// The number of bytes of a text that later tokens cannot change.
fn certain(text: &str) -> usize {
    text.char_indices()
        .rev()
        .take(UNFINISHED)
        .take_while(|(_, c)| *c == char::REPLACEMENT_CHARACTER)
        .last()
        .map_or(text.len(), |(at, _)| at)
}
