//! Trains byte-level BPE tokenizers.

use std::collections::HashSet;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use crate::special_tokens::TOKENIZER_CONFIG;
use crate::{TextError, Tokenizer};

/// The token that ends a text.
const EOS: &str = "</s>";

/// What Python's `AutoTokenizer` needs to know beside tokenizer.json.
const CONFIG: &str = r#"{
  "tokenizer_class": "PreTrainedTokenizerFast",
  "pad_token": "<pad>",
  "eos_token": "</s>",
  "unk_token": "<unk>"
}
"#;

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

impl Tokenizer {
    /// Trains byte-level BPE on lines of text, with `<pad>`, `</s>` and `<unk>` as tokens 0, 1 and 2, as in T5.
    ///
    /// Every byte is a token and the text is not normalised, so decoding an encoded text gives exactly that text. The
    /// order of the lines does not change the tokenizer. Python's `AutoTokenizer` opens the folder into which it is saved
    /// and gives the same ids, `</s>` at the end included.
    ///
    /// # Errors
    /// If there are no lines, if the vocabulary is too small for the 256 bytes and the special tokens, or if the
    /// training itself fails.
    pub fn train<I>(config: TokenizerConfig, lines: I) -> Result<Self, TextError>
    where
        I: IntoIterator<Item = String>,
        I::IntoIter: Send,
    {
        let specials = ["<pad>", EOS, "<unk>"].map(|token| AddedToken::from(token, true));
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
        let mut inner: tokenizers::Tokenizer = inner.into();
        let eos = inner.token_to_id(EOS).expect("it is a special token of the training");
        let mut with_end = TemplateProcessing::builder();
        with_end.try_single(format!("$A {EOS}")).expect("a valid template").special_tokens(vec![(EOS, eos)]);
        let with_end = with_end.build().expect("a template with a known token");
        inner.with_post_processor(Some(with_end));
        let tokenizer = Self::from_inner(inner)?.with_file_beside(TOKENIZER_CONFIG, CONFIG);
        if tokenizer.vocab_size() < config.vocab_size {
            log::info!("the vocabulary has {} of the {} tokens requested", tokenizer.vocab_size(), config.vocab_size);
        }
        Ok(tokenizer)
    }
}
