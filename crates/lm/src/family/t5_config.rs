//! The configuration of T5.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::t5::names;
use crate::config::{ConfigFile, Size, check_sizes, check_values, unsupported};
use crate::nn::FeedForward;
use crate::weights::Tensors;
use crate::{LmError, TokenIds};

/// The configuration of a [`T5`](crate::T5), with the names and defaults of Hugging Face's config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// The number of rows of the embedding table.
    pub vocab_size: usize,
    /// The width of the hidden states.
    pub d_model: usize,
    /// The width of one attention head.
    pub d_kv: usize,
    /// The width of the feed-forward layers.
    pub d_ff: usize,
    /// The number of encoder blocks.
    pub num_layers: usize,
    /// The number of decoder blocks. `None` means `num_layers`.
    pub num_decoder_layers: Option<usize>,
    /// The number of attention heads.
    pub num_heads: usize,
    /// The number of buckets of the relative position bias.
    pub relative_attention_num_buckets: usize,
    /// The distance between query and key, tokens, from which on all distances share one bucket.
    pub relative_attention_max_distance: usize,
    /// The dropout rate in training, 0 to 1: see [`LanguageModel::with_dropout`](crate::LanguageModel::with_dropout).
    pub dropout_rate: f64,
    /// Added to the mean square in the RMS norms, for numerical stability.
    pub layer_norm_epsilon: f64,
    /// The scale of the initial weights.
    pub initializer_factor: f64,
    /// The kind of feed-forward layers.
    pub feed_forward_proj: FeedForward,
    /// Whether a new model's output head shares the weights of the embedding table. A checkpoint with weights of its own
    /// for the head keeps them, whatever this field says.
    pub tie_word_embeddings: bool,
    /// Whether the last hidden states are multiplied by `d_model^-0.5` before the output head. `None`, as in files of
    /// transformers before version 5, means `tie_word_embeddings`, but for mT5 false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    /// The id of the padding token.
    pub pad_token_id: u32,
    /// The ids of the tokens that end a text. The first one ends the targets of training.
    pub eos_token_id: TokenIds,
    /// The id of the first token of every decoder input.
    pub decoder_start_token_id: u32,
    /// "t5", "mt5" or "umt5". UMT5 has a relative position bias in each block, and the others only in the first.
    pub model_type: String,
    /// True. It is only kept for other libraries.
    pub is_encoder_decoder: bool,
    /// The class that opens the folder in transformers. It is only kept for that library.
    pub architectures: Vec<String>,
    /// The file's other fields, which are only kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            dropout_rate: 0.1,
            layer_norm_epsilon: 1e-6,
            initializer_factor: 1.0,
            feed_forward_proj: FeedForward::Relu,
            tie_word_embeddings: true,
            scale_decoder_outputs: None,
            pad_token_id: 0,
            eos_token_id: TokenIds::One(1),
            decoder_start_token_id: 0,
            model_type: "t5".into(),
            is_encoder_decoder: true,
            architectures: vec!["T5ForConditionalGeneration".into()],
            other: Map::new(),
        }
    }
}

impl T5Config {
    pub(crate) fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// Whether the last hidden states are scaled. transformers 5 says that all its files share the table, and never scales
    /// for mT5, whose original files do not share it.
    pub(super) fn scales_outputs(&self) -> bool {
        self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings && self.model_type != "mt5")
    }

    /// Whether every block has a position bias of its own.
    pub(super) fn has_bias_per_block(&self) -> bool {
        self.model_type == "umt5"
    }

    /// The config in a config.json.
    ///
    /// # Errors
    /// [`LmError::Config`], and [`LmError::Field`] and [`LmError::Unsupported`] with the field that is invalid or not
    /// supported.
    pub(super) fn from_file(file: ConfigFile) -> Result<Self, LmError> {
        let multilingual = [
            ("vocab_size", json!(250_112)),
            ("d_ff", json!(1024)),
            ("num_layers", json!(8)),
            ("num_heads", json!(6)),
            ("feed_forward_proj", json!("gated-gelu")),
        ];
        let file = match file.text("model_type") {
            "t5" => file,
            "mt5" => file.with_defaults(&multilingual).with_defaults(&[("tie_word_embeddings", json!(false))]),
            _ => file.with_defaults(&multilingual),
        };
        let kinds = [json!("relu"), json!("gated-gelu"), json!("gated-silu")];
        file.require("feed_forward_proj", &kinds, "relu, gated-gelu and gated-silu")?;
        // transformers reads these two fields, and sets them from the one above when it writes a config.
        let (gated, activation) = match file.text("feed_forward_proj") {
            "gated-gelu" => (true, "gelu_new"),
            "gated-silu" => (true, "silu"),
            _ => (false, "relu"),
        };
        file.require("is_gated_act", &[json!(gated)], "what feed_forward_proj says")?;
        file.require("dense_act_fn", &[json!(activation)], "what feed_forward_proj says")?;
        let config: Self = file.read()?;
        config.check(&file.origin)?;
        Ok(config)
    }

    /// Compares the sizes in the config with the header of the weights.
    pub(super) fn check_sizes(&self, tensors: &Tensors<'_>, origin: &str) -> Result<(), LmError> {
        let attention = "encoder.block.0.layer.0.SelfAttention";
        let size = |tensor: &str, dimension: usize| Some((tensor.to_owned(), *tensors.shape(tensor)?.get(dimension)?));
        let table = |dimension| names("shared.weight").iter().find_map(|name| size(name, dimension));
        let feed = |name: &str| size(&format!("encoder.block.0.layer.1.DenseReluDense.{name}.weight"), 0);
        let bias = |dimension| size(&format!("{attention}.relative_attention_bias.weight"), dimension);
        let blocks = |stack: &str| Some((format!("{stack}.block"), tensors.layers(&format!("{stack}.block."))));
        let sizes = vec![
            Size { field: "vocab_size", value: self.vocab_size, found: table(0) },
            Size { field: "d_model", value: self.d_model, found: table(1) },
            Size { field: "d_ff", value: self.d_ff, found: feed("wi").or_else(|| feed("wi_0")) },
            Size { field: "num_heads", value: self.num_heads, found: bias(1) },
            Size {
                field: "num_heads * d_kv",
                value: self.num_heads.saturating_mul(self.d_kv),
                found: size(&format!("{attention}.q.weight"), 0),
            },
            Size {
                field: "relative_attention_num_buckets",
                value: self.relative_attention_num_buckets,
                found: bias(0),
            },
            Size { field: "num_layers", value: self.num_layers, found: blocks("encoder") },
            Size { field: "num_decoder_layers", value: self.decoder_layers(), found: blocks("decoder") },
        ];
        check_sizes(origin, sizes)
    }

    /// Checks that the values are in their ranges.
    pub(super) fn check(&self, origin: &str) -> Result<(), LmError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_heads", self.num_heads),
        ];
        let ids = [
            ("pad_token_id", &[self.pad_token_id][..]),
            ("eos_token_id", self.eos_token_id.as_slice()),
            ("decoder_start_token_id", &[self.decoder_start_token_id]),
        ];
        check_values(origin, self.vocab_size, &sizes, &ids)?;
        if self.relative_attention_num_buckets < 4 {
            let buckets = self.relative_attention_num_buckets;
            return Err(unsupported(origin, "relative_attention_num_buckets", &buckets, "4 or more"));
        }
        if !(0.0..1.0).contains(&self.dropout_rate) {
            return Err(unsupported(origin, "dropout_rate", &self.dropout_rate, "0 or more, and less than 1"));
        }
        Ok(())
    }
}
