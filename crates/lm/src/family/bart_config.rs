//! The configuration of the BART family.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bart::{FIRST_POSITION, names};
use crate::config::{ConfigFile, Size, check_sizes, check_values, unsupported};
use crate::nn::Activation;
use crate::weights::Tensors;
use crate::{LmError, TokenIds};

/// The configuration of a [`Bart`](crate::Bart), with the names of Hugging Face's config.json. Its default is BART (large),
/// and files of the other families have the defaults of Hugging Face's library for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BartConfig {
    /// "bart", "mbart", "marian" or "m2m_100".
    pub model_type: String,
    /// The number of rows of the embedding table.
    pub vocab_size: usize,
    /// The number of rows of the decoder's table, which is also `vocab_size`. Only Marian's files have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder_vocab_size: Option<usize>,
    /// The width of the hidden states.
    pub d_model: usize,
    /// The number of encoder blocks.
    pub encoder_layers: usize,
    /// The number of decoder blocks.
    pub decoder_layers: usize,
    /// The number of attention heads of an encoder block.
    pub encoder_attention_heads: usize,
    /// The number of attention heads of a decoder block.
    pub decoder_attention_heads: usize,
    /// The width of the feed-forward layers of an encoder block.
    pub encoder_ffn_dim: usize,
    /// The width of the feed-forward layers of a decoder block.
    pub decoder_ffn_dim: usize,
    /// The function between the feed-forward layers.
    pub activation_function: Activation,
    /// The number of learned positions, tokens: [`ModelSpec::max_positions`](crate::ModelSpec::max_positions). With
    /// sinusoidal positions it is not a limit here.
    pub max_position_embeddings: usize,
    /// Whether the embeddings of tokens are multiplied by `sqrt(d_model)`.
    pub scale_embedding: bool,
    /// The dropout rate of embeddings and layers in training, 0 to 1: see
    /// [`LanguageModel::with_dropout`](crate::LanguageModel::with_dropout).
    pub dropout: f64,
    /// The dropout rate of the attention weights in training, 0 to 1.
    pub attention_dropout: f64,
    /// The dropout rate between the feed-forward layers in training, 0 to 1.
    pub activation_dropout: f64,
    /// The probability with which Hugging Face's library skips an encoder block in training. It is only kept: no block is
    /// skipped here.
    pub encoder_layerdrop: f64,
    /// The same for decoder blocks.
    pub decoder_layerdrop: f64,
    /// The standard deviation of the initial weights.
    pub init_std: f64,
    /// Whether a new model's output head shares the weights of the embedding table. A checkpoint with weights of its own
    /// for the head keeps them, whatever this field says.
    pub tie_word_embeddings: bool,
    /// The id of the padding token. `None` if there is none, which M2M100 does not allow.
    #[serde(default)]
    pub pad_token_id: Option<u32>,
    /// The id of the token that begins a text. `None` if there is none.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// The ids of the tokens that end a text, at least one. The first one ends the targets of training.
    #[serde(default)]
    pub eos_token_id: Option<TokenIds>,
    /// The id of the first token of every decoder input. `None` means `bos_token_id`.
    #[serde(default)]
    pub decoder_start_token_id: Option<u32>,
    /// A setting for generation, which the logits do not show: the id of the first generated token.
    #[serde(default)]
    pub forced_bos_token_id: Option<u32>,
    /// A setting for generation, which the logits do not show: the ids of which one ends a text that has reached its
    /// maximum length.
    #[serde(default)]
    pub forced_eos_token_id: Option<TokenIds>,
    /// True. It is only kept for other libraries.
    pub is_encoder_decoder: bool,
    /// The class that opens the folder in transformers. It is only kept for that library.
    pub architectures: Vec<String>,
    /// The file's other fields, which are only kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for BartConfig {
    fn default() -> Self {
        Self {
            model_type: "bart".into(),
            vocab_size: 50265,
            decoder_vocab_size: None,
            d_model: 1024,
            encoder_layers: 12,
            decoder_layers: 12,
            encoder_attention_heads: 16,
            decoder_attention_heads: 16,
            encoder_ffn_dim: 4096,
            decoder_ffn_dim: 4096,
            activation_function: Activation::Gelu,
            max_position_embeddings: 1024,
            scale_embedding: false,
            dropout: 0.1,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            encoder_layerdrop: 0.0,
            decoder_layerdrop: 0.0,
            init_std: 0.02,
            tie_word_embeddings: true,
            pad_token_id: Some(1),
            bos_token_id: Some(0),
            eos_token_id: Some(TokenIds::One(2)),
            decoder_start_token_id: Some(2),
            forced_bos_token_id: None,
            forced_eos_token_id: Some(TokenIds::One(2)),
            is_encoder_decoder: true,
            architectures: vec!["BartForConditionalGeneration".into()],
            other: Map::new(),
        }
    }
}

