//! How a tokenizer encodes texts, prompts and conversations.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tokenizers::normalizer::Range as Slice;
use tokenizers::{
    AddedVocabulary, Encoding, Model, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType, PostProcessor,
    PreTokenizedString, PreTokenizer, Token,
};

use crate::marks::{self, BREAK, CUT};
use crate::{Message, TextError, Tokenizer};

/// The special tokens that a prompt has before and after its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PromptTokens {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl PromptTokens {
    /// What the post-processor of a tokenizer adds. Without a post-processor, prompts end with `eos`: so do those of
    /// T5, and of all tokenizers that this crate trains.
    pub(crate) fn of(inner: &tokenizers::Tokenizer, eos: u32) -> tokenizers::Result<Self> {
        let Some(processor) = inner.get_post_processor() else {
            return Ok(Self { before: Vec::new(), after: vec![eos] });
        };
        // One token that stands for the text.
        const TEXT: u32 = u32::MAX;
        let text = Encoding::from_tokens(vec![Token::new(TEXT, "text".to_owned(), (0, 4))], 0);
        let processed = processor.process(text, None, true)?;
        let mut parts = processed.get_ids().split(|id| *id == TEXT).map(<[u32]>::to_vec);
        Ok(Self { before: parts.next().unwrap_or_default(), after: parts.next().unwrap_or_default() })
    }
}

/// Warns once of characters that a tokenizer does not know. Clones of a tokenizer warn once together.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnknownWarning(Arc<AtomicBool>);

impl UnknownWarning {
    fn warn(&self, piece: &str, text: &str) {
        const SHOWN: usize = 80;
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        let shown: String = text.chars().take(SHOWN).collect();
        let dots = if shown.len() < text.len() { "..." } else { "" };
        log::warn!(
            "the tokenizer has no token for {:?}, so that a model cannot read or write it; it is in the text \
             {shown:?}{dots} (later texts with unknown characters are not reported)",
            piece.trim_start_matches('\u{2581}')
        );
    }
}

