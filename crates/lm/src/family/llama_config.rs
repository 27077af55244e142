//! The configuration of the Llama family.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{ConfigFile, Size, check_sizes, check_values, unsupported};
use crate::nn::Activation;
use crate::weights::Tensors;
use crate::{LmError, TokenIds};

/// The configuration of a [`Llama`](crate::Llama), with the names and defaults of Hugging Face's config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// "llama", "mistral", "qwen2" or "qwen3".
    pub model_type: String,
    /// The number of rows of the embedding table.
    pub vocab_size: usize,
    /// The width of the hidden states.
    pub hidden_size: usize,
    /// The width of the feed-forward layers.
    pub intermediate_size: usize,
    /// The number of blocks.
    pub num_hidden_layers: usize,
    /// The number of attention heads.
    pub num_attention_heads: usize,
    /// The number of heads of keys and values, each of which serves a group of attention heads. `None` means
    /// `num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// The width of one attention head. `None` means `hidden_size / num_attention_heads`, and 128 for Qwen3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// The activation function of the feed-forward layers.
    #[serde(default = "silu_activation")]
    pub hidden_act: Activation,
    /// The length for which the model was made, tokens. It is not a limit here.
    #[serde(default = "max_position_embeddings")]
    pub max_position_embeddings: usize,
    /// Added to the mean square in the RMS norms, for numerical stability.
    #[serde(default = "rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// The base of the rotary position embeddings, if `rope_parameters` has none. `None` means 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// The parameters of the rotary position embeddings, as transformers writes them from version 5 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<Map<String, Value>>,
    /// The parameters of the rotary position embeddings, as transformers wrote them before version 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<Map<String, Value>>,
    /// The number of last tokens that a position sees, itself included. `None` means all. Mistral uses it in all blocks
    /// and Qwen in some, if `use_sliding_window`.
    pub sliding_window: Option<usize>,
    /// Whether Qwen's blocks use `sliding_window`.
    #[serde(default)]
    pub use_sliding_window: bool,
    /// The first of Qwen's blocks that uses `sliding_window`, if there are no `layer_types`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_window_layers: Option<usize>,
    /// "full_attention" or "sliding_attention" for each of Qwen's blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
    /// Whether the projections of Llama's or Qwen3's attention have a bias. Qwen2's queries, keys and values always have.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether Llama's feed-forward layers have a bias.
    #[serde(default)]
    pub mlp_bias: bool,
    /// The dropout rate of the attention weights in training, 0 to 1: see
    /// [`LanguageModel::with_dropout`](crate::LanguageModel::with_dropout).
    #[serde(default)]
    pub attention_dropout: f64,
    /// Whether a new model's output head shares the weights of the embedding table.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// The standard deviation of the initial weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// The id of the padding token. `None` if there is none.
    pub pad_token_id: Option<u32>,
    /// The id of the token that begins a text. `None` if there is none.
    pub bos_token_id: Option<u32>,
    /// The ids of the tokens that end a text. `None` if there is none.
    pub eos_token_id: Option<TokenIds>,
    /// The class that opens the folder in transformers. It is only kept for that library.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// The file's other fields, which are only kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn silu_activation() -> Activation {
    Activation::Silu
}

fn max_position_embeddings() -> usize {
    2048
}

fn rms_norm_eps() -> f64 {
    1e-6
}

fn initializer_range() -> f64 {
    0.02
}

impl LlamaConfig {
    /// The width of one attention head.
    pub fn d_head(&self) -> usize {
        self.head_dim.unwrap_or(match self.model_type.as_str() {
            "qwen3" => 128,
            _ => self.hidden_size / self.num_attention_heads.max(1),
        })
    }

    pub(crate) fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Whether the projections of queries, keys and values have a bias, and whether the one of the output has.
    pub(super) fn biases(&self) -> [bool; 2] {
        match self.model_type.as_str() {
            "qwen2" => [true, false],
            "mistral" => [false, false],
            _ => [self.attention_bias; 2],
        }
    }

    /// The window of each block; None if its positions see all tokens before them.
    pub(super) fn windows(&self) -> Vec<Option<usize>> {
        let window = |block: usize| match (self.model_type.as_str(), &self.layer_types) {
            ("mistral", _) => self.sliding_window,
            ("llama", _) => None,
            (_, _) if !self.use_sliding_window => None,
            (_, Some(types)) => self.sliding_window.filter(|_| types[block] == "sliding_attention"),
            (_, None) => self.sliding_window.filter(|_| block >= self.max_window_layers.unwrap_or(28)),
        };
        (0..self.num_hidden_layers).map(window).collect()
    }

