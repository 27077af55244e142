//! Model folders as Hugging Face lays them out: config.json and model.safetensors.

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::store::SafetensorsStore;
use burn::tensor::{DType, Device, Tensor};
use serde::Deserialize;

use crate::{Context, LanguageModel, LmError, LoadReport, ModelSpec, T5, T5Config, TokenBatch, family, weights};

/// The float format of saved weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatFormat {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, IEEE half precision.
    F16,
    /// 16 bits with the exponent of 32.
    BF16,
}

impl From<FloatFormat> for DType {
    fn from(format: FloatFormat) -> Self {
        match format {
            FloatFormat::F32 => DType::F32,
            FloatFormat::F16 => DType::F16,
            FloatFormat::BF16 => DType::BF16,
        }
    }
}

/// A checkpoint in memory, such as one that a program embeds.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'a> {
    /// What messages call it.
    pub origin: &'a str,
    /// The contents of config.json.
    pub config: &'a str,
    /// The contents of model.safetensors.
    pub weights: &'a [u8],
}

/// A model of any family that this crate knows, as its config.json names it.
#[derive(Module, Debug)]
pub enum Pretrained {
    /// T5, versions 1.0 and 1.1.
    T5(T5),
}

#[derive(Deserialize)]
struct Family {
    model_type: String,
}

impl Pretrained {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`LmError`] where a file is missing or torn, the family is not known, or weights and config do not fit.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self, LmError> {
        let folder = folder.as_ref();
        let path = folder.join("config.json");
        let config = fs::read_to_string(&path).map_err(|source| LmError::Read { path: path.clone(), source })?;
        let weights = folder.join("model.safetensors");
        fs::File::open(&weights).map_err(|source| LmError::Read { path: weights.clone(), source })?;
        let store = SafetensorsStore::from_file(&weights);
        Self::build(&config, &path.display().to_string(), store, &weights.display().to_string(), device)
    }

    /// Opens a checkpoint in memory.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_checkpoint(checkpoint: Checkpoint<'_>, device: &Device) -> Result<Self, LmError> {
        let store = SafetensorsStore::from_bytes(Some(checkpoint.weights.to_vec()));
        Self::build(checkpoint.config, checkpoint.origin, store, checkpoint.origin, device)
    }

    fn build(
        config: &str,
        config_origin: &str,
        store: SafetensorsStore,
        origin: &str,
        device: &Device,
    ) -> Result<Self, LmError> {
        let parse = |source| LmError::Config { origin: config_origin.into(), source };
        let family: Family = serde_json::from_str(config).map_err(parse)?;
        match family.model_type.as_str() {
            "t5" => {
                let config: T5Config = serde_json::from_str(config).map_err(parse)?;
                config.check(config_origin)?;
                let mut model = config.init(device);
                let report = weights::load(&mut model, store, &family::t5::NAMES, device, origin)?;
                warn_of_unused(&report, origin);
                Ok(Self::T5(model))
            }
            _ => Err(LmError::Unsupported {
                origin: config_origin.into(),
                field: "model_type",
                value: family.model_type,
                supported: "t5",
            }),
        }
    }

    /// The width of the last hidden states, d_model.
    pub fn width(&self) -> usize {
        match self {
            Self::T5(model) => model.config().d_model,
        }
    }

    /// Writes config.json and model.safetensors into a folder, which is made where it is missing; each file whole or
    /// not at all. The folder opens in Python's transformers.
    ///
    /// # Errors
    /// [`LmError::Write`] and [`LmError::Save`].
    pub fn save(&self, folder: impl AsRef<Path>, format: FloatFormat) -> Result<(), LmError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| LmError::Write { path: folder.into(), source })?;
        let (config, names) = match self {
            Self::T5(model) => (serde_json::to_string_pretty(model.config()), &family::t5::NAMES),
        };
        let path = folder.join("config.json");
        let mut config = config.map_err(|source| LmError::Config { origin: path.display().to_string(), source })?;
        config.push('\n');
        weights::write(&path, config.as_bytes())?;
        match self {
            Self::T5(model) => weights::save(model, &folder.join("model.safetensors"), names, format.into()),
        }
    }
}

/// Older checkpoints repeat tied embeddings under other names: those are no news.
fn warn_of_unused(report: &LoadReport, origin: &str) {
    let news: Vec<&str> = report
        .unused
        .iter()
        .map(String::as_str)
        .filter(|name| !name.ends_with("embed_tokens.weight") && *name != "lm_head.weight")
        .collect();
    if !news.is_empty() {
        log::warn!("{origin} holds tensors that the model has no place for: {}", news.join(", "));
    }
}

impl LanguageModel for Pretrained {
    fn spec(&self) -> &ModelSpec {
        match self {
            Self::T5(model) => model.spec(),
        }
    }

    fn device(&self) -> Device {
        match self {
            Self::T5(model) => model.device(),
        }
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        match self {
            Self::T5(model) => model.prefill(prompts, capacity),
        }
    }

    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3> {
        match self {
            Self::T5(model) => model.hidden_rows(tokens, rows, context),
        }
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self {
            Self::T5(model) => model.head(hidden),
        }
    }
}
