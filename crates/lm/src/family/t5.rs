//! T5: versions 1.0 and 1.1, mT5 and UMT5 (Raffel et al. 2020, arXiv 1910.10683; Shazeer 2020, arXiv 2002.05202; Xue et
//! al. 2021, arXiv 2010.11934; Chung et al. 2023, arXiv 2304.09151).

mod taped;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

use super::t5_config::T5Config;
use crate::cache::Slots;
use crate::config::{ConfigFile, ModelSize};
use crate::encoder_decoder::{Attended, EncoderDecoderState, EncoderMemory};
use crate::nn::{
    Attention, Dropout, Embedding, Feed, Linear, Packing, RelativeBias, RmsNorm, causal_mask, first_rows, padding_mask,
    product,
};
use crate::overflow::observe;
use crate::weights::Tensors;
use crate::{Context, Hidden, LanguageModel, LmError, LoraConfig, ModelSpec, Positions, TokenBatch};

/// The names of a parameter in Hugging Face's files.
pub(crate) fn names(path: &str) -> Vec<String> {
    if path == "shared.weight" {
        // Old files have copies of the table, and some have only one of the copies.
        let copies = ["shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"];
        return copies.map(|copy| format!("{copy}.weight")).to_vec();
    }
    let (feed, cross) = match path.starts_with("decoder") {
        true => ("layer.2", "layer.1"),
        false => ("layer.1", "layer.1"),
    };
    let mut name = format!(".{path}");
    for (ours, theirs) in [
        (".attention.", ".layer.0.SelfAttention."),
        (".attention_norm.", ".layer.0.layer_norm."),
        (".cross.", &format!(".{cross}.EncDecAttention.")),
        (".cross_norm.", &format!(".{cross}.layer_norm.")),
        (".feed.", &format!(".{feed}.DenseReluDense.")),
        (".feed_norm.", &format!(".{feed}.layer_norm.")),
        (".bias.", ".layer.0.SelfAttention.relative_attention_bias."),
        (".final_norm.", ".final_layer_norm."),
    ] {
        if name.contains(ours) {
            name = name.replacen(ours, theirs, 1);
            break;
        }
    }
    vec![name[1..].to_owned()]
}

/// Whether a tensor of a file that is not used is a copy of the embedding table.
pub(crate) fn is_copy(name: &str) -> bool {
    name.ends_with("embed_tokens.weight") || name == "lm_head.weight"
}

impl T5Config {
    /// A model with random weights from the same distributions as in transformers.
    ///
    /// For reproducible weights, seed the device first ([`Device::seed`]).
    pub fn init(&self, device: &Device) -> T5 {
        self.lazy(!self.tie_word_embeddings, device).materialize()
    }

    /// A model whose random weights are drawn only when they are first read, so that loading a checkpoint draws none.
    fn lazy(&self, own_head: bool, device: &Device) -> T5 {
        let factor = self.initializer_factor;
        T5 {
            shared: Embedding::init(self.vocab_size, self.d_model, factor, device),
            encoder: Stack::init(self, self.num_layers, false, device),
            decoder: Stack::init(self, self.decoder_layers(), true, device),
            lm_head: own_head.then(|| Linear::init(self.d_model, self.vocab_size, factor, device)),
            dropout_seed: None,
            gradient_checkpointing: false,
            lora: None,
            spec: ModelSpec {
                vocab_size: self.vocab_size,
                d_model: self.d_model,
                pad: self.pad_token_id,
                eos: self.eos_token_id.as_slice().to_vec(),
                max_positions: None,
            },
            config: self.clone(),
        }
    }
}

/// A T5 encoder-decoder with a language modelling head.
#[derive(Module, Debug)]
pub struct T5 {
    shared: Embedding,
    encoder: Stack,
    decoder: Stack,
    /// None if the head shares the weights of `shared`.
    lm_head: Option<Linear>,
    /// The seed of the dropout masks; None outside training.
    #[module(skip)]
    dropout_seed: Option<u64>,
    #[module(skip)]
    gradient_checkpointing: bool,
    /// The settings of the adapters, if there are some.
    #[module(skip)]
    pub(crate) lora: Option<LoraConfig>,
    #[module(skip)]
    pub(crate) spec: ModelSpec,
    #[module(skip)]
    config: T5Config,
}

