//! T5, versions 1.0 and 1.1 (Raffel et al. 2020, arXiv 1910.10683; Shazeer 2020, arXiv 2002.05202).

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::cache::KvCache;
use crate::context::row_index;
use crate::nn::{Attention, Dropout, Feed, Packing, RelativeBias, causal_mask, padding_mask};
use crate::weights::{Names, Shapes};
use crate::{Context, Hidden, LanguageModel, LmError, ModelSpec, ModelState, Positions, TokenBatch};

/// The configuration of a [`T5`], with the names and defaults of Hugging Face's config.json.
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
    /// The dropout rate in training, 0 to 1: see [`LanguageModel::with_dropout`].
    pub dropout_rate: f64,
    /// Added to the mean square in the RMS norms, for numerical stability.
    pub layer_norm_epsilon: f64,
    /// The scale of the initial weights.
    pub initializer_factor: f64,
    /// The kind of feed-forward layers.
    pub feed_forward_proj: FeedForward,
    /// Whether the output head shares the weights of the embedding table.
    pub tie_word_embeddings: bool,
    /// The id of the padding token.
    pub pad_token_id: u32,
    /// The id of the end-of-text token.
    pub eos_token_id: u32,
    /// The id of the first token of every decoder input.
    pub decoder_start_token_id: u32,
    /// The model family, "t5".
    pub model_type: String,
    /// True. It is only kept for other libraries.
    pub is_encoder_decoder: bool,
    /// The class that opens the folder in transformers. It is only kept for that library.
    pub architectures: Vec<String>,
}

/// The kinds of feed-forward layers that T5 checkpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedForward {
    /// Plain layers with ReLU, as in version 1.0.
    #[serde(rename = "relu")]
    Relu,
    /// Gated layers with GELU, as in version 1.1.
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

