//! Encodes text as token ids and decodes token ids to text.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use crate::{TextError, TextStream, files};

const FILE: &str = "tokenizer.json";
const PAD: &str = "<pad>";
const EOS: &str = "</s>";
const UNK: &str = "<unk>";

/// The settings for training a byte-level BPE tokenizer; see [`Tokenizer::train`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// The maximum size of the vocabulary, including the special tokens and the 256 bytes. Default: 8,000.
    pub vocab_size: usize,
    /// The number of times that a pair of tokens must occur before it becomes one token. Default: 2.
    pub min_frequency: u64,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { vocab_size: 8000, min_frequency: 2 }
    }
}

impl TokenizerConfig {
    /// Sets the maximum size of the vocabulary.
    #[must_use]
    pub fn with_vocab_size(self, vocab_size: usize) -> Self {
        Self { vocab_size, ..self }
    }

    /// Sets the number of times that a pair of tokens must occur before it becomes one token.
    #[must_use]
    pub fn with_min_frequency(self, min_frequency: u64) -> Self {
        Self { min_frequency, ..self }
    }
}

/// A tokenizer that reads and writes Hugging Face's tokenizer.json.
///
/// It reads every tokenizer.json that has the tokens `<pad>` and `</s>`, such as T5's Unigram tokenizers, and it trains
/// byte-level BPE tokenizers. The settings for padding and truncation in a file are ignored, because a text must not be
/// cut without notice.
///
/// The name of a special token inside a text does not become that token, so no input can end itself or ask for help.
/// Byte-level BPE encodes the name like any other characters. A Unigram model may have the name among its pieces; it is
/// then encoded as `<unk>`, if the vocabulary has that token.
///
/// ```
/// use wheels_text::{Tokenizer, TokenizerConfig};
///
/// let lines = ["a text editor", "un editor di testo"].map(String::from);
/// let mut tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(300), lines)?;
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
    /// If the folder has no such file, or for the reasons of [`Tokenizer::from_file`].
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
    /// If the file cannot be read or parsed, or has no `<pad>` or no `</s>`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        Self::parse(&files::read(path)?, path.to_owned())
    }

    /// Opens the content of a tokenizer.json.
    ///
    /// # Errors
    /// If the content cannot be parsed, or has no `<pad>` or no `</s>`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TextError> {
        Self::parse(bytes, PathBuf::from("<bytes>"))
    }

    fn parse(bytes: &[u8], origin: PathBuf) -> Result<Self, TextError> {
        let inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|source| TextError::BadTokenizer { origin, source })?;
        Self::wrap(inner)
    }

    fn wrap(mut inner: tokenizers::Tokenizer) -> Result<Self, TextError> {
        inner.with_truncation(None).expect("switching truncation off cannot fail");
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

    /// Trains byte-level BPE on lines of text, with `<pad>`, `</s>` and `<unk>` as tokens 0, 1 and 2, as in T5.
    ///
    /// Every byte is a token and the text is not normalised, so decoding an encoded text gives exactly that text. The
    /// order of the lines does not change the tokenizer.
    ///
    /// # Errors
    /// If there are no lines, if the vocabulary is too small for the 256 bytes and the special tokens, or if the
    /// training itself fails.
    pub fn train<I>(config: TokenizerConfig, lines: I) -> Result<Self, TextError>
    where
        I: IntoIterator<Item = String>,
        I::IntoIter: Send,
    {
        let specials = [PAD, EOS, UNK].map(|token| AddedToken::from(token, true));
        let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
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
            log::info!("the vocabulary has {} of the {} tokens requested", tokenizer.vocab_size, config.vocab_size);
        }
        Ok(tokenizer)
    }

    /// Writes tokenizer.json into a folder atomically. Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let json = self.inner.to_string(true).expect("a tokenizer that was read or trained can be written");
        files::write_atomically(folder.as_ref().join(FILE), json)
    }

    /// Encodes a text as token ids, without special tokens.
    ///
    /// # Errors
    /// If the tokenizer cannot encode the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|source| TextError::Encode { chars: text.chars().count(), source })?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(unk) = self.unk {
            // A Unigram model has "</s>" among its pieces, so this name in a text would become the special token.
            for id in &mut ids {
                if self.special.contains(id) {
                    *id = unk;
                }
            }
        }
        Ok(ids)
    }

    /// Encodes a text as token ids with the end-of-text token at the end.
    ///
    /// # Errors
    /// For the reasons of [`Tokenizer::encode`].
    pub fn encode_with_end(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode(text)?;
        ids.push(self.eos());
        Ok(ids)
    }

    /// Decodes token ids to text. Special tokens are left out.
    ///
    /// # Errors
    /// If an id is not in the vocabulary, or if the tokenizer cannot decode the tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        if let Some(&id) = ids.iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            return Err(TextError::UnknownId { id, vocab_size: self.vocab_size });
        }
        self.inner.decode(ids, true).map_err(|source| TextError::Decode { tokens: ids.len(), source })
    }

    /// A stream that decodes tokens to text while they are generated.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }

    /// The size of the vocabulary, including added tokens: the largest id plus 1.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of the padding token. In T5 it is also the start token of the decoder.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The id of the end-of-text token.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The ids of the special tokens that no text contains, help tokens included, ascending: all except the end-of-text
    /// token.
    pub fn suppressed_ids(&self) -> Vec<u32> {
        self.special.iter().copied().filter(|&id| id != self.eos()).collect()
    }

    /// Whether an id is a special token, which has no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// The token with this id, as it is written in the vocabulary. `None` if there is no such id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Adds the help token `<help:NAME>`, with which a student asks the expert NAME for help, and returns its id.
    ///
    /// The new id is the old size of the vocabulary. If the token exists already, it keeps its id.
    ///
    /// # Errors
    /// If the name is empty or has characters other than a to z, digits, '-' and '_'. If the vocabulary has gaps, so
    /// that the token would not get the next free id.
    pub fn add_help_token(&mut self, name: &str) -> Result<u32, TextError> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(TextError::HelpName { name: name.to_owned() });
        }
        let token = help_token(name);
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

    /// The id of the help token `<help:NAME>`.
    ///
    /// # Errors
    /// If there is no such token. The message lists the help tokens that exist.
    pub fn help_token(&self, name: &str) -> Result<u32, TextError> {
        self.inner.token_to_id(&help_token(name)).ok_or_else(|| TextError::UnknownHelp {
            name: name.to_owned(),
            known: self.help_tokens().into_iter().map(|(name, _)| name).collect(),
        })
    }

    /// The names of all experts that have a help token, each with the token's id, ascending by id.
    pub fn help_tokens(&self) -> Vec<(String, u32)> {
        let mut experts = Vec::new();
        for &id in &self.special {
            let token = self.token(id);
            let name = token.as_deref().and_then(|token| token.strip_prefix("<help:")?.strip_suffix('>'));
            if let Some(name) = name {
                experts.push((name.to_owned(), id));
            }
        }
        experts
    }
}

fn help_token(name: &str) -> String {
    format!("<help:{name}>")
}
