//! T5, versions 1.0 and 1.1 (Raffel et al. 2020, arXiv 1910.10683; Shazeer 2020, arXiv 2002.05202).

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::context::Memory;
use crate::nn::{Attention, Feed, Packing, RelativeBias, causal_mask, padding_mask};
use crate::weights::Names;
use crate::{Context, KvCache, LanguageModel, LmError, ModelSpec, TokenBatch};

/// Configuration of a [`T5`], with the names and defaults of Hugging Face's config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Width of one attention head.
    pub d_kv: usize,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// Encoder blocks.
    pub num_layers: usize,
    /// Decoder blocks; as many as the encoder has where it is absent.
    pub num_decoder_layers: Option<usize>,
    /// Attention heads.
    pub num_heads: usize,
    /// Buckets of the relative position bias.
    pub relative_attention_num_buckets: usize,
    /// The distance, in tokens, from which all positions share a bucket.
    pub relative_attention_max_distance: usize,
    /// Written for other libraries; nothing is dropped here.
    pub dropout_rate: f64,
    /// Added to the variance in the layer norms.
    pub layer_norm_epsilon: f64,
    /// Scale of the initial weights.
    pub initializer_factor: f64,
    /// The feed-forward layers.
    pub feed_forward_proj: FeedForward,
    /// Whether the output reads the embedding table.
    pub tie_word_embeddings: bool,
    /// The padding id.
    pub pad_token_id: u32,
    /// The id that ends a text.
    pub eos_token_id: u32,
    /// The id that the decoder starts from.
    pub decoder_start_token_id: u32,
    /// Always "t5".
    pub model_type: String,
    /// Always true.
    pub is_encoder_decoder: bool,
    /// The class that opens the folder in transformers.
    pub architectures: Vec<String>,
}

/// The kinds of feed-forward layers that T5 checkpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedForward {
    /// Version 1.0.
    #[serde(rename = "relu")]
    Relu,
    /// Version 1.1.
    #[serde(rename = "gated-gelu")]
    GatedGelu,
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
            pad_token_id: 0,
            eos_token_id: 1,
            decoder_start_token_id: 0,
            model_type: "t5".into(),
            is_encoder_decoder: true,
            architectures: vec!["T5ForConditionalGeneration".into()],
        }
    }
}

/// Hugging Face's names of our tensors. A norm's `weight` becomes burn's `gamma` in the adapter.
pub(crate) const NAMES: Names = Names {
    load: &[
        (r"block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.", "bias."),
        (r"\.layer\.0\.SelfAttention\.", ".attention."),
        (r"\.layer\.0\.layer_norm\.", ".attention_norm."),
        (r"\.layer\.1\.EncDecAttention\.", ".cross."),
        (r"^decoder(.*)\.layer\.1\.layer_norm\.", "decoder$1.cross_norm."),
        (r"\.layer\.\d\.DenseReluDense\.", ".feed."),
        (r"\.layer\.\d\.layer_norm\.", ".feed_norm."),
        (r"\.final_layer_norm\.", ".final_norm."),
    ],
    save: &[
        (r"coder\.bias\.", "coder.block.0.layer.0.SelfAttention.relative_attention_bias."),
        (r"\.attention\.", ".layer.0.SelfAttention."),
        (r"\.attention_norm\.", ".layer.0.layer_norm."),
        (r"\.cross\.", ".layer.1.EncDecAttention."),
        (r"\.cross_norm\.", ".layer.1.layer_norm."),
        (r"^encoder(.*)\.feed\.", "encoder$1.layer.1.DenseReluDense."),
        (r"^encoder(.*)\.feed_norm\.", "encoder$1.layer.1.layer_norm."),
        (r"^decoder(.*)\.feed\.", "decoder$1.layer.2.DenseReluDense."),
        (r"^decoder(.*)\.feed_norm\.", "decoder$1.layer.2.layer_norm."),
        (r"\.final_norm\.", ".final_layer_norm."),
    ],
};