/// How Hugging Face's tensor names map to ours. burn-store's adapter also renames the `weight` of a norm to `gamma`.
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
    /// A model with random weights from the same distributions as in transformers.
    ///
    /// For reproducible weights, seed the device first ([`Device::seed`]).
    pub fn init(&self, device: &Device) -> T5 {
        self.lazy(device).materialize()
    }

    /// A model whose random weights are drawn only when they are first read, so that loading a checkpoint draws none.
    pub(crate) fn lazy(&self, device: &Device) -> T5 {
        let table = Initializer::Normal { mean: 0.0, std: self.initializer_factor };
        let head = Initializer::Normal { mean: 0.0, std: self.initializer_factor };
        T5 {
            shared: EmbeddingConfig::new(self.vocab_size, self.d_model).with_initializer(table).init(device),
            encoder: Stack::init(self, self.num_layers, false, device),
            decoder: Stack::init(self, self.num_decoder_layers.unwrap_or(self.num_layers), true, device),
            lm_head: (!self.tie_word_embeddings).then(|| {
                LinearConfig::new(self.d_model, self.vocab_size).with_bias(false).with_initializer(head).init(device)
            }),
            spec: ModelSpec {
                vocab_size: self.vocab_size,
                d_model: self.d_model,
                pad: self.pad_token_id,
                eos: self.eos_token_id,
            },
            dropout_seed: None,
            config: self.clone(),
        }
    }

    /// Compares the sizes in the config with the header of the weight file, before any tensor is allocated.
    ///
    /// # Errors
    /// [`LmError::Size`] with the first field that differs, or [`LmError::Weights`] if a tensor that shows a size is
    /// missing.
    pub(crate) fn check_sizes(&self, shapes: &Shapes, origin: &str) -> Result<(), LmError> {
        let layers = |stack: &str| {
            let prefix = format!("{stack}.block.");
            let blocks = shapes.names().filter_map(|name| name.strip_prefix(&prefix)?.split('.').next()?.parse().ok());
            blocks.max().map_or(0, |last: usize| last + 1)
        };
        let attention = "encoder.block.0.layer.0.SelfAttention";
        let size = |tensor: &str, dimension: usize| Some((tensor.to_owned(), shapes.size(tensor, dimension)?));
        let feed = |name: &str| size(&format!("encoder.block.0.layer.1.DenseReluDense.{name}.weight"), 0);
        let heads = size(&format!("{attention}.relative_attention_bias.weight"), 1);
        let inner = size(&format!("{attention}.q.weight"), 0);
        let decoder_layers = self.num_decoder_layers.unwrap_or(self.num_layers);
        for (field, value, found) in [
            ("vocab_size", self.vocab_size, size("shared.weight", 0)),
            ("d_model", self.d_model, size("shared.weight", 1)),
            ("d_ff", self.d_ff, feed("wi").or_else(|| feed("wi_0"))),
            ("num_heads", self.num_heads, heads),
            ("num_heads * d_kv", self.num_heads.saturating_mul(self.d_kv), inner),
            (
                "relative_attention_num_buckets",
                self.relative_attention_num_buckets,
                size(&format!("{attention}.relative_attention_bias.weight"), 0),
            ),
            ("num_layers", self.num_layers, Some(("encoder.block".into(), layers("encoder")))),
            ("num_decoder_layers", decoder_layers, Some(("decoder.block".into(), layers("decoder")))),
        ] {
            match found {
                Some((_, found)) if found == value => {}
                Some((tensor, found)) => {
                    return Err(LmError::Size { origin: origin.into(), field, value, tensor, found });
                }
                None => {
                    let problems = vec![format!("the tensor that shows {field} is missing")];
                    return Err(LmError::Weights { origin: origin.into(), problems });
                }
            }
        }
        Ok(())
    }

    /// Checks that the sizes are large enough and that the ids are in the vocabulary.
    ///
    /// # Errors
    /// [`LmError::Unsupported`] with the first field that is invalid.
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
        if !(0.0..1.0).contains(&self.dropout_rate) {
            return wrong("dropout_rate", self.dropout_rate.to_string(), "0 or more, and less than 1");
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
    /// The seed of the dropout masks; None outside training.
    #[module(skip)]
    dropout_seed: Option<u64>,
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
        let attention = || {
            Attention::init(config.d_model, config.num_heads, config.d_kv, factor, device)
                .with_dropout(config.dropout_rate)
        };
        let feed = || match config.feed_forward_proj {
            FeedForward::Relu => Feed::plain(config.d_model, config.d_ff, factor, device),
            FeedForward::GatedGelu => Feed::gated(config.d_model, config.d_ff, factor, device),
        };
        Self {
            bias: RelativeBias::init(
                [config.relative_attention_num_buckets, config.num_heads],
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

    /// The same model with a vocabulary of `vocab_size` tokens. The weights of each new token are the mean of those of
    /// the existing tokens.
    ///
    /// # Panics
    /// If the vocabulary of the model is larger.
    #[must_use]
    pub(crate) fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        let missing = vocab_size.checked_sub(self.spec.vocab_size).expect("a vocabulary can only grow");
        if missing > 0 {
            let grow = |weight: Tensor<2>, dim: usize| {
                let mean = weight.clone().mean_dim(dim);
                Tensor::cat(vec![weight, mean.repeat_dim(dim, missing)], dim)
            };
            self.shared.weight = self.shared.weight.map(|weight| grow(weight.detach(), 0));
            if let Some(head) = &mut self.lm_head {
                head.weight = head.weight.clone().map(|weight| grow(weight.detach(), 1));
            }
            self.spec.vocab_size = vocab_size;
            self.config.vocab_size = vocab_size;
        }
        self
    }

    /// The encoder's last hidden states.
    ///
    /// # Shapes
    /// `[batch, time]` to `[batch, time, d_model]`.
    pub fn encode(&self, tokens: &TokenBatch) -> Tensor<3> {
        let packing = Packing::padded(tokens);
        packing.grid(self.encode_list(tokens, &packing))
    }

    /// The encoder's last hidden states as the list of `packing`, `[positions, d_model]`.
    fn encode_list(&self, tokens: &TokenBatch, packing: &Packing) -> Tensor<2> {
        let device = self.device();
        let mut bias = self.encoder.bias.forward(&[0], tokens.width(), tokens.width());
        if let Some(padding) = padding_mask(tokens, &device) {
            bias = bias + padding;
        }
        let (mut dropout, rate) = (Dropout::new(self.dropout_seed, 0), self.config.dropout_rate);
        let mut x = packing.list(self.shared.forward(tokens.tensor(&device)));
        x = dropout.apply(x, rate);
        for block in &self.encoder.block {
            let normed = block.attention_norm.forward(x.clone());
            let keys_values = block.attention.keys_values(normed.clone(), packing);
            let found = block.attention.forward(normed, packing, keys_values, Some(bias.clone()), &mut dropout);
            x = x + dropout.apply(found, rate);
            let found = block.feed.forward(block.feed_norm.forward(x.clone()), &mut dropout, rate);
            x = x + dropout.apply(found, rate);
        }
        dropout.apply(self.encoder.final_norm.forward(x), rate)
    }

    /// Encodes the prompts and computes the keys and values for cross-attention.
    fn encoder_memory(&self, prompts: &TokenBatch) -> EncoderMemory {
        let packing = Packing::padded(prompts);
        let encoded = self.encode_list(prompts, &packing);
        let layers = self.decoder.block.iter().filter_map(|block| block.cross.as_ref());
        EncoderMemory {
            layers: layers.map(|cross| cross.keys_values(encoded.clone(), &packing)).collect(),
            bias: padding_mask(prompts, &self.device()),
        }
    }
}

/// What a T5 keeps in a [`Context`].
#[derive(Debug)]
struct T5State {
    memory: EncoderMemory,
    /// One cache for each decoder block. There are none in a context that does not remember.
    caches: Vec<KvCache>,
}

/// What the decoder needs for cross-attention, computed once from the prompts.
#[derive(Clone, Debug)]
struct EncoderMemory {
    /// The keys and values for each decoder block, `[batch, heads, source, d_head]`.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    /// The padding mask, `[batch, 1, 1, source]`, which is added to the attention scores. None if no row is padded.
    bias: Option<Tensor<4>>,
}

impl ModelState for T5State {
    fn select_rows(&mut self, rows: &[usize]) {
        for cache in &mut self.caches {
            cache.select_rows(rows);
        }
        self.memory = self.memory.select_rows(rows);
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // The context knows the lengths: slots past them are masked, and the next append overwrites them.
    }
}

impl EncoderMemory {
    fn select_rows(&self, rows: &[usize]) -> Self {
        let Some((keys, _)) = self.layers.first() else { return self.clone() };
        let index = row_index(rows, &keys.device());
        let mut layers = Vec::with_capacity(self.layers.len());
        for (keys, values) in &self.layers {
            layers.push((keys.clone().select(0, index.clone()), values.clone().select(0, index.clone())));
        }
        Self { layers, bias: self.bias.clone().map(|bias| bias.select(0, index)) }
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
        let mut memory = self.encoder_memory(prompts);
        let mut caches = Vec::new();
        if capacity > 0 {
            // Selecting all rows makes the keys and values contiguous once. They are transposed views of the heads, and
            // without this every later selection of rows would first copy them as a whole.
            memory = memory.select_rows(&(0..prompts.rows()).collect::<Vec<_>>());
            let config = &self.config;
            for _ in &self.decoder.block {
                caches.push(KvCache::new(prompts.rows(), config.num_heads, capacity, config.d_kv, &self.device()));
            }
        }
        context.insert(T5State { memory, caches });
        context
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        assert_eq!(tokens.rows(), rows.len(), "`tokens` has one row for each of `rows`");
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
        // Packing is slow only in the backward pass, and a context with caches is for decoding, which has none.
        let packing = if context.remembers() { Packing::packed(tokens, &device) } else { Packing::padded(tokens) };
        let state = context.state_mut::<T5State>().expect("this context was made by the prefill of a T5");
        let selected = (!whole).then(|| state.memory.select_rows(rows));
        let memory = selected.as_ref().unwrap_or(&state.memory);

        let (mut dropout, rate) = (Dropout::new(self.dropout_seed, 1), self.config.dropout_rate);
        let mut x = packing.list(self.shared.forward(tokens.tensor(&device)));
        x = dropout.apply(x, rate);
        for (index, block) in self.decoder.block.iter().enumerate() {
            let normed = block.attention_norm.forward(x.clone());
            let mut keys_values = block.attention.keys_values(normed.clone(), &packing);
            if let Some(cache) = state.caches.get_mut(index) {
                cache.append(rows, &offsets, keys_values.0, keys_values.1);
                keys_values = cache.view((!whole).then_some(rows), end);
            }
            let found = block.attention.forward(normed, &packing, keys_values, Some(bias.clone()), &mut dropout);
            x = x + dropout.apply(found, rate);
            if let (Some(cross), Some(norm)) = (&block.cross, &block.cross_norm) {
                let (normed, keys_values) = (norm.forward(x.clone()), memory.layers[index].clone());
                let found = cross.forward(normed, &packing, keys_values, memory.bias.clone(), &mut dropout);
                x = x + dropout.apply(found, rate);
            }
            let found = block.feed.forward(block.feed_norm.forward(x.clone()), &mut dropout, rate);
            x = x + dropout.apply(found, rate);
        }
        context.extend(rows, tokens);
        let states = packing.grid(dropout.apply(self.decoder.final_norm.forward(x), rate));
        Hidden::new(positions.select(states, tokens.lengths()))
    }

    fn with_dropout(self, seed: u64) -> Self {
        Self { dropout_seed: Some(seed), ..self }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        let states = hidden.states();
        match &self.lm_head {
            Some(head) => head.forward(states),
            None => {
                // The table is the left factor, so that the matrix product does not copy it. As the right factor, its
                // transpose would be copied at every call. For a few positions that costs more than their logits.
                let scale = (self.config.d_model as f64).powf(-0.5);
                self.shared.weight.val().matmul((states * scale).transpose()).transpose()
            }
        }
    }
}
