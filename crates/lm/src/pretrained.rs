//! Model folders in Hugging Face's layout: config.json and model.safetensors.

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};

use crate::config::{ConfigFile, unsupported};
use crate::family::{bart, llama, t5};
use crate::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use crate::weights::{self, Tensors};
use crate::{
    Bart, Context, FloatFormat, Hidden, LanguageModel, Llama, LmError, LoadOptions, LoraConfig, ModelSize, ModelSpec,
    Positions, T5, TokenBatch, WeightFormat,
};

/// The files of a model in memory, such as those that a program embeds.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'a> {
    /// The name of the checkpoint in error messages.
    pub origin: &'a str,
    /// The content of config.json.
    pub config: &'a str,
    /// The content of model.safetensors.
    pub weights: &'a [u8],
}

/// What a model folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// The family, as config.json names it.
    pub model_type: String,
    /// The number of weights of the model. Shared weights count once.
    pub parameters: usize,
    /// The number formats in the files of weights, such as "F16".
    pub formats: Vec<String>,
    /// The number of files of weights.
    pub files: usize,
    /// The tensors in the files that the model does not use. Copies of shared weights are left out.
    pub unused: Vec<String>,
    /// The vocabulary size and other properties of the model.
    pub spec: ModelSpec,
}

/// A model of any supported family. The `model_type` in config.json selects the family.
// A program has only a few models, and burn has no modules in boxes.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Pretrained {
    /// T5, versions 1.0 and 1.1, mT5 and UMT5.
    T5(T5),
    /// Llama 2 and 3, Mistral, Qwen2, Qwen3, and models of the same architectures, such as SmolLM2.
    Llama(Llama),
    /// BART, mBART, Marian, and M2M100 with NLLB.
    Bart(Bart),
}

