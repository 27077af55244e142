//! Errors of loading and saving models.

use std::path::PathBuf;

use crate::WeightFormat;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmError {
    /// A file of a model folder could not be read.
    #[error("cannot read {}: a model folder has config.json, model.safetensors and tokenizer.json", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of a model folder could not be written.
    #[error("cannot write {}: check that the folder exists, is writable and has free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A config.json cannot be parsed.
    #[error("{origin} is not a valid config.json of this model family")]
    Config {
        /// Where the config came from.
        origin: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A field of a config.json has a value of another kind.
    #[error("{origin}: {field} is {value}, which this model family cannot have")]
    Field {
        /// Where the config came from.
        origin: String,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A config.json has an invalid value or one that is not supported.
    #[error("{origin}: {field} is {value}; supported: {supported}")]
    Unsupported {
        /// Where the config came from.
        origin: String,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// The supported values.
        supported: &'static str,
    },
    /// A size in config.json differs from the size in the weight file.
    #[error(
        "{origin}: {field} is {value}, but the weights have {found} ({tensor}): use the config.json that belongs to \
         the weights"
    )]
    Size {
        /// Where the config came from.
        origin: String,
        /// The field of config.json.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The tensor or the stack of blocks that was compared.
        tensor: String,
        /// The size in the weight file.
        found: usize,
    },
    /// The weights are not a valid safetensors file, or the file is incomplete.
    #[error("{origin} is not a complete safetensors file ({reason}); copy or download it again")]
    Safetensors {
        /// Where the weights came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder has weights only in PyTorch's own format, which can run code when it is opened.
    #[error(
        "{0} has no model.safetensors, only pytorch_model.bin; make one in Python: \
         AutoModelForSeq2SeqLM (or AutoModelForCausalLM).from_pretrained(\"{0}\").save_pretrained(\"{0}\")",
        folder.display()
    )]
    Pickled {
        /// The folder.
        folder: PathBuf,
    },
    /// A shard of the weights is missing.
    #[error("{} is missing, which {} names; copy or download it too", path.display(), index.display())]
    MissingShard {
        /// The shard.
        path: PathBuf,
        /// The index.
        index: PathBuf,
    },
    /// The index of the shards is invalid.
    #[error("{} is not a valid index of shards ({reason}); copy or download the folder again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is not the name of a format of weights.
    #[error("{text:?} is not a format of weights; accepted names are f32, f16, bf16, int8")]
    ParseFormat {
        /// The text.
        text: String,
    },
    /// The device does not compute in the format.
    #[error("this device does not compute in {format}; choose f32 or another 16-bit format (int8 is for CPUs)")]
    Format {
        /// The format.
        format: WeightFormat,
    },
    /// A weight is too large for half precision.
    #[error("{origin}: {tensor} has numbers that are too large for 16-bit floats (f16); open the model in f32")]
    Range {
        /// Where the weights came from.
        origin: String,
        /// The tensor.
        tensor: String,
    },
    /// The weights do not fit the config.
    #[error("{origin} does not fit its config.json: {}", problems.join("; "))]
    Weights {
        /// Where the weights came from.
        origin: String,
        /// Each tensor that is missing or has another shape.
        problems: Vec<String>,
    },
    /// An adapter_config.json cannot be parsed.
    #[error("{origin} is not a valid adapter_config.json: copy it again")]
    AdapterConfig {
        /// Where the config came from.
        origin: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// An adapter is incomplete or does not fit the model.
    #[error(
        "{origin} does not fit the model and adapter_config.json: {}. Use the base model that it was trained on, or copy \
         it again",
        problems.join("; ")
    )]
    Adapter {
        /// Where the adapter came from.
        origin: String,
        /// Each tensor that is missing, has another shape, or belongs to no layer.
        problems: Vec<String>,
    },
    /// A folder has an adapter and no model.
    #[error(
        "{} is an adapter, and its base model is {}: open both with `TextModel::open`, or add the adapter to a model with \
         `Pretrained::with_adapter_in`",
        folder.display(),
        base.as_deref().unwrap_or("not named")
    )]
    OnlyAdapter {
        /// The folder.
        folder: PathBuf,
        /// The base model that the adapter names.
        base: Option<String>,
    },
    /// A model has adapters and cannot get others.
    #[error(
        "the model has adapters already: train these on, or add them to the weights first (`Pretrained::merged`, or \
         `wheels student`, which saves a whole model)"
    )]
    HasAdapters,
    /// A model has no layer of a name that should get an adapter.
    #[error("no layer that can have an adapter is named {target:?}; such layers are: {}, all-linear", layers.join(", "))]
    LoraTarget {
        /// The name.
        target: String,
        /// The last parts of the names of all layers that can have an adapter.
        layers: Vec<String>,
    },
    /// A model cannot have this size.
    #[error(
        "a model of width {width} with {layers} and {decoder_layers} blocks is not possible: the width must be a multiple \
         of {d_head} (that of a head), and there must be blocks"
    )]
    ModelSize {
        /// The width of the hidden states.
        width: usize,
        /// The number of blocks.
        layers: usize,
        /// The number of blocks of the decoder.
        decoder_layers: usize,
        /// The width of an attention head.
        d_head: usize,
    },
    /// The weights could not be serialised.
    #[error("cannot save {}: {reason}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}
