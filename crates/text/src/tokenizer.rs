//! Text to token ids and back.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
    pre_tokenizers::byte_level::ByteLevel,
};

use crate::{TextError, TextStream, files};

const FILE: &str = "tokenizer.json";
const PAD: &str = "<pad>";
const EOS: &str = "</s>";
const UNK: &str = "<unk>";

/// How to train a byte-level tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainTokenizer {
    /// The most tokens to have, the special ones and the 256 bytes included.
    pub vocab_size: usize,
    /// How often a pair of tokens must occur to become one.
    pub min_frequency: u64,
}

impl Default for TrainTokenizer {
    /// 8,000 tokens from pairs seen twice or more.
    fn default() -> Self {
        Self { vocab_size: 8000, min_frequency: 2 }
    }
}

/// A tokenizer as Hugging Face's tokenizer.json describes it.
///
/// Reads any tokenizer.json with `<pad>` and `</s>` (T5's Unigram among them) and trains byte-level BPE. Text is only
/// ever text: the name of a special token inside it is encoded like any other characters, never as that token, so
/// that no input can end itself or ask for help. Padding and truncation that a file prescribes are switched off, for
/// nothing may be cut silently.
///
/// ```
/// use wheels_text::{TrainTokenizer, Tokenizer};
///
/// let lines = ["a text editor", "un editor di testo"].map(String::from);
/// let mut tokenizer = Tokenizer::train(TrainTokenizer { vocab_size: 300, min_frequency: 2 }, lines)?;
/// let ids = tokenizer.encode("un editor")?;
/// assert_eq!(tokenizer.decode(&ids)?, "un editor");
///
/// let next = tokenizer.vocab_size() as u32;
/// assert_eq!(tokenizer.add_help_token("teacher")?, next);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pad: u32,
    eos: u32,
    unk: Option<u32>,
    special: BTreeSet<u32>,
    vocab_size: usize,
}