impl BartConfig {
    pub(super) fn has_learned_positions(&self) -> bool {
        matches!(self.model_type.as_str(), "bart" | "mbart")
    }

    /// Whether there is a norm after the sum of the embeddings.
    pub(super) fn normalizes_embeddings(&self) -> bool {
        self.has_learned_positions()
    }

    /// Whether the norm of a layer is before it, and a last one at the end of the stack. If not, it is after the sum of
    /// the layer and its input.
    pub(super) fn normalizes_before(&self) -> bool {
        matches!(self.model_type.as_str(), "mbart" | "m2m_100")
    }

    /// The config in a config.json.
    ///
    /// # Errors
    /// [`LmError::Config`], and [`LmError::Field`] and [`LmError::Unsupported`] with the field that is invalid or not
    /// supported.
    pub(super) fn from_file(mut file: ConfigFile) -> Result<Self, LmError> {
        // transformers knows these fields by two names. The second ones would be wrong after a change of the first.
        for (name, other) in [
            ("d_model", "hidden_size"),
            ("encoder_layers", "num_hidden_layers"),
            ("encoder_attention_heads", "num_attention_heads"),
        ] {
            if let Some(value) = file.fields.remove(other) {
                file.fields.entry(name).or_insert(value);
            }
        }
        file.require("activation_function", &Activation::names(), Activation::SUPPORTED)?;
        file.require("is_encoder_decoder", &[json!(true)], "true")?;
        file.require("share_encoder_decoder_embeddings", &[json!(true)], "true")?;
        let force_bos = file.fields.get("force_bos_token_to_be_generated") == Some(&json!(true));
        let file = match file.text("model_type") {
            "marian" => file.with_defaults(&[
                ("vocab_size", json!(58101)),
                ("pad_token_id", json!(58100)),
                ("eos_token_id", json!(0)),
                ("decoder_start_token_id", json!(58100)),
                ("forced_eos_token_id", json!(0)),
                ("architectures", json!(["MarianMTModel"])),
            ]),
            "m2m_100" => file.with_defaults(&[
                ("vocab_size", json!(128_112)),
                ("activation_function", json!("relu")),
                ("attention_dropout", json!(0.1)),
                ("encoder_layerdrop", json!(0.05)),
                ("decoder_layerdrop", json!(0.05)),
                ("scale_embedding", json!(true)),
                ("pad_token_id", json!(1)),
                ("bos_token_id", json!(0)),
                ("eos_token_id", json!(2)),
                ("decoder_start_token_id", json!(2)),
                ("architectures", json!(["M2M100ForConditionalGeneration"])),
            ]),
            family => {
                let ids = [
                    ("pad_token_id", json!(1)),
                    ("bos_token_id", json!(0)),
                    ("eos_token_id", json!(2)),
                    ("forced_eos_token_id", json!(2)),
                ];
                let own = match family {
                    "mbart" => ("architectures", json!(["MBartForConditionalGeneration"])),
                    _ => ("decoder_start_token_id", json!(2)),
                };
                file.with_defaults(&ids).with_defaults(&[own])
            }
        };
        let mut config: Self = file.read()?;
        // Files of transformers before version 4.3 name the first token in this way.
        if force_bos && config.forced_bos_token_id.is_none() {
            config.forced_bos_token_id = config.bos_token_id;
        }
        // transformers ignores these fields today, so a file with other values was made for something else.
        for (field, value) in [
            ("normalize_before", config.normalizes_before()),
            ("add_final_layer_norm", config.normalizes_before()),
            ("normalize_embedding", config.normalizes_embeddings()),
            ("static_position_embeddings", !config.has_learned_positions()),
        ] {
            file.require(
                field,
                &[json!(value)],
                if value { "true for this model_type" } else { "false for this model_type" },
            )?;
        }
        config.check(&file.origin)?;
        Ok(config)
    }

