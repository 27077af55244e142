//! Hugging Face's generation_config.json: the settings for generating text.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::{self, ModelFiles};
use crate::special_tokens::token_ids;
use crate::{TextError, prompt_template};

const FILE: &str = "generation_config.json";
const MODEL_FILE: &str = "config.json";
/// The fields that config.json may have in place of generation_config.json, besides those of [`changes_text`].
const MODEL_FIELDS: [&str; 16] = [
    "bos_token_id",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "no_repeat_ngram_size",
    "pad_token_id",
    "temperature",
    "top_k",
    "top_p",
    "forced_bos_token_id",
    "forced_eos_token_id",
];

/// The settings for generating text, with Hugging Face's names, saved as `generation_config.json` in a model's folder.
///
/// A field that is missing or `null` has its default. Fields that are not listed here, such as `bos_token_id`, are kept
/// in `other` and written back unchanged. Such fields are not applied. If some of them, such as `num_beams`, would
/// change the generated text, reading the file logs one warning with their names.
///
/// ```
/// use wheels_text::GenerationConfig;
///
/// let config = GenerationConfig::from_json(r#"{"max_new_tokens": 100, "max_new_tokens_ratio": 2.0, "pad_token_id": 0}"#)?;
/// assert_eq!(config.limit(10), 2 * 10 + 16);
/// assert_eq!(config.limit(1000), 100);
/// assert_eq!(config.no_repeat_ngram_size, 0);
/// assert_eq!(config.other["pad_token_id"], 0);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ConfigFile", into = "ConfigFile")]
pub struct GenerationConfig {
    /// The maximum number of output tokens, including the end-of-text token. Default: 256.
    ///
    /// If a file has only `max_length`, that number is used. Hugging Face's library then generates one token less with
    /// an encoder-decoder, because its `max_length` includes the decoder's start token. With a decoder alone, Hugging
    /// Face's `max_length` includes the prompt; here it is the number of new tokens.
    pub max_new_tokens: usize,
    /// The size n of the n-grams that may occur only once in an output, tokens. Default: 0, no such rule.
    pub no_repeat_ngram_size: usize,
    /// Whether tokens are sampled. Default: `false`, greedy decoding.
    pub do_sample: bool,
    /// Divides the logits before sampling; more than 0. Default: 1.0, which changes nothing.
    pub temperature: f64,
    /// The number k of the most likely tokens among which one is sampled. Default: `None`, all tokens.
    ///
    /// 0 in a file means `None`. A missing field means `None` too, but 50 in some versions of Hugging Face's library.
    pub top_k: Option<usize>,
    /// Samples only from the smallest set of most likely tokens with at least this total probability; more than 0, at
    /// most 1. Default: `None`, all tokens. 1.0 in a file means `None`.
    pub top_p: Option<f64>,
    /// The maximum number of output tokens per token of the expert's prompt; see [`GenerationConfig::limit`]. This is
    /// not a field of Hugging Face's. Default: `None`, no such limit.
    ///
    /// It bounds the cost of a model that repeats itself without end.
    pub max_new_tokens_ratio: Option<f64>,
    /// The number of tokens that is added to the limit of `max_new_tokens_ratio`, so that short prompts may have longer
    /// outputs. This is not a field of Hugging Face's. Default: 16.
    pub max_new_tokens_offset: usize,
    /// The ids of the tokens that end an output, besides the tokenizer's own. Default: empty.
    ///
    /// In a file this is one id, a list, or `null`.
    pub eos_token_id: Vec<u32>,
    /// The file's other fields. Nothing here reads them. Default: empty.
    pub other: Map<String, Value>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 256,
            no_repeat_ngram_size: 0,
            do_sample: false,
            temperature: 1.0,
            top_k: None,
            top_p: None,
            max_new_tokens_ratio: None,
            max_new_tokens_offset: 16,
            eos_token_id: Vec::new(),
            other: Map::new(),
        }
    }
}

