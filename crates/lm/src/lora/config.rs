//! The settings of adapters.

use std::path::Path;

use burn::config::Config;

use super::peft;
use crate::LmError;
use crate::config::unsupported;

/// Configuration of low-rank adapters (LoRA): small trained matrices beside the frozen weights of linear layers. See
/// [`Pretrained::with_lora`](crate::Pretrained::with_lora).
#[derive(Config, Debug, PartialEq)]
pub struct LoraConfig {
    /// The rank `r` of the adapters: the number of rows of `A` and of columns of `B`.
    pub rank: usize,
    /// The output of an adapter is multiplied by `alpha / rank`.
    #[config(default = 8.0)]
    pub alpha: f64,
    /// The dropout rate of the input of an adapter in training, at least 0 and less than 1: see
    /// [`LanguageModel::with_dropout`](crate::LanguageModel::with_dropout).
    #[config(default = 0.0)]
    pub dropout: f64,
    /// The names, as in Hugging Face's files, of the layers that get adapters: a whole name, or the end of one, such as
    /// `q_proj` or `self_attn.q_proj`. `all-linear` stands for all linear layers but the output head. If empty: the
    /// queries and values of attention, which is PEFT's default (`q` and `v` for T5, otherwise `q_proj` and `v_proj`).
    #[config(default = "vec![]")]
    pub target_modules: Vec<String>,
    /// Whether the factor is `alpha / sqrt(rank)` instead of `alpha / rank` (Kalajdzievski 2023, arXiv 2312.03732).
    #[config(default = false)]
    pub use_rslora: bool,
    /// The folder or the hub name of the base model, to which a saved adapter belongs. If absent, a text model with
    /// adapters is saved as a whole, with the adapters added to its weights.
    pub base_model: Option<String>,
    /// The seed of new adapters.
    #[config(default = 7)]
    pub seed: u64,
}

/// The name that stands for all linear layers.
pub(super) const ALL_LINEAR: &str = "all-linear";

impl LoraConfig {
    /// The settings of the adapters in a folder: its adapter_config.json, as PEFT writes it. None if there is no such file.
    ///
    /// # Errors
    /// [`LmError::Read`] or [`LmError::AdapterConfig`] if the file cannot be read or parsed, and [`LmError::Unsupported`]
    /// with a field that asks for what is not supported.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Option<Self>, LmError> {
        let folder = folder.as_ref();
        if folder.join(peft::ADAPTER_CONFIG).exists() { peft::read(folder).map(Some) } else { Ok(None) }
    }

    /// What the output of an adapter is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// # Errors
    /// [`LmError::Unsupported`] with the first number that is invalid.
    pub(super) fn check(&self, origin: &str) -> Result<(), LmError> {
        if self.rank == 0 {
            return Err(unsupported(origin, "rank", &self.rank, "1 or more"));
        }
        if !self.alpha.is_finite() {
            return Err(unsupported(origin, "alpha", &self.alpha, "a finite number"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(unsupported(origin, "dropout", &self.dropout, "at least 0 and less than 1"));
        }
        Ok(())
    }
}
