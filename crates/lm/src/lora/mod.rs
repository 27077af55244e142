//! Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685): small trained matrices beside frozen weights.
//!
//! A linear layer with an adapter of rank `r` computes
//!
//! ```text
//! y = W x + scale B A dropout(x),    scale = alpha / r, or alpha / sqrt(r) with use_rslora (arXiv 2312.03732)
//! ```
//!
//! `W`, `[outputs, inputs]`, is frozen. `A`, `[r, inputs]`, and `B`, `[outputs, r]`, are trained. A new `A` is drawn from
//! the uniform distribution between `-1 / sqrt(inputs)` and `1 / sqrt(inputs)`, and a new `B` is 0, as in Hugging Face's
//! library PEFT.
//!
//! # What is burn's
//! `apply_lora` of burn freezes the weights and stores the factors beside them, so that burn's traversals, optimizers,
//! records and `materialize` (merging) know them. For weights `[inputs, outputs]`, as burn's own layers have them, its
//! factors `a` and `b` are PEFT's `A` and `B`, transposed. The weights here are `[outputs, inputs]`, so **burn's `a` is
//! PEFT's `B`, and burn's `b` is PEFT's `A`**, and none of them is transposed.
//!
//! Two things are not burn's:
//! - burn computes `(W + scale a b) x`, which takes a matrix as large as `W` for each call, and a gradient of that size in
//!   training. The layers here compute the two narrow products. So dropout of the adapter's input is possible, too.
//! - burn draws `a` and sets `b` to 0. Here it is the other way round, as in PEFT, and the numbers are drawn on the host.

mod attach;
mod config;
mod peft;

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use attach::Source;
pub(crate) use attach::{Layer, factor_names};
pub use config::LoraConfig;
pub(crate) use peft::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};

use crate::family::{bart, llama, t5};
use crate::weights::{self, Tensors, float_dtype};
use crate::{FloatFormat, LmError, Pretrained};

/// Converts parameters of fewer bits to the float type of the device.
struct Widen;

impl ModuleMapper for Widen {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let dtype = float_dtype(&tensor.device());
            let tensor = tensor.dequantize();
            if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) }
        })
    }
}

impl Pretrained {
    /// The same model with new adapters. Its weights are frozen: training changes only the adapters. At first, the model
    /// computes the same as without adapters.
    ///
    /// # Errors
    /// [`LmError::HasAdapters`] if the model has adapters, [`LmError::Unsupported`] if a number of the settings is
    /// invalid, and [`LmError::LoraTarget`] if the model has no layer of a name.
    pub fn with_lora(self, config: &LoraConfig) -> Result<Self, LmError> {
        let mut source = Source::New(Box::new(ChaCha8Rng::seed_from_u64(config.seed)));
        self.attached(config, "the settings of LoRA", &mut source)
    }

    /// The same model with the adapters in a folder: adapter_config.json and adapter_model.safetensors, as PEFT saves
    /// them. The model must be the one that they were trained on. Its weights are frozen.
    ///
    /// # Errors
    /// [`LmError::HasAdapters`] if the model has adapters, [`LmError::Unsupported`] with the field of the
    /// adapter_config.json that is not supported, [`LmError::Adapter`] with each tensor that is missing or does not fit, and
    /// [`LmError::Read`] or [`LmError::Safetensors`] if a file is missing or damaged.
    pub fn with_adapter_in(self, folder: impl AsRef<Path>) -> Result<Self, LmError> {
        let folder = folder.as_ref();
        let config = peft::read(folder)?;
        let tensors = Tensors::open_file(folder.join(ADAPTER_WEIGHTS))?;
        let origin = folder.join(ADAPTER_CONFIG).display().to_string();
        self.attached(&config, &origin, &mut Source::File(tensors))
    }

    /// The settings of the adapters, with the names of their layers. None if the model has no adapters.
    pub fn lora(&self) -> Option<&LoraConfig> {
        match self {
            Self::T5(model) => model.lora.as_ref(),
            Self::Llama(model) => model.lora.as_ref(),
            Self::Bart(model) => model.lora.as_ref(),
        }
    }

    /// The same model with its adapters added to its weights: it computes the same, faster. All its weights are trained, and
    /// are in the float type of the device. A model without adapters is returned as it is.
    #[must_use]
    pub fn merged(self) -> Self {
        if self.lora().is_none() {
            return self;
        }
        let mut merged = self.map(&mut Widen).materialize().unfreeze();
        match &mut merged {
            Self::T5(model) => model.lora = None,
            Self::Llama(model) => model.lora = None,
            Self::Bart(model) => {
                model.lora = None;
                model.freeze_logits_bias();
            }
        }
        merged
    }

    /// Writes the adapters into a folder, which is created if it does not exist: adapter_config.json and
    /// adapter_model.safetensors. Python's PEFT opens the folder. The weights of the model are not saved.
    ///
    /// # Errors
    /// [`LmError::Write`] if a file cannot be written, and [`LmError::Save`] if the model has no adapters or if the folder
    /// is that of the base model.
    pub fn save_adapter(&self, folder: impl AsRef<Path>, format: FloatFormat) -> Result<(), LmError> {
        let folder = folder.as_ref();
        let refuse = |reason: &str| Err(LmError::Save { path: folder.into(), reason: reason.into() });
        let Some(lora) = self.lora() else { return refuse("the model has no adapters") };
        fs::create_dir_all(folder).map_err(|source| LmError::Write { path: folder.into(), source })?;
        let same =
            |base: &String| matches!((fs::canonicalize(base), fs::canonicalize(folder)), (Ok(a), Ok(b)) if a == b);
        if lora.base_model.as_ref().is_some_and(same) {
            return refuse("this is the folder of the base model, and adapters belong into a folder of their own");
        }
        let path = folder.join(ADAPTER_WEIGHTS);
        match self {
            Self::T5(model) => weights::save_adapter(model, &path, t5::names, format),
            Self::Llama(model) => weights::save_adapter(model, &path, llama::names, format),
            Self::Bart(model) => weights::save_adapter(model, &path, bart::names, format),
        }?;
        peft::write(lora, self.is_encoder_decoder(), folder)
    }

    /// The model with adapters whose factors come from `source`.
    fn attached(self, config: &LoraConfig, origin: &str, source: &mut Source<'_>) -> Result<Self, LmError> {
        if self.lora().is_some() {
            return Err(LmError::HasAdapters);
        }
        config.check(origin)?;
        match self {
            Self::T5(model) => {
                let (mut model, lora) = attach::attach(model, t5::names, config, &["q", "v"], source)?;
                model.lora = Some(lora);
                Ok(Self::T5(model))
            }
            Self::Llama(model) => {
                let (mut model, lora) = attach::attach(model, llama::names, config, &["q_proj", "v_proj"], source)?;
                model.lora = Some(lora);
                Ok(Self::Llama(model))
            }
            Self::Bart(model) => {
                let (mut model, lora) = attach::attach(model, bart::names, config, &["q_proj", "v_proj"], source)?;
                model.lora = Some(lora);
                Ok(Self::Bart(model))
            }
        }
    }
}
