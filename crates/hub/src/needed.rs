//! Which files of a model are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::HubError;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The files of an adapter, as PEFT saves them. An adapter has no config.json, and often no tokenizer: those are files of
/// its base model.
pub(crate) const ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Files that are fetched if the model has them.
const OPTIONAL: [&str; 11] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "prompt.json",
    "calibration.json",
    // The name of calibration.json in models of earlier versions.
    "asking.json",
    "prices.json",
    "student_config.json",
    "heads.safetensors",
    TOKENIZER,
];

/// Files of tokenizers from which a tokenizer.json can be made. They are fetched if there is none, because the error of
/// the tokenizer says how to make one from them.
const TOKENIZER_SOURCES: [&str; 9] = [
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "source.spm",
    "target.spm",
    "added_tokens.json",
];

/// Whether a model consists of an adapter. If it has weights of its own, too, these are used.
pub(crate) fn is_adapter(has: impl Fn(&str) -> bool) -> bool {
    has(ADAPTER[0]) && !has(WEIGHTS) && !has(INDEX)
}

/// Weights in a format that is not read.
const PYTORCH_WEIGHTS: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The files beside the weights that are needed of those that a model has.
pub(crate) fn small_files(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let is_adapter = is_adapter(&has);
    let mut files = vec![if is_adapter { ADAPTER[0] } else { CONFIG }];
    files.extend(OPTIONAL.iter().filter(|file| has(file)));
    if !has(TOKENIZER) && !is_adapter {
        files.extend(TOKENIZER_SOURCES.iter().filter(|file| has(file)));
    }
    files
}

/// The file with the weights of PyTorch, if the model has one.
pub(crate) fn pytorch_weights(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    PYTORCH_WEIGHTS.into_iter().find(|file| has(file))
}

/// The first needed file that a snapshot does not have.
///
/// Only the weights, the config and the tokenizer are known to be needed. The weights are fetched last, so the other
/// files are there, too, if this crate has made the snapshot.
pub(crate) fn first_missing(snapshot: &Path) -> Result<Option<String>, HubError> {
    let has = |file: &str| snapshot.join(file).is_file();
    if is_adapter(has) {
        return Ok((!has(ADAPTER[1])).then(|| ADAPTER[1].into()));
    }
    if !has(CONFIG) {
        return Ok(Some(CONFIG.into()));
    }
    if !has(TOKENIZER) && !TOKENIZER_SOURCES.into_iter().any(has) {
        return Ok(Some(TOKENIZER.into()));
    }
    if has(WEIGHTS) {
        return Ok(None);
    }
    if !has(INDEX) {
        return Ok(Some(WEIGHTS.into()));
    }
    Ok(shards(&snapshot.join(INDEX))?.into_iter().find(|shard| !has(shard)))
}

/// The files with the weights, from their index.
pub(crate) fn shards(index: &Path) -> Result<BTreeSet<String>, HubError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let json = fs::read(index).map_err(|source| HubError::Read { path: index.to_owned(), source })?;
    let invalid = |reason: String| HubError::Index { path: index.to_owned(), reason };
    let Index { weight_map } = serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    if shards.is_empty() {
        return Err(invalid("it names no file".into()));
    }
    for shard in &shards {
        let is_name = Path::new(shard).file_name().is_some_and(|name| name == shard.as_str());
        if !is_name || shard.contains('\\') || !shard.ends_with(".safetensors") {
            return Err(invalid(format!("{shard:?} is not the name of a safetensors file in the same folder")));
        }
    }
    Ok(shards)
}