impl GenerationConfig {
    /// Reads the generation config in a model's folder.
    ///
    /// If there is no `generation_config.json`, the settings come from the `prompt.json` of an earlier version; see
    /// [`GenerationConfig::from_legacy_prompt_json`]. If that has no settings or does not exist, they come from
    /// `config.json`, as in Hugging Face's library: only the fields for generation, without `task_specific_params`. If
    /// that does not exist either, the result is the default.
    ///
    /// # Errors
    /// If a file exists and cannot be read or parsed, or if a number is out of its range.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::open(ModelFiles::Folder(folder.as_ref()))
    }

    /// Reads the generation config among the files of a model in memory, each with its name. Error messages use `origin`
    /// as the name of the folder.
    ///
    /// # Errors
    /// As [`GenerationConfig::from_dir`].
    pub fn from_files(origin: &str, files: &[(&str, &[u8])]) -> Result<Self, TextError> {
        Self::open(ModelFiles::Memory { origin, files })
    }

    fn open(files: ModelFiles<'_>) -> Result<Self, TextError> {
        if let Some(json) = files.read(FILE)? {
            return Self::parse(&json, &files.path(FILE));
        }
        let legacy = prompt_template::FILE;
        let json = files.read(legacy)?;
        let config = json.map(|json| parse_legacy(&json, &files.path(legacy))).transpose()?;
        if let Some(config) = config.flatten() {
            return Ok(config);
        }
        let mut fields = files.object(MODEL_FILE)?;
        fields.retain(|name, value| MODEL_FIELDS.contains(&name.as_str()) || changes_text(name, value));
        let path = files.path(MODEL_FILE);
        let config = serde_json::from_value(Value::Object(fields))
            .map_err(|source| TextError::GenerationConfig { path: path.clone(), source })?;
        Self::checked(config, &path)
    }

    /// Reads the content of a `generation_config.json`.
    ///
    /// # Errors
    /// If the content cannot be parsed, or if a number is out of its range.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        Self::parse(json.as_bytes(), FILE.as_ref())
    }

    /// Reads the settings for generation from the content of a `prompt.json` of an earlier version.
    ///
    /// Such a file has `max_new_tokens`, `no_repeat_ngram_size`, or both. Earlier versions also limited every output to
    /// 2 tokens per token of the expert's prompt, plus 16. So the result has a ratio of 2.0 and an offset of 16. A
    /// `prompt.json` with neither field gives `None`.
    ///
    /// # Errors
    /// If the content cannot be parsed.
    pub fn from_legacy_prompt_json(json: &str) -> Result<Option<Self>, TextError> {
        parse_legacy(json.as_bytes(), prompt_template::FILE.as_ref())
    }

    /// Writes `generation_config.json` into a folder atomically. Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let json = serde_json::to_string_pretty(self).expect("numbers and JSON are JSON");
        files::write_atomically(folder.as_ref().join(FILE), format!("{json}\n"))
    }

    /// Sets the maximum number of output tokens.
    #[must_use]
    pub fn with_max_new_tokens(self, max_new_tokens: usize) -> Self {
        Self { max_new_tokens, ..self }
    }

    /// Sets the size of the n-grams that may occur only once in an output, tokens; 0 for no such rule.
    #[must_use]
    pub fn with_no_repeat_ngram_size(self, no_repeat_ngram_size: usize) -> Self {
        Self { no_repeat_ngram_size, ..self }
    }

    /// The token with which every output begins (Hugging Face's `forced_bos_token_id`), such as the language of a
    /// translation. None if there is none.
    pub fn forced_bos_token_id(&self) -> Option<u32> {
        self.other.get("forced_bos_token_id")?.as_u64()?.try_into().ok()
    }

    /// The last token of an output that reaches its length limit (Hugging Face's `forced_eos_token_id`; the first one of a
    /// list). None if it is not forced.
    pub fn forced_eos_token_id(&self) -> Option<u32> {
        let value = self.other.get("forced_eos_token_id")?;
        let id = value.as_array().and_then(|ids| ids.first()).unwrap_or(value);
        id.as_u64()?.try_into().ok()
    }

    /// The maximum number of output tokens when the expert's prompt has `prompt_tokens` tokens.
    ///
    /// This is the smaller of `max_new_tokens` and `floor(max_new_tokens_ratio * prompt_tokens) +
    /// max_new_tokens_offset`. The second limit applies only if there is a ratio.
    pub fn limit(&self, prompt_tokens: usize) -> usize {
        let Some(ratio) = self.max_new_tokens_ratio else {
            return self.max_new_tokens;
        };
        let by_prompt = ((ratio * prompt_tokens as f64) as usize).saturating_add(self.max_new_tokens_offset);
        self.max_new_tokens.min(by_prompt)
    }

    fn parse(json: &[u8], path: &Path) -> Result<Self, TextError> {
        let config = serde_json::from_slice(json)
            .map_err(|source| TextError::GenerationConfig { path: path.to_owned(), source })?;
        Self::checked(config, path)
    }

    /// Checks the numbers, and warns of settings that are not supported.
    fn checked(config: Self, path: &Path) -> Result<Self, TextError> {
        config.check(path)?;
        let unsupported = config.unsupported();
        if !unsupported.is_empty() {
            log::warn!(
                "{}: these settings are not supported and not applied: {}",
                path.display(),
                unsupported.join(", ")
            );
        }
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), TextError> {
        let invalid =
            |field, value, range| Err(TextError::GenerationValue { path: path.to_owned(), field, value, range });
        // A temperature of 0 is valid without sampling: Hugging Face's library ignores it, and such files exist.
        if self.do_sample && (self.temperature.is_nan() || self.temperature <= 0.0) {
            return invalid("temperature", self.temperature, "more than 0");
        }
        if let Some(top_p) = self.top_p
            && (top_p.is_nan() || top_p <= 0.0 || top_p > 1.0)
        {
            return invalid("top_p", top_p, "more than 0 and at most 1");
        }
        if let Some(ratio) = self.max_new_tokens_ratio
            && (ratio.is_nan() || ratio < 0.0)
        {
            return invalid("max_new_tokens_ratio", ratio, "0 or more");
        }
        Ok(())
    }

    /// The names of the other fields that would change the generated text, sorted.
    fn unsupported(&self) -> Vec<&str> {
        self.other.iter().filter(|(name, value)| changes_text(name, value)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Whether this field would change the text that Hugging Face's library generates.
///
/// `length_penalty`, `early_stopping` and `diversity_penalty` are left out, because they have no effect without
/// `num_beams`, which is reported. `forced_bos_token_id` and
/// `forced_eos_token_id` are applied.
fn changes_text(name: &str, value: &Value) -> bool {
    let number = value.as_f64();
    match name {
        "num_beams" | "num_beam_groups" => number.is_some_and(|number| number > 1.0),
        "repetition_penalty" | "encoder_repetition_penalty" | "typical_p" | "guidance_scale" => {
            number.is_some_and(|number| number != 1.0)
        }
        "min_length"
        | "min_new_tokens"
        | "penalty_alpha"
        | "min_p"
        | "epsilon_cutoff"
        | "eta_cutoff"
        | "encoder_no_repeat_ngram_size"
        | "max_time" => number.is_some_and(|number| number > 0.0),
        "bad_words_ids"
        | "force_words_ids"
        | "constraints"
        | "suppress_tokens"
        | "begin_suppress_tokens"
        | "sequence_bias"
        | "exponential_decay_length_penalty"
        | "stop_strings"
        | "dola_layers"
        | "watermarking_config" => !is_empty(value),
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The fields of a generation_config.json, each of which is optional in the file.
#[derive(Serialize, Deserialize)]
struct ConfigFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_repeat_ngram_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    do_sample: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens_offset: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eos_token_id: Option<EndIds>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// The ids that end a text, as Hugging Face writes them: one id, or a list.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
struct EndIds(Vec<u32>);

impl TryFrom<Value> for EndIds {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        token_ids(&value)
            .map(Self)
            .map_err(|value| format!("eos_token_id is {value}, not a token id or a list of them"))
    }
}

impl From<EndIds> for Value {
    fn from(EndIds(ids): EndIds) -> Self {
        match ids[..] {
            [id] => id.into(),
            _ => ids.into(),
        }
    }
}

impl From<ConfigFile> for GenerationConfig {
    fn from(file: ConfigFile) -> Self {
        let default = Self::default();
        let mut other = file.other;
        if let Some(max_length) = file.max_length {
            other.insert("max_length".to_owned(), max_length.into());
        }
        Self {
            max_new_tokens: file.max_new_tokens.or(file.max_length).unwrap_or(default.max_new_tokens),
            no_repeat_ngram_size: file.no_repeat_ngram_size.unwrap_or(default.no_repeat_ngram_size),
            do_sample: file.do_sample.unwrap_or(default.do_sample),
            temperature: file.temperature.unwrap_or(default.temperature),
            top_k: file.top_k.filter(|&top_k| top_k != 0),
            top_p: file.top_p.filter(|&top_p| top_p != 1.0),
            max_new_tokens_ratio: file.max_new_tokens_ratio,
            max_new_tokens_offset: file.max_new_tokens_offset.unwrap_or(default.max_new_tokens_offset),
            eos_token_id: file.eos_token_id.map_or_else(Vec::new, |EndIds(ids)| ids),
            other,
        }
    }
}

impl From<GenerationConfig> for ConfigFile {
    fn from(config: GenerationConfig) -> Self {
        Self {
            max_new_tokens: Some(config.max_new_tokens),
            // If the file had this field, it is in `other`.
            max_length: None,
            no_repeat_ngram_size: Some(config.no_repeat_ngram_size),
            do_sample: Some(config.do_sample),
            temperature: Some(config.temperature),
            // If this field is missing, Hugging Face's library samples from 50 tokens. So "all tokens" is written as 0.
            top_k: config.top_k.or(config.do_sample.then_some(0)),
            top_p: config.top_p,
            max_new_tokens_ratio: config.max_new_tokens_ratio,
            max_new_tokens_offset: Some(config.max_new_tokens_offset),
            eos_token_id: (!config.eos_token_id.is_empty()).then_some(EndIds(config.eos_token_id)),
            other: config.other,
        }
    }
}

/// The fields for generation that earlier versions wrote into prompt.json.
#[derive(Deserialize)]
struct LegacyFields {
    max_new_tokens: Option<usize>,
    no_repeat_ngram_size: Option<usize>,
}

fn parse_legacy(json: &[u8], path: &Path) -> Result<Option<GenerationConfig>, TextError> {
    let fields: LegacyFields =
        serde_json::from_slice(json).map_err(|source| TextError::PromptTemplate { path: path.to_owned(), source })?;
    if fields.max_new_tokens.is_none() && fields.no_repeat_ngram_size.is_none() {
        return Ok(None);
    }
    let default = GenerationConfig::default();
    Ok(Some(GenerationConfig {
        max_new_tokens: fields.max_new_tokens.unwrap_or(default.max_new_tokens),
        no_repeat_ngram_size: fields.no_repeat_ngram_size.unwrap_or(default.no_repeat_ngram_size),
        max_new_tokens_ratio: Some(2.0),
        max_new_tokens_offset: 16,
        ..default
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn unsupported(json: &str) -> Vec<String> {
        GenerationConfig::from_json(json).unwrap().unsupported().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn settings_that_change_the_text_and_are_not_applied_are_found() {
        // The generation_config.json of Helsinki-NLP/opus-mt-en-it, shortened.
        let marian = r#"{"bad_words_ids": [[80034]], "bos_token_id": 0, "decoder_start_token_id": 80034,
            "eos_token_id": 0, "forced_eos_token_id": 0, "max_length": 512, "num_beams": 6, "pad_token_id": 80034,
            "renormalize_logits": true, "transformers_version": "4.31.0"}"#;
        assert_eq!(unsupported(marian), ["bad_words_ids", "num_beams"]);
        for (field, value) in [
            ("num_beam_groups", "2"),
            ("repetition_penalty", "1.2"),
            ("min_length", "5"),
            ("min_new_tokens", "1"),
            ("penalty_alpha", "0.6"),
            ("typical_p", "0.9"),
            ("suppress_tokens", "[1, 2]"),
            ("begin_suppress_tokens", "[1]"),
            ("stop_strings", "\"end\""),
        ] {
            assert_eq!(unsupported(&format!("{{\"{field}\": {value}}}")), [field], "{value}");
        }
    }

    #[test]
    fn settings_that_change_nothing_are_not_reported() {
        // The generation_config.json of t5-small, and values that Hugging Face's library writes for "off".
        let t5 = r#"{"_from_model_config": true, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
            "transformers_version": "4.27.0.dev0"}"#;
        let off = r#"{"num_beams": 1, "num_beam_groups": 1, "repetition_penalty": 1.0, "length_penalty": 2.0,
            "min_length": 0, "min_new_tokens": null, "penalty_alpha": null, "typical_p": 1.0, "bad_words_ids": null,
            "forced_bos_token_id": null, "suppress_tokens": [], "eos_token_id": [1], "use_cache": true}"#;
        assert_eq!(unsupported(t5), [""; 0]);
        assert_eq!(unsupported(off), [""; 0]);
    }
}