impl Pretrained {
    /// Loads a model from a folder to a device, in f32 or in another format ([`LoadOptions`]).
    ///
    /// # Errors
    /// If a file is missing or damaged, if the family is not supported, or if the weights do not fit the config.
    /// [`LmError::OnlyAdapter`] if the folder has an adapter ([`Pretrained::with_adapter_in`]). [`LmError::Format`] if the
    /// device does not compute in the format, and [`LmError::Range`] if a weight is too large for it.
    pub fn load<'a>(folder: impl AsRef<Path>, options: impl Into<LoadOptions<'a>>) -> Result<Self, LmError> {
        let folder = folder.as_ref();
        refuse_adapter(folder)?;
        Self::from_parts(ConfigFile::open(folder)?, &Tensors::open(folder)?, options.into())
    }

    /// Reads the config and the header of the weights in a folder, without the weights.
    ///
    /// # Errors
    /// For the reasons of [`load`](Self::load).
    pub fn inspect(folder: impl AsRef<Path>) -> Result<CheckpointInfo, LmError> {
        let folder = folder.as_ref();
        refuse_adapter(folder)?;
        let (file, tensors) = (ConfigFile::open(folder)?, Tensors::open(folder)?);
        let model_type = file.text("model_type").to_owned();
        // The device of a model without weights does not matter.
        let model = Self::prepare(file, &tensors, &Device::default())?;
        let unused = match &model {
            Self::T5(model) => weights::unused(model, &tensors, t5::names, t5::is_copy),
            Self::Llama(model) => weights::unused(model, &tensors, llama::names, llama::is_copy),
            Self::Bart(model) => weights::unused(model, &tensors, bart::names, bart::is_copy),
        }?;
        Ok(CheckpointInfo {
            model_type,
            parameters: model.num_params(),
            formats: tensors.formats(),
            files: tensors.files(),
            unused,
            spec: model.spec().clone(),
        })
    }

    /// Loads a model from memory.
    ///
    /// # Errors
    /// For the reasons of [`load`](Self::load).
    pub fn from_checkpoint<'a>(
        checkpoint: Checkpoint<'_>,
        options: impl Into<LoadOptions<'a>>,
    ) -> Result<Self, LmError> {
        let Checkpoint { origin, config, weights } = checkpoint;
        Self::from_parts(ConfigFile::parse(config, origin)?, &Tensors::from_bytes(origin, weights)?, options.into())
    }

    fn from_parts(file: ConfigFile, tensors: &Tensors<'_>, options: LoadOptions<'_>) -> Result<Self, LmError> {
        options.check()?;
        let LoadOptions { device, format } = options;
        match Self::prepare(file, tensors, device)? {
            Self::T5(model) => weights::load(model, tensors, t5::names, t5::is_copy, format).map(Self::T5),
            Self::Llama(model) => weights::load(model, tensors, llama::names, llama::is_copy, format).map(Self::Llama),
            Self::Bart(model) => weights::load(model, tensors, bart::names, bart::is_copy, format).map(Self::Bart),
        }
    }

    /// The model of a checkpoint, whose weights are not loaded yet.
    fn prepare(file: ConfigFile, tensors: &Tensors<'_>, device: &Device) -> Result<Self, LmError> {
        file.require("quantization_config", &[], "unquantised weights")?;
        match file.text("model_type") {
            "t5" | "mt5" | "umt5" => Ok(Self::T5(T5::prepare(file, tensors, device)?)),
            "llama" | "mistral" | "qwen2" | "qwen3" => Ok(Self::Llama(Llama::prepare(file, tensors, device)?)),
            "bart" | "mbart" | "marian" | "m2m_100" => Ok(Self::Bart(Bart::prepare(file, tensors, device)?)),
            other => Err(unsupported(
                &file.origin,
                "model_type",
                &other,
                "t5, mt5, umt5, llama, mistral, qwen2, qwen3, bart, mbart, marian and m2m_100",
            )),
        }
    }

    /// The format of the matrices in memory.
    pub fn format(&self) -> WeightFormat {
        let mut found = Found(WeightFormat::default());
        self.visit(&mut found);
        found.0
    }

    /// Whether a prompt is read by an encoder. If not, the model is decoder-only.
    pub fn is_encoder_decoder(&self) -> bool {
        match self {
            Self::T5(_) | Self::Bart(_) => true,
            Self::Llama(_) => false,
        }
    }

    /// The same model with a vocabulary of `vocab_size` tokens, such as those of its tokenizer.
    ///
    /// Many checkpoints have more rows than their tokenizer has tokens. Rows past the vocabulary are kept in saved
    /// folders, but the model has no logits for them. If there are fewer rows, new ones are added, each of which is the
    /// mean of the others.
    #[must_use]
    pub fn with_vocab_size(self, vocab_size: usize) -> Self {
        match self {
            Self::T5(model) => Self::T5(model.with_vocab_size(vocab_size)),
            Self::Llama(model) => Self::Llama(model.with_vocab_size(vocab_size)),
            Self::Bart(model) => Self::Bart(model.with_vocab_size(vocab_size)),
        }
    }

    /// The same model with other tokens that end a text, such as those of a generation config. The saved config keeps its
    /// own.
    #[must_use]
    pub fn with_eos_token_ids(mut self, ids: Vec<u32>) -> Self {
        match &mut self {
            Self::T5(model) => model.spec.eos = ids,
            Self::Llama(model) => model.spec.eos = ids,
            Self::Bart(model) => model.spec.eos = ids,
        }
        self
    }

    /// A smaller model with the weights of the blocks 0, `n`, `2 n` and so on of each stack. Adapters are added to the
    /// weights.
    ///
    /// # Panics
    /// If `n` is 0.
    #[must_use]
    pub fn with_every_nth_block(self, n: usize) -> Self {
        assert!(n > 0, "every 0th block is no block");
        match self.merged() {
            Self::T5(model) => Self::T5(model.with_every_nth_block(n)),
            Self::Llama(model) => Self::Llama(model.with_every_nth_block(n)),
            Self::Bart(model) => Self::Bart(model.with_every_nth_block(n)),
        }
    }

    /// A model of the same family and vocabulary, of another size and with random weights.
    ///
    /// For reproducible weights, seed the device first ([`Device::seed`]).
    ///
    /// # Errors
    /// [`LmError::ModelSize`] if the family has no model of this size.
    pub fn resized(&self, size: ModelSize, device: &Device) -> Result<Self, LmError> {
        match self {
            Self::T5(model) => model.resized(size, device).map(Self::T5),
            Self::Llama(model) => model.resized(size, device).map(Self::Llama),
            Self::Bart(model) => model.resized(size, device).map(Self::Bart),
        }
    }

    /// Writes config.json and model.safetensors into a folder. Creates the folder if it does not exist. Python's
    /// transformers can load the folder. If writing a file fails, its old content is unchanged. Adapters are added to the
    /// saved weights, and the files of an adapter are removed from the folder: [`Pretrained::save_adapter`] writes them.
    ///
    /// # Errors
    /// [`LmError::Write`] if a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, format: FloatFormat) -> Result<(), LmError> {
        if self.lora().is_some() {
            return self.clone().merged().save(folder, format);
        }
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| LmError::Write { path: folder.into(), source })?;
        let config = match self {
            Self::T5(model) => serde_json::to_string_pretty(model.config()),
            Self::Llama(model) => serde_json::to_string_pretty(model.config()),
            Self::Bart(model) => serde_json::to_string_pretty(model.config()),
        };
        let path = folder.join("config.json");
        let config = config.expect("a config of texts and numbers is JSON");
        weights::write_atomically(&path, (config + "\n").as_bytes())?;
        match self {
            Self::T5(model) => weights::save(model, folder, t5::names, format),
            Self::Llama(model) => weights::save(model, folder, llama::names, format),
            Self::Bart(model) => weights::save(&model.with_copies(), folder, bart::names, format),
        }?;
        // With them, the folder would be taken for an adapter.
        weights::remove(&folder.join(ADAPTER_CONFIG))?;
        weights::remove(&folder.join(ADAPTER_WEIGHTS))
    }
}

