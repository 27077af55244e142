//! The special tokens of a model: which token ends a text, which one pads, and so on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::TextError;
use crate::files::ModelFiles;

pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(crate) const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
const MODEL_CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";

/// The fields of tokenizer_config.json that name a special token.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// What the files beside a tokenizer.json say about its special tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpecialTokens {
    /// The name of each special token that has a role, such as `eos_token`, with the file that has it.
    named: BTreeMap<&'static str, (String, PathBuf)>,
    /// The names of the other special tokens.
    more: Vec<String>,
    /// The ids that end a text, with the file that has them.
    ends: Option<(Vec<u32>, PathBuf)>,
    /// The id of the padding token.
    pad: Option<u32>,
    /// Whether the model has an encoder and a decoder. `None` if there is no config.json.
    pub(crate) encoder_decoder: Option<bool>,
    /// The tokens of a language around a prompt.
    pub(crate) language: Option<LanguageTokens>,
    /// The folder, for error messages.
    folder: PathBuf,
}

/// The language of the prompts of a multilingual translator: NLLB, mBART or mBART-50.
#[derive(Clone, Debug)]
pub(crate) struct LanguageTokens {
    /// The token of the language.
    pub(crate) language: String,
    /// Whether it comes before the text, or after the end-of-text token.
    pub(crate) first: bool,
}

impl LanguageTokens {
    /// As in transformers, which takes the language from `src_lang` and not from the post-processor in tokenizer.json.
    fn read(tokenizer: &Map<String, Value>, model: &Map<String, Value>) -> Option<Self> {
        let (default, first) = match tokenizer_class(tokenizer, model)? {
            class if class.starts_with("Nllb") => {
                let legacy = tokenizer.get("legacy_behaviour").and_then(Value::as_bool);
                ("eng_Latn", !legacy.unwrap_or_default())
            }
            class if class.starts_with("MBart50") => ("en_XX", true),
            class if class.starts_with("MBart") => ("en_XX", false),
            _ => return None,
        };
        let language = tokenizer.get("src_lang").and_then(Value::as_str).unwrap_or(default);
        Some(Self { language: language.to_owned(), first })
    }
}

/// The name of the tokenizer's class in transformers. `None` if no file says it.
pub(crate) fn tokenizer_class<'a>(tokenizer: &'a Map<String, Value>, model: &'a Map<String, Value>) -> Option<&'a str> {
    let stated = [tokenizer, model].into_iter().find_map(|fields| fields.get("tokenizer_class")?.as_str());
    stated.or_else(|| match model.get("model_type")?.as_str()? {
        "m2m_100" => Some("M2M100Tokenizer"),
        "marian" => Some("MarianTokenizer"),
        "mbart" => Some("MBartTokenizer"),
        "nllb-moe" => Some("NllbTokenizer"),
        _ => None,
    })
}