    /// Compares the sizes in the config with the header of the weights.
    pub(super) fn check_sizes(&self, tensors: &Tensors<'_>, origin: &str) -> Result<(), LmError> {
        let prefix = if tensors.names().any(|name| name.starts_with("model.")) { "model." } else { "" };
        let find = |tensor: &str, dimension: usize| {
            let found = *tensors.shape(tensor)?.get(dimension)?;
            Some((tensor.to_owned(), found))
        };
        let table = |dimension| names("shared.weight").iter().find_map(|name| find(name, dimension));
        let inner = |stack: &str| find(&format!("{prefix}{stack}.layers.0.fc1.weight"), 0);
        let layers = |stack: &str| {
            let stack = format!("{prefix}{stack}.layers");
            let found = tensors.layers(&format!("{stack}."));
            Some((stack, found))
        };
        let mut sizes = vec![
            Size { field: "vocab_size", value: self.vocab_size, found: table(0) },
            Size { field: "d_model", value: self.d_model, found: table(1) },
            Size { field: "encoder_layers", value: self.encoder_layers, found: layers("encoder") },
            Size { field: "decoder_layers", value: self.decoder_layers, found: layers("decoder") },
            Size { field: "encoder_ffn_dim", value: self.encoder_ffn_dim, found: inner("encoder") },
            Size { field: "decoder_ffn_dim", value: self.decoder_ffn_dim, found: inner("decoder") },
        ];
        if self.has_learned_positions() {
            let found = find(&format!("{prefix}encoder.embed_positions.weight"), 0);
            let found = found.map(|(tensor, rows)| (tensor, rows.saturating_sub(FIRST_POSITION)));
            sizes.push(Size { field: "max_position_embeddings", value: self.max_position_embeddings, found });
        }
        check_sizes(origin, sizes)
    }

    /// Checks that the values are in their ranges.
    pub(super) fn check(&self, origin: &str) -> Result<(), LmError> {
        if !["bart", "mbart", "marian", "m2m_100"].contains(&self.model_type.as_str()) {
            return Err(unsupported(origin, "model_type", &self.model_type, "bart, mbart, marian and m2m_100"));
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("decoder_layers", self.decoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        let many = |ids: &Option<TokenIds>| ids.as_ref().map_or(vec![], |ids| ids.as_slice().to_vec());
        let (eos, forced_eos) = (many(&self.eos_token_id), many(&self.forced_eos_token_id));
        let ids = [
            ("pad_token_id", self.pad_token_id.as_slice()),
            ("bos_token_id", self.bos_token_id.as_slice()),
            ("eos_token_id", &eos),
            ("decoder_start_token_id", self.decoder_start_token_id.as_slice()),
            ("forced_bos_token_id", self.forced_bos_token_id.as_slice()),
            ("forced_eos_token_id", &forced_eos),
        ];
        check_values(origin, self.vocab_size, &sizes, &ids)?;
        let missing = |field| Err(unsupported(origin, field, &"missing", "an id below vocab_size"));
        if eos.is_empty() {
            return missing("eos_token_id");
        }
        if self.decoder_start_token_id.or(self.bos_token_id).is_none() {
            return missing("decoder_start_token_id");
        }
        if self.model_type == "m2m_100" {
            if self.pad_token_id.is_none() {
                return missing("pad_token_id");
            }
            if self.d_model < 4 {
                return Err(unsupported(origin, "d_model", &self.d_model, "4 or more"));
            }
        }
        if let Some(size) = self.decoder_vocab_size.filter(|&size| size != self.vocab_size) {
            return Err(unsupported(origin, "decoder_vocab_size", &size, "vocab_size"));
        }
        for (field, heads) in [
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
        ] {
            if !self.d_model.is_multiple_of(heads) {
                return Err(unsupported(origin, field, &heads, "a divisor of d_model"));
            }
        }
        for (field, rate) in [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return Err(unsupported(origin, field, &rate, "0 or more, and less than 1"));
            }
        }
        Ok(())
    }
}