impl Tokenizer {
    /// Encodes a text as token ids, without special tokens.
    ///
    /// The first time that a text has characters that the tokenizer does not know, a warning with an example is logged.
    ///
    /// # Errors
    /// If the tokenizer cannot encode the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let pieces = self.inner.get_added_vocabulary().extract_and_normalize(self.inner.get_normalizer(), text);
        self.ids(pieces, text)
    }

    /// Encodes a text as token ids with the end-of-text token at the end, as a model should write it.
    ///
    /// # Errors
    /// For the reasons of [`Tokenizer::encode`].
    pub fn encode_with_end(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode(text)?;
        ids.push(self.eos());
        Ok(ids)
    }

    /// Encodes a text as a model should read it, with the special tokens that the tokenizer's post-processor adds, such
    /// as `<s>` at the start.
    ///
    /// These are the ids that `tokenizer(text)` gives in Python. If tokenizer.json has no post-processor, an
    /// encoder-decoder's prompt has the end-of-text token at the end, and that of a decoder alone has nothing more. A
    /// tokenizer without a config.json beside it is taken to be that of an encoder-decoder.
    ///
    /// NLLB, mBART and mBART-50 have the token of the source language in a prompt. As in Python, it is that of
    /// `src_lang` in tokenizer_config.json, or else English, whatever tokenizer.json has.
    ///
    /// # Errors
    /// For the reasons of [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TextError> {
        Ok(self.as_prompt(&self.encode(text)?))
    }

    /// Puts the special tokens of a prompt around the ids of its text.
    pub(crate) fn as_prompt(&self, ids: &[u32]) -> Vec<u32> {
        [&self.prompt_tokens.before, ids, &self.prompt_tokens.after].concat()
    }

    /// Encodes a conversation with the model's chat template, up to the beginning of the assistant's next turn.
    ///
    /// These are the ids that `apply_chat_template` gives in Python, with one exception: the name of a special token in
    /// the content of a message is encoded as text and does not become that token. So no message can end its turn or
    /// begin another. `variables` are those of [`ChatTemplate::render`](crate::ChatTemplate::render).
    ///
    /// # Errors
    /// [`TextError::NoChatTemplate`] if the model has none. For the reasons of
    /// [`ChatTemplate::render`](crate::ChatTemplate::render) and of [`Tokenizer::encode`].
    pub fn encode_chat(&self, messages: &[Message], variables: &Map<String, Value>) -> Result<Vec<u32>, TextError> {
        let guarded: Vec<Message> =
            messages.iter().map(|message| Message::new(message.role, self.guard(&message.content))).collect();
        self.encode_guarded_chat(&guarded, variables)
    }

    /// Breaks the names of special tokens in a text; see [`marks::guard`].
    pub(crate) fn guard(&self, text: &str) -> String {
        let added = self.inner.get_added_vocabulary();
        let names = added.get_added_tokens_decoder().iter().filter(|(id, _)| self.is_special(**id));
        marks::guard(text, names.map(|(_, token)| token.content.as_str()))
    }

    /// Encodes a conversation whose contents may have marks.
    pub(crate) fn encode_guarded_chat(
        &self,
        messages: &[Message],
        variables: &Map<String, Value>,
    ) -> Result<Vec<u32>, TextError> {
        let template = self.chat_template().ok_or(TextError::NoChatTemplate)?;
        let text = template.render(messages, variables)?;
        let pieces = if text.contains([BREAK, CUT]) {
            self.marked_pieces(&text)
        } else {
            Ok(self.template_tokens.extract_and_normalize(self.inner.get_normalizer(), &text))
        };
        self.ids(pieces.map_err(|source| encode_error(&text, source))?, &text)
    }

    /// Splits a text with marks at the added tokens, and at each [`CUT`]. The marks are removed.
    ///
    /// A text without marks gives the pieces of [`AddedVocabulary::extract_and_normalize`], unless the tokenizer
    /// searches an added token in the normalised text. Control tokens are usually not of this kind.
    fn marked_pieces(&self, text: &str) -> tokenizers::Result<PreTokenizedString> {
        let mut clean = String::with_capacity(text.len());
        let mut pieces: Vec<(Range<usize>, Option<u32>)> = Vec::new();
        let found = self.template_tokens.extract_and_normalize(None::<&NormalizerWrapper>, text);
        for (piece, _, tokens) in found.get_splits(OffsetReferential::Original, OffsetType::None) {
            let id = tokens.as_ref().and_then(|tokens| tokens.first()).map(|token| token.id);
            for part in piece.split(CUT) {
                let start = clean.len();
                clean.extend(part.split(BREAK));
                if clean.len() > start {
                    pieces.push((start..clean.len(), id));
                }
            }
        }
        let mut split = PreTokenizedString::from(clean.as_str());
        split.split(|_, whole| {
            let mut parts = Vec::with_capacity(pieces.len());
            for (range, id) in &pieces {
                let part = whole.slice(Slice::Original(range.clone())).ok_or("a piece is not in its text")?;
                let tokens = id.map(|id| vec![Token::new(id, clean[range.clone()].to_owned(), (0, range.len()))]);
                parts.push((part, tokens));
            }
            Ok(parts)
        })?;
        if let Some(normalizer) = self.inner.get_normalizer() {
            split.normalize(|part| normalizer.normalize(part))?;
        }
        Ok(split)
    }

    /// The ids of a text that is split at its added tokens.
    fn ids(&self, pieces: PreTokenizedString, text: &str) -> Result<Vec<u32>, TextError> {
        self.try_ids(pieces, text).map_err(|source| encode_error(text, source))
    }

    fn try_ids(&self, mut pieces: PreTokenizedString, text: &str) -> tokenizers::Result<Vec<u32>> {
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::None);
        let added: Vec<bool> = splits.iter().map(|(_, _, tokens)| tokens.is_some()).collect();
        pieces.tokenize(|part| self.inner.get_model().tokenize(part.get()))?;
        let mut ids = Vec::new();
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::None);
        for ((part, _, tokens), added) in splits.into_iter().zip(added) {
            for token in tokens.iter().flatten() {
                if !added && Some(token.id) == self.special_ids.unk {
                    self.unknown_warning.warn(part.get(token.offsets.0..token.offsets.1).unwrap_or(part), text);
                }
                if added || !self.is_special(token.id) {
                    ids.push(token.id);
                } else {
                    // A Unigram model has "</s>" among its pieces, so this name in a text would become that token.
                    ids.extend(self.special_ids.unk.filter(|unk| !self.ends().contains(unk)));
                }
            }
        }
        Ok(ids)
    }
}

fn encode_error(text: &str, source: tokenizers::Error) -> TextError {
    TextError::Encode { chars: text.chars().count(), source }
}

/// The tokens that a template may write: those of a tokenizer, special ones among them.
pub(crate) fn template_tokens(inner: &tokenizers::Tokenizer) -> AddedVocabulary {
    let mut tokens = inner.get_added_vocabulary().clone();
    tokens.set_encode_special_tokens(false);
    tokens
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static TOKENIZERS: LazyLock<[Tokenizer; 2]> = LazyLock::new(|| {
        let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/models/en-it/student");
        [
            Tokenizer::from_dir(embedded).unwrap(),
            Tokenizer::from_bytes(include_bytes!("../tests/unigram.json")).unwrap(),
        ]
    });

    proptest! {
        #[test]
        fn texts_without_names_have_the_ids_of_the_tokenizers_library(text in prop_oneof![any::<String>(), "[a-z .]{0,40}"]) {
            for tokenizer in &*TOKENIZERS {
                let library = tokenizer.inner.encode_fast(text.as_str(), false).unwrap();
                prop_assert_eq!(tokenizer.encode(&text).unwrap(), library.get_ids());
            }
        }

        #[test]
        fn marks_that_break_no_name_change_nothing(text in any::<String>(), at in any::<prop::sample::Index>()) {
            for tokenizer in &*TOKENIZERS {
                let mut marked = text.replace([BREAK, CUT], "");
                let ids = tokenizer.encode(&marked).unwrap();
                let boundaries: Vec<usize> = marked.char_indices().map(|(at, _)| at).collect();
                marked.insert(if boundaries.is_empty() { 0 } else { *at.get(&boundaries) }, BREAK);
                let pieces = tokenizer.marked_pieces(&marked).unwrap();
                prop_assert_eq!(tokenizer.ids(pieces, &marked).unwrap(), ids);
            }
        }
    }
}