/// The format of a module's parameters: that of the fewest bits.
struct Found(WeightFormat);

impl ModuleVisitor for Found {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match param.base().dtype() {
            DType::F16 if self.0 != WeightFormat::Int8 => self.0 = WeightFormat::F16,
            DType::BF16 => self.0 = WeightFormat::BF16,
            DType::QFloat(_) => self.0 = WeightFormat::Int8,
            _ => {}
        }
    }
}

/// # Errors
/// [`LmError::OnlyAdapter`] if a folder has an adapter.
fn refuse_adapter(folder: &Path) -> Result<(), LmError> {
    match LoraConfig::from_dir(folder)? {
        Some(LoraConfig { base_model: base, .. }) => Err(LmError::OnlyAdapter { folder: folder.into(), base }),
        None => Ok(()),
    }
}

impl LanguageModel for Pretrained {
    fn spec(&self) -> &ModelSpec {
        match self {
            Self::T5(model) => model.spec(),
            Self::Llama(model) => model.spec(),
            Self::Bart(model) => model.spec(),
        }
    }

    fn device(&self) -> Device {
        match self {
            Self::T5(model) => model.device(),
            Self::Llama(model) => model.device(),
            Self::Bart(model) => model.device(),
        }
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        match self {
            Self::T5(model) => model.prefill(prompts, capacity),
            Self::Llama(model) => model.prefill(prompts, capacity),
            Self::Bart(model) => model.prefill(prompts, capacity),
        }
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        match self {
            Self::T5(model) => model.hidden(tokens, rows, positions, context),
            Self::Llama(model) => model.hidden(tokens, rows, positions, context),
            Self::Bart(model) => model.hidden(tokens, rows, positions, context),
        }
    }

    fn with_dropout(self, seed: u64) -> Self {
        match self {
            Self::T5(model) => Self::T5(model.with_dropout(seed)),
            Self::Llama(model) => Self::Llama(model.with_dropout(seed)),
            Self::Bart(model) => Self::Bart(model.with_dropout(seed)),
        }
    }

    fn with_gradient_checkpointing(self) -> Self {
        match self {
            Self::T5(model) => Self::T5(model.with_gradient_checkpointing()),
            Self::Llama(model) => Self::Llama(model.with_gradient_checkpointing()),
            Self::Bart(model) => Self::Bart(model.with_gradient_checkpointing()),
        }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        match self {
            Self::T5(model) => model.head(hidden),
            Self::Llama(model) => model.head(hidden),
            Self::Bart(model) => model.head(hidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::T5Config;

    #[test]
    fn a_grown_vocabulary_keeps_the_logits_of_its_old_tokens() {
        let device = Device::flex();
        for tie_word_embeddings in [true, false] {
            let config = T5Config {
                vocab_size: 12,
                d_model: 8,
                d_kv: 4,
                d_ff: 16,
                num_layers: 1,
                num_heads: 2,
                tie_word_embeddings,
                ..T5Config::default()
            };
            let model = Pretrained::T5(config.init(&device));
            let logits = |model: &Pretrained| {
                let mut context = model.prefill(&TokenBatch::new(&[vec![3, 4, 1]], 0), 0);
                let logits = model.forward(&TokenBatch::column(&context.starts()), &mut context).logits;
                logits.into_data().iter::<f32>().collect::<Vec<_>>()
            };
            let before = logits(&model);
            let grown = model.with_vocab_size(14);
            assert_eq!(grown.spec().vocab_size, 14);
            let after = logits(&grown);
            assert_eq!(after.len(), 14);
            assert!(before.iter().zip(&after).all(|(before, after)| (before - after).abs() < 1e-5));
            let mean = before.iter().sum::<f32>() / 12.0;
            assert!((after[13] - mean).abs() < 1e-4, "{} is not {mean}", after[13]);
        }
    }
}