impl T5Config {
    /// A model of random weights, drawn as transformers draws them.
    ///
    /// Seed the device first ([`Device::seed`]) to draw the same ones again.
    pub fn init(&self, device: &Device) -> T5 {
        let table = Initializer::Normal { mean: 0.0, std: self.initializer_factor };
        let head = Initializer::Normal { mean: 0.0, std: self.initializer_factor };
        let model = T5 {
            shared: EmbeddingConfig::new(self.vocab_size, self.d_model).with_initializer(table).init(device),
            encoder: Stack::init(self, self.num_layers, false, device),
            decoder: Stack::init(self, self.num_decoder_layers.unwrap_or(self.num_layers), true, device),
            lm_head: (!self.tie_word_embeddings).then(|| {
                LinearConfig::new(self.d_model, self.vocab_size).with_bias(false).with_initializer(head).init(device)
            }),
            spec: ModelSpec { vocab_size: self.vocab_size, pad: self.pad_token_id, eos: self.eos_token_id },
            config: self.clone(),
        };
        model.materialize()
    }

    /// # Errors
    /// [`LmError::Unsupported`] where a size is zero or an id is past the vocabulary.
    pub(crate) fn check(&self, origin: &str) -> Result<(), LmError> {
        let wrong = |field, value: String, supported| {
            Err(LmError::Unsupported { origin: origin.into(), field, value, supported })
        };
        for (field, size) in [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_heads", self.num_heads),
        ] {
            if size == 0 {
                return wrong(field, size.to_string(), "1 or more");
            }
        }
        if self.relative_attention_num_buckets < 4 {
            let buckets = self.relative_attention_num_buckets.to_string();
            return wrong("relative_attention_num_buckets", buckets, "4 or more");
        }
        for (field, id) in [
            ("pad_token_id", self.pad_token_id),
            ("eos_token_id", self.eos_token_id),
            ("decoder_start_token_id", self.decoder_start_token_id),
        ] {
            if id as usize >= self.vocab_size {
                return wrong(field, id.to_string(), "an id below vocab_size");
            }
        }
        Ok(())
    }
}

/// A T5 encoder-decoder with a language modelling head.
#[derive(Module, Debug)]
pub struct T5 {
    shared: Embedding,
    encoder: Stack,
    decoder: Stack,
    lm_head: Option<Linear>,
    #[module(skip)]
    spec: ModelSpec,
    #[module(skip)]
    config: T5Config,
}

#[derive(Module, Debug)]
struct Stack {
    bias: RelativeBias,
    block: Vec<Block>,
    final_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct Block {
    attention: Attention,
    attention_norm: RmsNorm,
    cross: Option<Attention>,
    cross_norm: Option<RmsNorm>,
    feed: Feed,
    feed_norm: RmsNorm,
}

impl Stack {
    fn init(config: &T5Config, layers: usize, decoder: bool, device: &Device) -> Self {
        let factor = config.initializer_factor;
        let norm = || RmsNormConfig::new(config.d_model).with_epsilon(config.layer_norm_epsilon).init(device);
        let attention = || Attention::init(config.d_model, config.num_heads, config.d_kv, factor, device);
        let feed = || match config.feed_forward_proj {
            FeedForward::Relu => Feed::plain(config.d_model, config.d_ff, factor, device),
            FeedForward::GatedGelu => Feed::gated(config.d_model, config.d_ff, factor, device),
        };
        Self {
            bias: RelativeBias::init(
                config.relative_attention_num_buckets,
                config.num_heads,
                config.relative_attention_max_distance,
                !decoder,
                factor / (config.d_model as f64).sqrt(),
                device,
            ),
            block: (0..layers)
                .map(|_| Block {
                    attention: attention(),
                    attention_norm: norm(),
                    cross: decoder.then(attention),
                    cross_norm: decoder.then(norm),
                    feed: feed(),
                    feed_norm: norm(),
                })
                .collect(),
            final_norm: norm(),
        }
    }
}

impl T5 {
    /// The configuration that this model was made from.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// The encoder's last hidden states.
    ///
    /// # Shapes
    /// `[batch, time]` to `[batch, time, d_model]`.
    pub fn encode(&self, tokens: &TokenBatch) -> Tensor<3> {
        let packing = Packing::padded(tokens);
        packing.grid(self.encode_list(tokens, &packing))
    }