/// The family of a model for whose tokenizer transformers has no converter to tokenizer.json. `None` for all others.
pub(crate) fn family_without_converter(files: ModelFiles<'_>) -> Result<Option<&'static str>, TextError> {
    let tokenizer = files.object(TOKENIZER_CONFIG)?;
    let model = files.object(MODEL_CONFIG)?;
    Ok(match tokenizer_class(&tokenizer, &model) {
        Some(class) if class.starts_with("Marian") => Some("Marian"),
        Some(class) if class.starts_with("M2M100") => Some("M2M100"),
        // No other family has a file of this name.
        None if files.contains("source.spm") => Some("Marian"),
        _ => None,
    })
}

/// The ids of the special tokens that this crate uses.
#[derive(Clone, Debug)]
pub(crate) struct SpecialIds {
    pub(crate) pad: u32,
    /// The ids that end a text. The first one is the tokenizer's own.
    pub(crate) ends: Vec<u32>,
    pub(crate) unk: Option<u32>,
}

impl SpecialTokens {
    /// Reads tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json. Each may be
    /// missing.
    pub(crate) fn read(files: ModelFiles<'_>) -> Result<Self, TextError> {
        let tokenizer = files.object(TOKENIZER_CONFIG)?;
        let map = files.object(SPECIAL_TOKENS_MAP)?;
        let generation = files.object(GENERATION_CONFIG)?;
        let model = files.object(MODEL_CONFIG)?;
        // As in transformers: the older file has precedence, but not over a newer file that lists all added tokens.
        let mut sources = [(&map, SPECIAL_TOKENS_MAP), (&tokenizer, TOKENIZER_CONFIG)];
        if tokenizer.contains_key("added_tokens_decoder") {
            sources.reverse();
        }
        let mut tokens = Self { folder: files.folder().to_owned(), ..Self::default() };
        for (fields, file) in sources {
            for field in NAMED {
                if let Some(name) = fields.get(field).and_then(token_name) {
                    tokens.named.entry(field).or_insert_with(|| (name, files.path(file)));
                }
            }
            for field in ["additional_special_tokens", "extra_special_tokens"] {
                let listed = fields.get(field).and_then(Value::as_array);
                tokens.more.extend(listed.into_iter().flatten().filter_map(token_name));
            }
        }
        for (fields, file) in [(&generation, GENERATION_CONFIG), (&model, MODEL_CONFIG)] {
            if tokens.ends.is_none()
                && let Some(value) = fields.get("eos_token_id").filter(|value| !value.is_null())
            {
                let path = files.path(file);
                let ends = token_ids(value).map_err(|value| TextError::TokenIds {
                    path: path.clone(),
                    field: "eos_token_id",
                    value,
                })?;
                tokens.ends = (!ends.is_empty()).then_some((ends, path));
            }
            // Some files have -1 for "no padding token".
            tokens.pad = tokens.pad.or(fields.get("pad_token_id").and_then(token_id));
        }
        tokens.language = LanguageTokens::read(&tokenizer, &model);
        tokens.encoder_decoder = files.contains(MODEL_CONFIG).then(|| is_encoder_decoder(&model));
        Ok(tokens)
    }

    /// The name of the token that ends a text.
    pub(crate) fn eos_name(&self) -> &str {
        self.named.get("eos_token").map_or("</s>", |(name, _)| name)
    }

    /// The names of all special tokens.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.values().map(|(name, _)| name).chain(&self.more).map(String::as_str)
    }

    /// The names of the special tokens that have a role, such as `bos_token`: the variables of a chat template.
    pub(crate) fn roles(&self) -> BTreeMap<String, String> {
        self.named.iter().map(|(field, (name, _))| ((*field).to_owned(), name.clone())).collect()
    }

    /// Finds the ids in a vocabulary. `id` gives the id of a token.
    ///
    /// A role that no file gives is that of T5's token: `</s>`, `<pad>`, `<unk>`. Without a padding token, the
    /// end-of-text token pads, as users of transformers do it.
    pub(crate) fn ids(&self, id: impl Fn(&str) -> Option<u32>, vocab_size: usize) -> Result<SpecialIds, TextError> {
        let named = |field| self.named.get(field).and_then(|(name, _)| id(name));
        let mut ends = Vec::from_iter(named("eos_token"));
        if let (true, Some((token, path))) = (ends.is_empty(), self.named.get("eos_token")) {
            return Err(TextError::UnknownEndToken { path: path.clone(), token: token.clone() });
        }
        if let Some((more, path)) = &self.ends {
            if let (true, Some(&id)) = (ends.is_empty(), more.iter().find(|id| **id as usize >= vocab_size)) {
                return Err(TextError::UnknownEnd { path: path.clone(), id, vocab_size });
            }
            for id in more {
                if !ends.contains(id) {
                    ends.push(*id);
                }
            }
        }
        if ends.is_empty() {
            ends.extend(id("</s>"));
        }
        let Some(&eos) = ends.first() else {
            return Err(TextError::NoEnd { folder: self.folder.clone() });
        };
        // A name that the vocabulary lacks is no error here: not every model needs these two.
        let pad = named("pad_token").or(self.pad.filter(|id| (*id as usize) < vocab_size)).or_else(|| id("<pad>"));
        let unk = named("unk_token").or_else(|| id("<unk>"));
        Ok(SpecialIds { pad: pad.unwrap_or(eos), ends, unk })
    }
}

/// The name of a token: a string, or an object whose field `content` has it.
fn token_name(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The ids in the field `eos_token_id`: one, or a list. Anything else is returned as text.
pub(crate) fn token_ids(value: &Value) -> Result<Vec<u32>, String> {
    let ids: Option<Vec<u32>> = match value {
        Value::Array(ids) => ids.iter().map(token_id).collect(),
        Value::Null => Some(Vec::new()),
        id => token_id(id).map(|id| vec![id]),
    };
    ids.ok_or_else(|| value.to_string())
}

/// Whether a config.json describes a model with an encoder and a decoder.
fn is_encoder_decoder(config: &Map<String, Value>) -> bool {
    const FAMILIES: [&str; 9] = ["t5", "mt5", "umt5", "bart", "mbart", "marian", "m2m_100", "pegasus", "blenderbot"];
    let family = config.get("model_type").and_then(Value::as_str);
    let stated = config.get("is_encoder_decoder").and_then(Value::as_bool);
    stated.unwrap_or_else(|| family.is_some_and(|family| FAMILIES.contains(&family)))
}