#[derive(Module, Debug)]
struct Stack {
    block: Vec<Block>,
    final_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct Block {
    /// The position bias of the self-attention. None if the block uses that of the first one.
    bias: Option<RelativeBias>,
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
        let norm = || RmsNorm::init(config.d_model, config.layer_norm_epsilon, device);
        let attention = || {
            Attention::t5(config.d_model, config.num_heads, config.d_kv, factor, device)
                .with_dropout(config.dropout_rate)
        };
        let bias = || {
            RelativeBias::init(
                [config.relative_attention_num_buckets, config.num_heads],
                config.relative_attention_max_distance,
                !decoder,
                factor / (config.d_model as f64).sqrt(),
                device,
            )
        };
        Self {
            block: (0..layers)
                .map(|index| Block {
                    bias: (index == 0 || config.has_bias_per_block()).then(bias),
                    attention: attention(),
                    attention_norm: norm(),
                    cross: decoder.then(attention),
                    cross_norm: decoder.then(norm),
                    feed: Feed::init(config.feed_forward_proj, config.d_model, config.d_ff, factor, device),
                    feed_norm: norm(),
                })
                .collect(),
            final_norm: norm(),
        }
    }
}

impl Block {
    /// Applies the block, in training with the dropout rate `rate`.
    ///
    /// # Shapes
    /// `[positions, d_model]` to the same.
    fn forward(&self, mut x: Tensor<2>, attended: Attended<'_>, dropout: &mut Dropout, rate: f64) -> Tensor<2> {
        let Attended { packing, bias, slots, prompts } = attended;
        let normed = self.attention_norm.forward(x.clone());
        let new = self.attention.keys_values(normed.clone(), packing, dropout);
        let keys_values = match slots {
            Some(slots) => slots.extend(new),
            None => new.into(),
        };
        let found = self.attention.forward(normed, packing, keys_values, bias, dropout);
        x = x + dropout.apply(found, rate);
        if let (Some(cross), Some(norm), Some(prompts)) = (&self.cross, &self.cross_norm, prompts) {
            let found = cross.forward(norm.forward(x.clone()), packing, prompts.keys_values, prompts.bias, dropout);
            x = x + dropout.apply(found, rate);
        }
        let found = self.feed.forward(self.feed_norm.forward(x.clone()), dropout, rate);
        x + dropout.apply(found, rate)
    }
}

/// The input of the first block as the list of `packing`.
///
/// # Shapes
/// `ids`: `[rows, time]`; the result: `[positions, d_model]`.
fn embed(table: &Embedding, ids: Tensor<2, Int>, packing: &Packing, dropout: &mut Dropout, rate: f64) -> Tensor<2> {
    dropout.apply(packing.without_padding(table.forward(ids)), rate)
}

/// A position bias with a mask, both of which are added to the scores.
fn masked(bias: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    match mask {
        Some(mask) => bias + mask,
        None => bias,
    }
}