    /// The encoder's last hidden states, as `packing` lists them.
    fn encode_list(&self, tokens: &TokenBatch, packing: &Packing) -> Tensor<2> {
        let device = self.device();
        let mut bias = self.encoder.bias.forward(&[0], tokens.width(), tokens.width());
        if let Some(padding) = padding_mask(tokens, &device) {
            bias = bias + padding;
        }
        let mut x = packing.list(self.shared.forward(tokens.tensor(&device)));
        for block in &self.encoder.block {
            let normed = block.attention_norm.forward(x.clone());
            let (keys, values) = block.attention.keys_values(normed.clone(), packing);
            x = x + block.attention.forward(normed, packing, keys, values, Some(bias.clone()));
            x = x.clone() + block.feed.forward(block.feed_norm.forward(x));
        }
        self.encoder.final_norm.forward(x)
    }

    /// What the decoder layers need of the encoded prompts.
    fn memory(&self, prompts: &TokenBatch) -> Memory {
        let packing = Packing::padded(prompts);
        let encoded = self.encode_list(prompts, &packing);
        let layers = self.decoder.block.iter().filter_map(|block| block.cross.as_ref());
        Memory {
            layers: layers.map(|cross| cross.keys_values(encoded.clone(), &packing)).collect(),
            bias: padding_mask(prompts, &self.device()),
        }
    }
}

impl LanguageModel for T5 {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.shared.weight.val().device()
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        let mut context = Context::new(vec![self.config.decoder_start_token_id; prompts.rows()], capacity > 0);
        let mut memory = self.memory(prompts);
        if capacity > 0 {
            // Lays the rows out one after another: a selection of some would copy the transposed view of heads whole.
            memory = memory.select_rows(&(0..prompts.rows()).collect::<Vec<_>>());
            let config = &self.config;
            let cache = || KvCache::new(prompts.rows(), config.num_heads, capacity, config.d_kv, &self.device());
            context.layers = self.decoder.block.iter().map(|_| cache()).collect();
        }
        context.memory = Some(memory);
        context
    }

    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3> {
        assert_eq!(tokens.rows(), rows.len(), "one row of tokens for each row named");
        let device = self.device();
        let whole = context.is_whole(rows);
        let offsets: Vec<usize> = rows.iter().map(|&row| context.length(row)).collect();
        let aligned = offsets.iter().all(|&offset| offset == offsets[0]);
        let distinct = if aligned { &offsets[..1] } else { &offsets[..] };
        let end = offsets.iter().copied().max().unwrap_or(0) + tokens.width();

        let mut bias = self.decoder.bias.forward(distinct, tokens.width(), end);
        if tokens.width() > 1 || !aligned {
            bias = bias + causal_mask(distinct, tokens.width(), end, &device);
        }
        let memory = context.memory.as_ref().expect("prefill encodes the prompts");
        let selected = (!whole).then(|| memory.select_rows(rows));
        let memory = selected.as_ref().unwrap_or(memory);

        // Nothing learns through a cache.
        let packing = if context.remembers() { Packing::packed(tokens, &device) } else { Packing::padded(tokens) };
        let mut x = packing.list(self.shared.forward(tokens.tensor(&device)));
        for (index, block) in self.decoder.block.iter().enumerate() {
            let normed = block.attention_norm.forward(x.clone());
            let (mut keys, mut values) = block.attention.keys_values(normed.clone(), &packing);
            if let Some(cache) = context.layers.get_mut(index) {
                cache.append(rows, &offsets, keys, values);
                (keys, values) = cache.view((!whole).then_some(rows), end);
            }
            x = x + block.attention.forward(normed, &packing, keys, values, Some(bias.clone()));
            if let (Some(cross), Some(norm)) = (&block.cross, &block.cross_norm) {
                let (keys, values) = memory.layers[index].clone();
                x = x.clone() + cross.forward(norm.forward(x), &packing, keys, values, memory.bias.clone());
            }
            x = x.clone() + block.feed.forward(block.feed_norm.forward(x));
        }
        context.extend(rows, tokens);
        packing.grid(self.decoder.final_norm.forward(x))
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => {
                // The table stands first, where a product of matrices reads it as it lies: its transpose would be copied
                // into place for every forward, which costs more than a few positions' logits.
                let scale = (self.config.d_model as f64).powf(-0.5);
                self.shared.weight.val().matmul((hidden * scale).transpose()).transpose()
            }
        }
    }
}
