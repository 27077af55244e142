//! Counts of helped tokens by position in the text and by kind of token.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wheels_text::{TextError, Tokenizer};

use crate::{EvalError, SystemOutput};

/// The number of parts of equal length into which each text is divided.
pub(crate) const POSITION_BINS: usize = 10;

/// The number of tokens in a group, and how many of them an expert chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelpCounts {
    /// The number of tokens that an expert chose.
    pub helped: u64,
    /// The number of all tokens.
    pub tokens: u64,
}

impl HelpCounts {
    /// The fraction of helped tokens, 0 to 1. It is 0 if there are no tokens.
    pub fn rate(self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.helped as f64 / self.tokens as f64 }
    }

    fn add(&mut self, helped: bool) {
        self.tokens += 1;
        self.helped += u64::from(helped);
    }
}

impl SystemOutput {
    /// The help in each tenth of the texts, from the first tenth to the last.
    ///
    /// Token `i` (from 0) of a text of `n` tokens is in tenth `floor(10 i / n)`. The end-of-text token counts, too.
    pub fn help_by_position(&self) -> [HelpCounts; POSITION_BINS] {
        let mut counts = [HelpCounts::default(); POSITION_BINS];
        for decoded in &self.texts {
            let length = decoded.helped().count();
            for (position, helped) in decoded.helped().enumerate() {
                counts[position * POSITION_BINS / length].add(helped);
            }
        }
        counts
    }

    /// The help for each kind of token.
    ///
    /// The kinds are `word` (a token that starts a word), `rest of word`, `number`, `punctuation`, and `end` (the
    /// end-of-text token). Kinds that do not occur are absent.
    ///
    /// # Errors
    /// [`EvalError::Output`] if the tokenizer does not know a token.
    pub fn help_by_kind(&self, tokenizer: &Tokenizer) -> Result<BTreeMap<String, HelpCounts>, EvalError> {
        let mut counts: BTreeMap<String, HelpCounts> = BTreeMap::new();
        for (index, decoded) in self.texts.iter().enumerate() {
            for (position, (&token, helped)) in decoded.tokens.iter().zip(decoded.helped()).enumerate() {
                let kind = kind_of_token(token, position, tokenizer);
                let kind = kind.map_err(|source| EvalError::Output { index, source })?;
                counts.entry(kind.to_owned()).or_default().add(helped);
            }
        }
        Ok(counts)
    }
}

fn kind_of_token(token: u32, position: usize, tokenizer: &Tokenizer) -> Result<&'static str, TextError> {
    let text = tokenizer.decode(&[token])?;
    Ok(match text.trim() {
        _ if tokenizer.ends().contains(&token) => "end",
        word if !word.is_empty() && word.chars().all(char::is_numeric) => "number",
        word if !word.chars().any(char::is_alphanumeric) => "punctuation",
        _ if position == 0 || text.starts_with(' ') => "word",
        _ => "rest of word",
    })
}

#[cfg(test)]
mod tests {
    use wheels_decode::End;
    use wheels_text::TokenizerConfig;

    use super::*;
    use crate::system_output::tests::output;

    #[test]
    fn help_is_counted_in_tenths_of_each_text() {
        let counts = output(&["tsssssssssssssssssst", "st", ""], End::Eos).help_by_position();
        assert_eq!(counts.map(|part| part.tokens), [3, 2, 2, 2, 2, 3, 2, 2, 2, 2]);
        assert_eq!(counts.map(|part| part.helped), [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn help_is_counted_for_each_kind_of_token() {
        let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()]);
        let tokenizer = tokenizer.expect("one line is enough for the bytes");
        let mut output = output(&["tsstst"], End::Eos);
        // Each byte is a token, and the space is one too.
        output.texts[0].tokens = tokenizer.encode_with_end("ab 1.").expect("bytes are known");
        let counts = output.help_by_kind(&tokenizer).expect("tokens are known");
        let expected = [("end", 1, 1), ("number", 1, 1), ("punctuation", 0, 2), ("rest of word", 0, 1), ("word", 1, 1)];
        let expected = expected.map(|(kind, helped, tokens)| (kind.to_owned(), HelpCounts { helped, tokens }));
        assert_eq!(counts, BTreeMap::from(expected));
    }

    #[test]
    fn the_rate_of_no_tokens_is_zero() {
        assert_eq!(HelpCounts { helped: 1, tokens: 3 }.rate(), 1.0 / 3.0);
        assert_eq!(HelpCounts::default().rate(), 0.0);
    }
}