impl T5 {
    /// The configuration that this model was made from.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// See [`Pretrained::with_vocab_size`](crate::Pretrained::with_vocab_size).
    #[must_use]
    pub(crate) fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        let missing = vocab_size.saturating_sub(self.config.vocab_size);
        if missing > 0 {
            self.shared = self.shared.grow(missing);
            self.lm_head = self.lm_head.map(|head| head.grow(missing));
            self.config.vocab_size = vocab_size;
        }
        self.spec.vocab_size = vocab_size;
        self
    }

    /// See [`Pretrained::with_every_nth_block`](crate::Pretrained::with_every_nth_block).
    #[must_use]
    pub(crate) fn with_every_nth_block(mut self, n: usize) -> Self {
        for stack in [&mut self.encoder, &mut self.decoder] {
            stack.block = std::mem::take(&mut stack.block).into_iter().step_by(n).collect();
        }
        self.config.num_layers = self.encoder.block.len();
        self.config.num_decoder_layers = Some(self.decoder.block.len());
        self
    }

    /// See [`Pretrained::resized`](crate::Pretrained::resized).
    pub(crate) fn resized(&self, size: ModelSize, device: &Device) -> Result<Self, LmError> {
        let config = T5Config {
            num_heads: size.heads(self.config.d_kv)?,
            d_model: size.width,
            d_ff: size.inner(self.config.d_ff, self.config.d_model),
            num_layers: size.layers,
            num_decoder_layers: size.decoder_layers,
            ..self.config.clone()
        };
        Ok(config.init(device).with_vocab_size(self.spec.vocab_size))
    }

    /// The model of a checkpoint, whose weights are not loaded yet.
    ///
    /// # Errors
    /// If the config asks for what is not supported, or if the weights do not fit it.
    pub(crate) fn prepare(file: ConfigFile, tensors: &Tensors<'_>, device: &Device) -> Result<Self, LmError> {
        let origin = file.origin.clone();
        let config = T5Config::from_file(file)?;
        config.check_sizes(tensors, &origin)?;
        let own_head = tensors.has_own_head(&names("shared.weight"), config.tie_word_embeddings)?;
        Ok(config.lazy(own_head, device))
    }

    /// The dropout of one pass: 0 for the encoder, 1 for the decoder, and 2 for the keys and values of cross-attention.
    fn dropout(&self, pass: u64) -> Dropout {
        Dropout::new(self.dropout_seed, pass).with_lora(self.lora.as_ref())
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
        let padding = padding_mask(tokens, &device);
        let mut bias = None;
        let (mut dropout, rate) = (self.dropout(0), self.config.dropout_rate);
        let mut x = embed(&self.shared, tokens.tensor(&device), packing, &mut dropout, rate);
        for (index, block) in self.encoder.block.iter().enumerate() {
            if let Some(own) = &block.bias {
                bias = Some(masked(own.forward(&[0], tokens.width(), tokens.width()), padding.clone()));
            }
            let attended = Attended { packing, bias: bias.clone(), slots: None, prompts: None };
            x = block.forward(x, attended, &mut dropout, rate);
            observe(&x, || format!("encoder.block.{index}"));
        }
        dropout.apply(self.encoder.final_norm.forward(x), rate)
    }

    /// Encodes the prompts and computes the keys and values for cross-attention.
    fn encoder_memory(&self, prompts: &TokenBatch) -> EncoderMemory {
        let packing = Packing::fastest(prompts, &self.device());
        let encoded = self.encode_list(prompts, &packing);
        let layers = self.decoder.block.iter().filter_map(|block| block.cross.as_ref());
        let mut dropout = self.dropout(2);
        EncoderMemory {
            layers: layers.map(|cross| cross.keys_values(encoded.clone(), &packing, &mut dropout)).collect(),
            bias: padding_mask(prompts, &self.device()),
            lengths: prompts.lengths().to_vec(),
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
        if self.gradient_checkpointing && capacity == 0 {
            self.record_encoder(prompts, &mut context);
            return context;
        }
        let sizes = [self.config.num_heads, self.config.d_kv];
        let memory = self.encoder_memory(prompts);
        context.insert(EncoderDecoderState::new(memory, prompts.rows(), capacity, sizes));
        context
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        assert_eq!(tokens.rows(), rows.len(), "`tokens` has one row for each of `rows`");
        let device = self.device();
        let whole = context.is_whole(rows);
        if context.tape.is_some() {
            assert!(whole, "a model with gradient checkpointing reads all rows of a context");
            return self.record_decoder(tokens, positions, context);
        }
        let offsets: Vec<usize> = rows.iter().map(|&row| context.length(row)).collect();
        let aligned = offsets.iter().all(|&offset| offset == offsets[0]);
        let distinct = if aligned { &offsets[..1] } else { &offsets[..] };
        let end = offsets.iter().copied().max().unwrap_or(0) + tokens.width();

        let mask = causal_mask(&offsets, tokens.width(), end, None, &device);
        let mut bias = None;
        let packing = Packing::fastest(tokens, &device);
        let state = context.state_mut::<EncoderDecoderState>().expect("this context was made by the prefill of a T5");
        let selected = (!whole).then_some(rows);
        let padding = state.memory.bias_of(selected);

        let (mut dropout, rate) = (self.dropout(1), self.config.dropout_rate);
        let mut x = embed(&self.shared, tokens.tensor(&device), &packing, &mut dropout, rate);
        for (index, block) in self.decoder.block.iter().enumerate() {
            if let Some(own) = &block.bias {
                bias = Some(masked(own.forward(distinct, tokens.width(), end), mask.clone()));
            }
            let cache = state.caches.get_mut(index);
            let slots = cache.map(|cache| Slots { cache, rows, whole, offsets: &offsets, end });
            let attended = Attended {
                packing: &packing,
                bias: bias.clone(),
                slots,
                prompts: Some(state.memory.block(index, selected, padding.clone())),
            };
            x = block.forward(x, attended, &mut dropout, rate);
            observe(&x, || format!("decoder.block.{index}"));
        }
        context.extend(rows, tokens);
        let states = packing.grid(dropout.apply(self.decoder.final_norm.forward(x), rate));
        Hidden::new(positions.select(states, tokens.lengths()))
    }

    fn with_dropout(self, seed: u64) -> Self {
        Self { dropout_seed: Some(seed), ..self }
    }

    fn with_gradient_checkpointing(self) -> Self {
        Self { gradient_checkpointing: true, ..self }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        let mut states = hidden.states();
        if self.config.scales_outputs() {
            states = states * (self.config.d_model as f64).powf(-0.5);
        }
        let table = self.lm_head.as_ref().map_or(&self.shared.weight, |head| &head.weight);
        product(states, &first_rows(table.val(), self.spec.vocab_size))
    }
}
