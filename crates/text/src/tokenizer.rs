//! A tokenizer with its special tokens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokenizers::Model as _;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, AddedVocabulary};

use crate::chat_template::{self, ChatTemplate};
use crate::encoding::{PromptTokens, UnknownWarning, template_tokens};
use crate::files::ModelFiles;
use crate::special_tokens::{
    LanguageTokens, SPECIAL_TOKENS_MAP, SpecialIds, SpecialTokens, TOKENIZER_CONFIG, family_without_converter,
};
use crate::{TextError, TextStream, files};

const FILE: &str = "tokenizer.json";
/// The files beside tokenizer.json that belong to the tokenizer.
const BESIDE: [&str; 3] = [TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, chat_template::FILE];
/// The tokens that pad and end a text if no file names others.
const DEFAULTS: [&str; 2] = ["<pad>", "</s>"];
/// Files from which Hugging Face's library makes a tokenizer.
const SOURCES: [&str; 6] =
    ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json", "vocab.txt", "source.spm"];

/// A tokenizer that reads and writes Hugging Face's tokenizer.json.
///
/// It reads every tokenizer.json, and it trains byte-level BPE tokenizers. The special tokens are those that
/// tokenizer_config.json or special_tokens_map.json name, or whose ids are in generation_config.json or config.json.
/// The settings for padding and truncation in a file are ignored, because a text must not be cut without notice.
///
/// The name of a special token inside a text does not become that token, so no input can end itself or ask for help.
/// Byte-level BPE encodes the name like any other characters. A Unigram model may have the name among its pieces; it is
/// then encoded as `<unk>`, or left out if there is no such token. Added tokens that are not special, such as
/// Qwen3's `<think>`, are recognised in a text.
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
    pub(crate) inner: tokenizers::Tokenizer,
    /// The added tokens as they are found in what a chat template wrote. `inner` finds no special tokens in a text.
    pub(crate) template_tokens: AddedVocabulary,
    pub(crate) special_ids: SpecialIds,
    pub(crate) prompt_tokens: PromptTokens,
    pub(crate) unknown_warning: UnknownWarning,
    chat_template: Option<ChatTemplate>,
    special: BTreeSet<u32>,
    vocab_size: usize,
    folder: TokenizerFolder,
}

/// What the files beside a tokenizer.json say, and their content, to be saved again.
#[derive(Clone, Debug, Default)]
struct TokenizerFolder {
    tokens: SpecialTokens,
    content: Vec<(&'static str, Vec<u8>)>,
}

impl Tokenizer {
    /// Opens the tokenizer in a model's folder: tokenizer.json with tokenizer_config.json, special_tokens_map.json,
    /// chat_template.jinja, generation_config.json and config.json, of which only the first must exist.
    ///
    /// # Errors
    /// If the folder has no tokenizer.json, or if a file cannot be read or parsed. If no file says which token ends a
    /// text and there is no `</s>`.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::open(ModelFiles::Folder(folder.as_ref()))
    }

    /// Opens the tokenizer among the files of a model in memory, each with its name. Error messages use `origin` as the
    /// name of the folder.
    ///
    /// # Errors
    /// As [`Tokenizer::from_dir`].
    pub fn from_files(origin: &str, files: &[(&str, &[u8])]) -> Result<Self, TextError> {
        Self::open(ModelFiles::Memory { origin, files })
    }