impl Tokenizer {
    /// Opens the tokenizer.json in a model's folder.
    ///
    /// # Errors
    /// If there is none, or as [`Tokenizer::from_file`].
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        let folder = folder.as_ref();
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(TextError::NoTokenizer { folder: folder.to_owned() });
        }
        Self::from_file(path)
    }

    /// Opens a tokenizer.json.
    ///
    /// # Errors
    /// If the file cannot be read, does not parse, or lacks `<pad>` or `</s>`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        Self::parse(&files::read(path)?, path.to_owned())
    }

    /// Opens the content of a tokenizer.json.
    ///
    /// # Errors
    /// If it does not parse, or lacks `<pad>` or `</s>`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TextError> {
        Self::parse(bytes, PathBuf::from("<bytes>"))
    }

    fn parse(bytes: &[u8], origin: PathBuf) -> Result<Self, TextError> {
        let inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|source| TextError::BadTokenizer { origin, source })?;
        Self::wrap(inner)
    }

    fn wrap(mut inner: tokenizers::Tokenizer) -> Result<Self, TextError> {
        inner.with_truncation(None).expect("switching truncation off needs no room for special tokens");
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let special = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter_map(|(id, token)| token.special.then_some(id))
            .collect();
        let id = |token| inner.token_to_id(token).ok_or(TextError::MissingToken { token });
        Ok(Self {
            pad: id(PAD)?,
            eos: id(EOS)?,
            unk: inner.token_to_id(UNK),
            special,
            vocab_size: inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1),
            inner,
        })
    }

    /// Trains byte-level BPE on lines of text, with `<pad>`, `</s>` and `<unk>` as tokens 0, 1 and 2 in T5's order.
    ///
    /// Every byte is a token and nothing is normalised, so that any text comes back exactly. Equal lines in any order
    /// give an equal tokenizer.
    ///
    /// # Errors
    /// If there are no lines, or the vocabulary has no room for the bytes.
    pub fn train<I>(config: TrainTokenizer, lines: I) -> Result<Self, TextError>
    where
        I: IntoIterator<Item = String>,
        I::IntoIter: Send,
    {
        let specials = [PAD, EOS, UNK].map(|token| AddedToken::from(token, true));
        let alphabet: std::collections::HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        let least = specials.len() + alphabet.len();
        if config.vocab_size < least {
            return Err(TextError::SmallVocab { vocab_size: config.vocab_size, least });
        }
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return Err(TextError::NothingToTrain);
        }
        let mut trainer = TrainerWrapper::from(
            BpeTrainer::builder()
                .vocab_size(config.vocab_size)
                .min_frequency(config.min_frequency)
                .special_tokens(specials.to_vec())
                .initial_alphabet(alphabet)
                .show_progress(false)
                .build(),
        );
        let bytes = ByteLevel::default().add_prefix_space(false).trim_offsets(false);
        let mut inner: TokenizerImpl<_, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper> =
            TokenizerImpl::new(BPE::default().into());
        inner.with_pre_tokenizer(Some(bytes)).with_decoder(Some(bytes));
        inner.train(&mut trainer, lines).map_err(|source| TextError::Train { source })?;
        let tokenizer = Self::wrap(inner.into())?;
        if tokenizer.vocab_size < config.vocab_size {
            log::info!("the text gave {} tokens of the {} asked for", tokenizer.vocab_size, config.vocab_size);
        }
        Ok(tokenizer)
    }

    /// Writes tokenizer.json into a folder, atomically; the folder is made if it is missing.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let json = self.inner.to_string(true).expect("a tokenizer that was read or trained can be written");
        files::write_atomically(folder.as_ref().join(FILE), json)
    }

    /// The tokens of a text, without any special ones.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|source| TextError::Encode { chars: text.chars().count(), source })?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(unk) = self.unk {
            // A Unigram model holds "</s>" among its pieces and would find it in a text.
            for id in &mut ids {
                if self.special.contains(id) {
                    *id = unk;
                }
            }
        }
        Ok(ids)
    }

    /// The tokens of a whole text and its end mark: what a model reads, or is to write.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_end(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode(text)?;
        ids.push(self.eos());
        Ok(ids)
    }

    /// The text of tokens, without the special ones.
    ///
    /// # Errors
    /// If an id is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        if let Some(&id) = ids.iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            return Err(TextError::UnknownId { id, vocab_size: self.vocab_size });
        }
        self.inner.decode(ids, true).map_err(|source| TextError::Decode { tokens: ids.len(), source })
    }

    /// A stream that turns tokens into printable text as they arrive.
    #[must_use]
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }

    /// The number of token ids, added tokens included: one more than the largest id.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id that fills up the rows of a batch; T5 also starts every output with it.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The id that ends a text.
    #[must_use]
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The id that stands for what the vocabulary cannot say, if there is one.
    #[must_use]
    pub fn unk(&self) -> Option<u32> {
        self.unk
    }

    /// The ids that are marks and not text, in order.
    #[must_use]
    pub fn special_ids(&self) -> Vec<u32> {
        self.special.iter().copied().collect()
    }

    /// The marks that no text is written with: all but the end-of-text mark.
    #[must_use]
    pub fn unwritten_ids(&self) -> Vec<u32> {
        self.special.iter().copied().filter(|&id| id != self.eos()).collect()
    }

    /// Whether an id is a mark and not text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// The token behind an id as the vocabulary spells it.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Adds the token `<help:NAME>`, with which a student calls an expert, as the next id, and returns that id.
    ///
    /// A name that is there already keeps its id.
    ///
    /// # Errors
    /// If the name is not made of lower-case letters, digits, '-' and '_', or the next id is not free.
    pub fn add_help_token(&mut self, name: &str) -> Result<u32, TextError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(TextError::HelpName { name: name.to_owned() });
        }
        let token = help(name);
        if let Some(id) = self.inner.token_to_id(&token) {
            return Ok(id);
        }
        let mut inner = self.inner.clone();
        inner.add_special_tokens(&[AddedToken::from(token.as_str(), true)]);
        let id = inner.token_to_id(&token).expect("a token that was just added has an id");
        let expected = u32::try_from(self.vocab_size).expect("token ids fit in 32 bits");
        if id != expected {
            return Err(TextError::HelpId { name: name.to_owned(), id, expected });
        }
        *self = Self::wrap(inner)?;
        Ok(id)
    }

    /// The id of `<help:NAME>`.
    ///
    /// # Errors
    /// If there is no such token; the message lists those that there are.
    pub fn help_token(&self, name: &str) -> Result<u32, TextError> {
        self.inner.token_to_id(&help(name)).ok_or_else(|| TextError::UnknownHelp {
            name: name.to_owned(),
            known: self.help_tokens().into_iter().map(|(name, _)| name).collect(),
        })
    }

    /// The experts that the student can call, with their ids, in the order of the ids.
    #[must_use]
    pub fn help_tokens(&self) -> Vec<(String, u32)> {
        let name = |id: &u32| {
            let token = self.token(*id)?;
            let name = token.strip_prefix("<help:")?.strip_suffix('>')?;
            Some((name.to_owned(), *id))
        };
        self.special.iter().filter_map(name).collect()
    }
}

fn help(name: &str) -> String {
    format!("<help:{name}>")
}
