//! From a server's names of tokens to the student's ids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use wheels_text::Tokenizer;

/// The ids of the tokens of a vocabulary by their texts.
pub(crate) struct TokenNames {
    /// None for a text that several tokens have.
    ids: HashMap<String, Option<u32>>,
}

impl TokenNames {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Self {
        let mut ids = HashMap::new();
        let mut add = |name: String, id: u32| match ids.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(Some(id));
            }
            Entry::Occupied(mut entry) if *entry.get() != Some(id) => {
                entry.insert(None);
            }
            Entry::Occupied(_) => {}
        };
        // A token after another one has its leading space, which some tokenizers remove at the start of a text.
        let before = tokenizer.encode("a").ok().and_then(|ids| ids.last().copied());
        let prefix = before.and_then(|id| tokenizer.decode(&[id]).ok()).unwrap_or_default();
        for id in 0..tokenizer.vocab_size() as u32 {
            if tokenizer.is_special(id) {
                if let Some(name) = tokenizer.token(id) {
                    add(name, id);
                }
                continue;
            }
            let sequence: Vec<u32> = before.into_iter().chain([id]).collect();
            let text = tokenizer.decode(&sequence).ok();
            let text = text.as_deref().and_then(|text| text.strip_prefix(prefix.as_str()));
            // Parts of characters have no text of their own.
            if let Some(text) = text.filter(|text| !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)) {
                add(text.to_owned(), id);
            }
        }
        Self { ids }
    }

    /// The id of a token that a server names: `token_id:ID`, or its text. None if no token or several have this text.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        match id_in(name) {
            Some(id) => Some(id),
            None => self.ids.get(name).copied().flatten(),
        }
    }
}

/// The id in a name such as `token_id:5`.
pub(crate) fn id_in(name: &str) -> Option<u32> {
    name.strip_prefix("token_id:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wheels_text::TokenizerConfig;

    use super::*;

    #[test]
    fn every_token_with_a_text_of_its_own_is_found() {
        let lines = ["a text editor for text".to_owned(), "una città".to_owned()];
        let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(300), lines).unwrap();
        let names = TokenNames::new(&tokenizer);
        for id in tokenizer.encode("a text editor, per text").unwrap() {
            let name = tokenizer.decode(&[id]).unwrap();
            assert_eq!(names.id(&name), Some(id), "{name:?}");
        }
        assert_eq!(names.id("</s>"), Some(tokenizer.eos()));
        assert_eq!(names.id("token_id:17"), Some(17));
        assert_eq!(names.id("\u{fffd}"), None);
        assert_eq!(names.id("no such token"), None);
    }
}