    /// Opens the content of a tokenizer.json without the files beside it.
    ///
    /// # Errors
    /// If the content cannot be parsed, or has no `</s>`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TextError> {
        Self::from_inner(parse(bytes, "<bytes>".into())?)
    }

    fn open(files: ModelFiles<'_>) -> Result<Self, TextError> {
        let Some(bytes) = files.read(FILE)? else {
            let folder = files.folder().to_owned();
            let Some(source_file) = SOURCES.into_iter().find(|source| files.contains(source)) else {
                return Err(TextError::NoTokenizer { folder });
            };
            return Err(match family_without_converter(files)? {
                Some(family) => TextError::NoConverter { folder, family },
                None => TextError::SlowTokenizer { folder, source_file },
            });
        };
        let mut content = Vec::new();
        for name in BESIDE {
            content.extend(files.read(name)?.map(|bytes| (name, bytes.into_owned())));
        }
        let folder = TokenizerFolder { tokens: SpecialTokens::read(files)?, content };
        let mut inner = parse(&bytes, files.path(FILE))?;
        if inner.get_post_processor().is_none() && folder.tokens.encoder_decoder == Some(false) {
            // Hugging Face's library does the same: a post-processor that adds nothing.
            let nothing = TemplateProcessing::builder().try_single("$A").expect("valid").build().expect("valid");
            inner.with_post_processor(Some(nothing));
        }
        if let Some(language) = &folder.tokens.language {
            let processor = language_processor(&inner, language, folder.tokens.eos_name());
            if let Some(processor) = processor.map_err(|source| TextError::PostProcessor { source })? {
                inner.with_post_processor(Some(processor));
            }
        }
        let mut tokenizer = Self::wrap(inner, folder)?;
        let roles = tokenizer.folder.tokens.roles();
        tokenizer.chat_template = ChatTemplate::read(files, roles)?;
        Ok(tokenizer)
    }

    /// A tokenizer without the files beside it.
    pub(crate) fn from_inner(inner: tokenizers::Tokenizer) -> Result<Self, TextError> {
        Self::wrap(inner, TokenizerFolder::default())
    }

    /// The same tokenizer with the content of a file that is saved beside it.
    pub(crate) fn with_file_beside(mut self, name: &'static str, content: &str) -> Self {
        self.folder.content.push((name, content.into()));
        self
    }

    fn wrap(mut inner: tokenizers::Tokenizer, folder: TokenizerFolder) -> Result<Self, TextError> {
        inner.with_truncation(None).expect("switching truncation off cannot fail");
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let vocab_size = inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let special_ids = folder.tokens.ids(|name| inner.token_to_id(name), vocab_size)?;
        // Not every tokenizer.json marks these as special, but no text may have them. A token of which only the id is
        // given may be an ordinary one: some files pad with "!".
        let used = |id: Option<u32>| id.is_some_and(|id| id == special_ids.pad || special_ids.ends.contains(&id));
        let defaults = DEFAULTS.into_iter().filter(|name| used(inner.token_to_id(name)));
        let names = folder.tokens.names().chain(defaults);
        let unmarked: Vec<AddedToken> = names
            .filter(|name| inner.token_to_id(name).is_some() && !inner.get_added_vocabulary().is_special_token(name))
            .map(|name| AddedToken::from(name, true))
            .collect();
        inner.add_special_tokens(&unmarked);
        let added = inner.get_added_vocabulary();
        let special = added
            .get_added_tokens_decoder()
            .iter()
            .filter(|(_, token)| token.special || added.is_special_token(&token.content))
            .map(|(id, _)| *id)
            .collect();
        let prompt_tokens =
            PromptTokens::of(&inner, special_ids.ends[0]).map_err(|source| TextError::PostProcessor { source })?;
        Ok(Self {
            template_tokens: template_tokens(&inner),
            special_ids,
            prompt_tokens,
            unknown_warning: UnknownWarning::default(),
            chat_template: None,
            special,
            vocab_size,
            folder,
            inner,
        })
    }

    /// Writes tokenizer.json into a folder atomically, with the files beside it from which the tokenizer was opened:
    /// tokenizer_config.json, special_tokens_map.json and chat_template.jinja. Creates the folder if it does not exist.
    /// Such files of another tokenizer are removed.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let folder = folder.as_ref();
        let json = self.inner.to_string(true).expect("a tokenizer that was read or trained can be written");
        files::write_atomically(folder.join(FILE), json)?;
        for name in BESIDE {
            let path = folder.join(name);
            match self.folder.content.iter().find(|(file, _)| *file == name) {
                Some((_, content)) => files::write_atomically(path, content)?,
                None => files::remove(path)?,
            }
        }
        Ok(())
    }

    /// Decodes token ids to text. Special tokens are left out.
    ///
    /// The text is exactly what the tokens spell. The setting `clean_up_tokenization_spaces` of tokenizer_config.json is
    /// not applied: transformers, too, ignores it for BPE, and without it a text that is decoded piece by piece equals
    /// the whole.
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
    ///
    /// A model without a padding token pads with its end-of-text token.
    pub fn pad(&self) -> u32 {
        self.special_ids.pad
    }

    /// The id of the end-of-text token: the token with which a text should end.
    pub fn eos(&self) -> u32 {
        self.special_ids.ends[0]
    }

    /// The ids of all tokens that end a text, with [`Tokenizer::eos`] first. A chat model may have several.
    pub fn ends(&self) -> &[u32] {
        &self.special_ids.ends
    }

    /// The ids of the special tokens that no text contains, help tokens included, ascending: all except those that end
    /// a text.
    pub fn suppressed_ids(&self) -> Vec<u32> {
        self.special.iter().copied().filter(|id| !self.ends().contains(id)).collect()
    }

    /// The template of a chat model, with which [`Tokenizer::encode_chat`] writes conversations. `None` if the model has
    /// no template, or several and none is named `default`.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    /// The first id that is another token in `other`, help tokens of this tokenizer left out. `None` if every id of this
    /// tokenizer means the same in both.
    ///
    /// `other` may have more tokens that were added to its vocabulary, but no more of those that texts are split into.
    pub fn first_difference(&self, other: &Self) -> Option<u32> {
        let help: Vec<u32> = self.help_tokens().into_iter().map(|(_, id)| id).collect();
        let learned = other.inner.get_model();
        let differs = |id: u32| self.token(id) != other.token(id);
        let own = (0..self.vocab_size as u32).find(|&id| !help.contains(&id) && differs(id));
        own.or_else(|| (0..other.vocab_size as u32).find(|&id| differs(id) && learned.id_to_token(id).is_some()))
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
        let chat_template = self.chat_template.take();
        *self = Self { chat_template, ..Self::wrap(inner, self.folder.clone())? };
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

/// What puts the tokens of a language around a prompt. `None` if the vocabulary lacks one of them.
fn language_processor(
    inner: &tokenizers::Tokenizer,
    LanguageTokens { language, first }: &LanguageTokens,
    eos: &str,
) -> tokenizers::Result<Option<TemplateProcessing>> {
    let (Some(language_id), Some(eos_id)) = (inner.token_to_id(language), inner.token_to_id(eos)) else {
        return Ok(None);
    };
    let single = if *first { [language, "$A", eos] } else { ["$A", eos, language] };
    let tokens = vec![(language.as_str(), language_id), (eos, eos_id)];
    Ok(Some(TemplateProcessing::builder().try_single(single.to_vec())?.special_tokens(tokens).build()?))
}

fn help_token(name: &str) -> String {
    format!("<help:{name}>")
}

fn parse(bytes: &[u8], origin: PathBuf) -> Result<tokenizers::Tokenizer, TextError> {
    tokenizers::Tokenizer::from_bytes(bytes).map_err(|source| TextError::BadTokenizer { origin, source })
}