    /// The config in a config.json.
    ///
    /// # Errors
    /// [`LmError::Config`], and [`LmError::Field`] and [`LmError::Unsupported`] with the field that is invalid or not
    /// supported.
    pub(super) fn from_file(file: ConfigFile) -> Result<Self, LmError> {
        file.require("hidden_act", &Activation::names(), Activation::SUPPORTED)?;
        file.require("partial_rotary_factor", &[json!(1.0), json!(1)], "1.0")?;
        let file = match file.text("model_type") {
            "mistral" => file.with_defaults(&[
                ("num_key_value_heads", json!(8)),
                ("max_position_embeddings", json!(131_072)),
                ("sliding_window", json!(4096)),
                ("bos_token_id", json!(1)),
                ("eos_token_id", json!(2)),
            ]),
            "llama" => file.with_defaults(&[("bos_token_id", json!(1)), ("eos_token_id", json!(2))]),
            _ => file.with_defaults(&[
                ("num_key_value_heads", json!(32)),
                ("max_position_embeddings", json!(32_768)),
                ("sliding_window", json!(4096)),
            ]),
        };
        file.read()
    }

    /// Compares the sizes in the config with the header of the weights.
    pub(super) fn check_sizes(&self, tensors: &Tensors<'_>, origin: &str) -> Result<(), LmError> {
        let prefix = if tensors.names().any(|name| name.starts_with("model.")) { "model." } else { "" };
        let size = |field, value, tensor: &str, dimension: usize| {
            let tensor = format!("{prefix}{tensor}");
            let found = tensors.shape(&tensor).and_then(|shape| shape.get(dimension).copied());
            Size { field, value, found: found.map(|found| (tensor, found)) }
        };
        let layers = tensors.layers(&format!("{prefix}layers."));
        let kv_inner = self.kv_heads().saturating_mul(self.d_head());
        let sizes = vec![
            size("vocab_size", self.vocab_size, "embed_tokens.weight", 0),
            size("hidden_size", self.hidden_size, "embed_tokens.weight", 1),
            Size {
                field: "num_hidden_layers",
                value: self.num_hidden_layers,
                found: Some((format!("{prefix}layers"), layers)),
            },
            size("intermediate_size", self.intermediate_size, "layers.0.mlp.gate_proj.weight", 0),
            size(
                "num_attention_heads * head_dim",
                self.num_attention_heads.saturating_mul(self.d_head()),
                "layers.0.self_attn.q_proj.weight",
                0,
            ),
            size("num_key_value_heads * head_dim", kv_inner, "layers.0.self_attn.k_proj.weight", 0),
        ];
        check_sizes(origin, sizes)
    }

    /// Checks that the values are in their ranges.
    pub(super) fn check(&self, origin: &str) -> Result<(), LmError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("head_dim", self.head_dim.unwrap_or(1)),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ];
        let ids = [
            ("pad_token_id", self.pad_token_id.as_slice()),
            ("bos_token_id", self.bos_token_id.as_slice()),
            ("eos_token_id", self.eos_token_id.as_ref().map_or(&[][..], TokenIds::as_slice)),
        ];
        check_values(origin, self.vocab_size, &sizes, &ids)?;
        if self.d_head() == 0 {
            return Err(unsupported(origin, "num_attention_heads", &self.num_attention_heads, "hidden_size or less"));
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            let heads = self.kv_heads();
            return Err(unsupported(origin, "num_key_value_heads", &heads, "a divisor of num_attention_heads"));
        }
        if let Some(types) = &self.layer_types {
            let known = |kind: &String| kind == "full_attention" || kind == "sliding_attention";
            if types.len() != self.num_hidden_layers {
                let layers = self.num_hidden_layers;
                return Err(unsupported(origin, "num_hidden_layers", &layers, "the number of layer_types"));
            }
            if !types.iter().all(known) {
                let supported = "full_attention or sliding_attention for each block";
                return Err(unsupported(origin, "layer_types", &format!("{types:?}"), supported));
            }
        }
        if !(0.0..1.0).contains(&self.attention_dropout) {
            return Err(unsupported(
                origin,
                "attention_dropout",
                &self.attention_dropout,
                "0 or more, and less than 1",
            ));
        }
        Ok(())
    }
}
