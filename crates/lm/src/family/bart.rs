//! The BART family of encoder-decoders: BART, mBART, Marian and M2M100, to which NLLB belongs (Lewis et al. 2019, arXiv
//! 1910.13461; Liu et al. 2020, arXiv 2001.08210; Junczys-Dowmunt et al. 2018, arXiv 1804.00344; Fan et al. 2020, arXiv
//! 2010.11125; NLLB Team 2022, arXiv 2207.04672).
//!
//! | `model_type` | positions | norms | norm of the embeddings |
//! |---|---|---|---|
//! | bart | learned | after each layer | yes |
//! | mbart | learned | before each layer, and one at the end | yes |
//! | marian | sinusoidal | after each layer | no |
//! | m2m_100 | sinusoidal | before each layer, and one at the end | no |

mod block;
mod inputs;
mod taped;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use block::Block;

use super::bart_config::BartConfig;
use crate::cache::Slots;
use crate::config::{ConfigFile, ModelSize};
use crate::encoder_decoder::{Attended, EncoderDecoderState, EncoderMemory};
use crate::nn::{
    Attention, Dropout, Embedding, LayerNorm, Linear, Packing, Sinusoids, causal_mask, first_rows, grow, padding_mask,
    product,
};
use crate::overflow::observe;
use crate::weights::{HEAD, Tensors};
use crate::{Context, Hidden, LanguageModel, LmError, LoraConfig, ModelSpec, Positions, TokenBatch, TokenIds};

/// The names of a parameter in Hugging Face's files. Files of the bare model have no prefix.
pub(crate) fn names(path: &str) -> Vec<String> {
    match path {
        "lm_head.weight" | "final_logits_bias" => vec![path.to_owned()],
        "shared.weight" => {
            // Old files have copies of the table, and some have only one of the copies.
            let copies = ["shared.weight", ENCODER_TABLE, DECODER_TABLE];
            let prefixed = copies.iter().map(|copy| format!("model.{copy}"));
            let bare = copies.iter().map(|copy| (*copy).to_owned());
            prefixed.chain(bare).chain([HEAD.to_owned()]).collect()
        }
        _ => {
            let mut name = path.to_owned();
            for (ours, theirs) in [(".q.", ".q_proj."), (".k.", ".k_proj."), (".v.", ".v_proj."), (".o.", ".out_proj.")]
            {
                name = name.replacen(ours, theirs, 1);
            }
            vec![format!("model.{name}"), name]
        }
    }
}

const ENCODER_TABLE: &str = "encoder.embed_tokens.weight";
const DECODER_TABLE: &str = "decoder.embed_tokens.weight";

/// Whether a tensor of a file that is not used is a copy of the embedding table, computed from the config, or the number
/// of a version.
pub(crate) fn is_copy(name: &str) -> bool {
    name.ends_with("embed_tokens.weight")
        || name == HEAD
        || name.contains(".embed_positions.weight")
        || name.ends_with("coder.version")
}

impl BartConfig {
    /// A model with random weights from the same distributions as in transformers. Only the embedding of padding differs:
    /// it is random, and 0 there.
    ///
    /// For reproducible weights, seed the device first ([`Device::seed`]).
    ///
    /// # Errors
    /// [`LmError::Unsupported`] with the field that is invalid or not supported.
    pub fn init(&self, device: &Device) -> Result<Bart, LmError> {
        self.check("the config")?;
        let mut model = self.lazy(device);
        model.lm_head = (!self.tie_word_embeddings).then(|| self.head(device));
        Ok(model.materialize())
    }

    /// A model whose random weights are drawn only when they are first read, so that loading a checkpoint draws none. All
    /// its tables are shared, and it has no bias of the logits.
    fn lazy(&self, device: &Device) -> Bart {
        let eos = self.eos_token_id.as_ref().map_or(&[][..], TokenIds::as_slice).to_vec();
        Bart {
            shared: self.table(device),
            encoder: self.stack(self.encoder_layers, self.encoder_attention_heads, self.encoder_ffn_dim, false, device),
            decoder: self.stack(self.decoder_layers, self.decoder_attention_heads, self.decoder_ffn_dim, true, device),
            final_logits_bias: None,
            lm_head: None,
            sinusoids: self.sinusoids(),
            dropout_seed: None,
            gradient_checkpointing: false,
            lora: None,
            spec: ModelSpec {
                vocab_size: self.vocab_size,
                d_model: self.d_model,
                // Padding is never read, so any id will do.
                pad: self.pad_token_id.or(eos.first().copied()).unwrap_or(0),
                eos,
                max_positions: self.has_learned_positions().then_some(self.max_position_embeddings),
            },
            config: self.clone(),
        }
    }

    fn table(&self, device: &Device) -> Embedding {
        Embedding::init(self.vocab_size, self.d_model, self.init_std, device)
    }

    fn head(&self, device: &Device) -> Linear {
        Linear::init(self.d_model, self.vocab_size, self.init_std, device)
    }

    fn stack(&self, layers: usize, heads: usize, inner: usize, decoder: bool, device: &Device) -> Stack {
        let (width, std) = (self.d_model, self.init_std);
        let norm = || LayerNorm::init(width, LAYER_NORM_EPSILON, device);
        let attention = || Attention::bart(width, heads, std, device).with_dropout(self.attention_dropout);
        let linear = |inputs, outputs| Linear::init(inputs, outputs, std, device).with_bias(true, device);
        let block = |_| Block {
            self_attn: attention(),
            self_attn_layer_norm: norm(),
            encoder_attn: decoder.then(attention),
            encoder_attn_layer_norm: decoder.then(norm),
            fc1: linear(width, inner),
            fc2: linear(inner, width),
            final_layer_norm: norm(),
        };
        let positions = || Embedding::init(self.max_position_embeddings + FIRST_POSITION, width, std, device);
        Stack {
            embed_tokens: None,
            embed_positions: self.has_learned_positions().then(positions),
            layernorm_embedding: self.normalizes_embeddings().then(norm),
            layers: (0..layers).map(block).collect(),
            layer_norm: self.normalizes_before().then(norm),
        }
    }

    fn sinusoids(&self) -> Option<Sinusoids> {
        let (width, padding) = (self.d_model, self.pad_token_id.unwrap_or(0) as usize);
        match self.model_type.as_str() {
            "marian" => Some(Sinusoids::Marian { width }),
            "m2m_100" => Some(Sinusoids::M2m100 { width, padding }),
            _ => None,
        }
    }
}

/// The number of rows at the start of a table of learned positions that no position uses.
pub(super) const FIRST_POSITION: usize = 2;

/// Added to the variance in the layer norms.
const LAYER_NORM_EPSILON: f64 = 1e-5;

/// An encoder-decoder of the BART family with a language modelling head.
#[derive(Module, Debug)]
pub struct Bart {
    shared: Embedding,
    encoder: Stack,
    decoder: Stack,
    /// Added to the logits, `[1, vocab]`. It is not trained. None means 0.
    final_logits_bias: Option<Param<Tensor<2>>>,
    /// None if the head shares the weights of `shared`.
    lm_head: Option<Linear>,
    /// None if positions are learned.
    #[module(skip)]
    sinusoids: Option<Sinusoids>,
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
    config: BartConfig,
}

#[derive(Module, Debug)]
struct Stack {
    /// None if the stack uses `shared`.
    embed_tokens: Option<Embedding>,
    /// None if positions are computed.
    embed_positions: Option<Embedding>,
    layernorm_embedding: Option<LayerNorm>,
    layers: Vec<Block>,
    /// None if norms are after the layers.
    layer_norm: Option<LayerNorm>,
}

impl Bart {
    /// The configuration that this model was made from.
    pub fn config(&self) -> &BartConfig {
        &self.config
    }

    /// See [`Pretrained::with_vocab_size`](crate::Pretrained::with_vocab_size).
    ///
    /// The logit of a new token is the mean of the logits of the others, so its bias is the mean of theirs. transformers
    /// gives it the bias 0, which would make it more likely than most tokens if biases are negative, as those of Marian.
    #[must_use]
    pub(crate) fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        let missing = vocab_size.saturating_sub(self.config.vocab_size);
        if missing > 0 {
            self.shared = self.shared.grow(missing);
            for stack in [&mut self.encoder, &mut self.decoder] {
                stack.embed_tokens = stack.embed_tokens.take().map(|table| table.grow(missing));
            }
            self.lm_head = self.lm_head.map(|head| head.grow(missing));
            let longer = |bias: Tensor<2>| grow(bias.transpose(), missing).transpose();
            self.final_logits_bias = self.final_logits_bias.map(|bias| bias.map(longer).set_require_grad(false));
            self.config.vocab_size = vocab_size;
            self.config.decoder_vocab_size = self.config.decoder_vocab_size.map(|_| vocab_size);
        }
        self.spec.vocab_size = vocab_size;
        self
    }

    /// See [`Pretrained::with_every_nth_block`](crate::Pretrained::with_every_nth_block).
    #[must_use]
    pub(crate) fn with_every_nth_block(mut self, n: usize) -> Self {
        for stack in [&mut self.encoder, &mut self.decoder] {
            stack.layers = std::mem::take(&mut stack.layers).into_iter().step_by(n).collect();
        }
        self.config.encoder_layers = self.encoder.layers.len();
        self.config.decoder_layers = self.decoder.layers.len();
        self
    }

    /// See [`Pretrained::resized`](crate::Pretrained::resized).
    pub(crate) fn resized(&self, size: ModelSize, device: &Device) -> Result<Self, LmError> {
        let old = &self.config;
        let config = BartConfig {
            encoder_attention_heads: size.heads(old.d_model / old.encoder_attention_heads)?,
            decoder_attention_heads: size.heads(old.d_model / old.decoder_attention_heads)?,
            d_model: size.width,
            encoder_ffn_dim: size.inner(old.encoder_ffn_dim, old.d_model),
            decoder_ffn_dim: size.inner(old.decoder_ffn_dim, old.d_model),
            encoder_layers: size.layers,
            decoder_layers: size.decoder_layers.unwrap_or(size.layers),
            ..old.clone()
        };
        Ok(config.init(device)?.with_vocab_size(self.spec.vocab_size))
    }

    /// The model of a checkpoint, whose weights are not loaded yet.
    ///
    /// # Errors
    /// If the config asks for what is not supported, or if the weights do not fit it.
    pub(crate) fn prepare(file: ConfigFile, tensors: &Tensors<'_>, device: &Device) -> Result<Self, LmError> {
        let origin = file.origin.clone();
        let config = BartConfig::from_file(file)?;
        config.check_sizes(tensors, &origin)?;
        if config.encoder_layerdrop > 0.0 || config.decoder_layerdrop > 0.0 {
            log::warn!("{origin}: encoder_layerdrop and decoder_layerdrop are not used: training skips no blocks");
        }
        // The file decides: a table that differs is used, whatever the config says about sharing.
        let shared = names("shared.weight");
        let table = shared.iter().find(|name| tensors.shape(name).is_some());
        let differs = |name: &str| -> Result<bool, LmError> {
            let is_other = tensors.shape(name).is_some() && table.is_some_and(|table| table != name);
            Ok(is_other && !tensors.are_equal(name, &shared)?)
        };
        let mut model = config.lazy(device);
        for (stack, name) in [(&mut model.encoder, ENCODER_TABLE), (&mut model.decoder, DECODER_TABLE)] {
            if differs(&format!("model.{name}"))? || differs(name)? {
                stack.embed_tokens = Some(config.table(device));
            }
        }
        if tensors.has_own_head(&shared, config.tie_word_embeddings)? {
            model.lm_head = Some(config.head(device));
        }
        if tensors.shape("final_logits_bias").is_some() && config.model_type != "m2m_100" {
            let bias: Param<Tensor<2>> = Initializer::Zeros.init([1, config.vocab_size], device);
            model.final_logits_bias = Some(bias.set_require_grad(false));
        }
        Ok(model)
    }

    /// The bias of the logits is not trained.
    pub(crate) fn freeze_logits_bias(&mut self) {
        self.final_logits_bias = self.final_logits_bias.take().map(|bias| bias.set_require_grad(false));
    }

    /// The model whose tensors are saved. transformers 5 does not share any table if the head has weights of its own, so
    /// such a file needs a copy of the table for each stack.
    pub(crate) fn with_copies(&self) -> Self {
        let mut model = self.clone();
        if model.lm_head.is_some() {
            for stack in [&mut model.encoder, &mut model.decoder] {
                stack.embed_tokens.get_or_insert_with(|| self.shared.clone());
            }
        }
        model
    }

    /// The dropout of one pass: 0 for the encoder, 1 for the decoder, and 2 for the keys and values of cross-attention.
    fn dropout(&self, pass: u64) -> Dropout {
        Dropout::new(self.dropout_seed, pass).with_lora(self.lora.as_ref())
    }

    /// The encoder's last hidden states.
    ///
    /// # Shapes
    /// `[batch, time]` to `[batch, time, d_model]`.
    ///
    /// # Panics
    /// If a row is longer than [`ModelSpec::max_positions`].
    pub fn encode(&self, tokens: &TokenBatch) -> Tensor<3> {
        let packing = Packing::padded(tokens);
        packing.grid(self.encode_list(tokens, &packing))
    }

    /// The encoder's last hidden states as the list of `packing`, `[positions, d_model]`.
    fn encode_list(&self, tokens: &TokenBatch, packing: &Packing) -> Tensor<2> {
        let padding = padding_mask(tokens, &self.device());
        let mut dropout = self.dropout(0);
        let before = vec![&[][..]; tokens.rows()];
        let input = self.input_tokens(tokens, &before, &self.device());
        let mut x = self.input_layers(&self.encoder).forward(&input, packing, &mut dropout);
        for (index, block) in self.encoder.layers.iter().enumerate() {
            let attended = Attended { packing, bias: padding.clone(), slots: None, prompts: None };
            x = block.forward(x, attended, &mut dropout, self.config.style());
            observe(&x, || format!("model.encoder.layers.{index}"));
        }
        last_norm(&self.encoder.layer_norm, x)
    }

    /// Encodes the prompts and computes the keys and values for cross-attention.
    fn encoder_memory(&self, prompts: &TokenBatch) -> EncoderMemory {
        let packing = Packing::padded(prompts);
        let encoded = self.encode_list(prompts, &packing);
        let layers = self.decoder.layers.iter().filter_map(|block| block.encoder_attn.as_ref());
        let mut dropout = self.dropout(2);
        EncoderMemory {
            layers: layers.map(|cross| cross.keys_values(encoded.clone(), &packing, &mut dropout)).collect(),
            bias: padding_mask(prompts, &self.device()),
            lengths: prompts.lengths().to_vec(),
        }
    }
}

/// Applies the norm at the end of a stack, if it has one.
fn last_norm(norm: &Option<LayerNorm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

impl LanguageModel for Bart {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.shared.weight.val().device()
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        let config = &self.config;
        let start = config.decoder_start_token_id.or(config.bos_token_id).expect("a checked config has one of the two");
        let mut context = Context::new(vec![start; prompts.rows()], capacity > 0);
        if self.gradient_checkpointing && capacity == 0 {
            self.record_encoder(prompts, &mut context);
            return context;
        }
        let heads = config.decoder_attention_heads;
        let memory = self.encoder_memory(prompts);
        context.insert(EncoderDecoderState::new(memory, prompts.rows(), capacity, [heads, config.d_model / heads]));
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
        let end = offsets.iter().copied().max().unwrap_or(0) + tokens.width();
        let mask = causal_mask(&offsets, tokens.width(), end, None, &device);
        let packing = Packing::fastest(tokens, &device);
        let mut dropout = self.dropout(1);
        let before: Vec<&[u32]> = rows.iter().map(|&row| context.tokens(row)).collect();
        let input = self.input_tokens(tokens, &before, &device);
        let mut x = self.input_layers(&self.decoder).forward(&input, &packing, &mut dropout);

        let state = context.state_mut::<EncoderDecoderState>().expect("this context was made by the prefill of a Bart");
        let selected = (!whole).then_some(rows);
        let padding = state.memory.bias_of(selected);
        for (index, block) in self.decoder.layers.iter().enumerate() {
            let cache = state.caches.get_mut(index);
            let slots = cache.map(|cache| Slots { cache, rows, whole, offsets: &offsets, end });
            let attended = Attended {
                packing: &packing,
                bias: mask.clone(),
                slots,
                prompts: Some(state.memory.block(index, selected, padding.clone())),
            };
            x = block.forward(x, attended, &mut dropout, self.config.style());
            observe(&x, || format!("model.decoder.layers.{index}"));
        }
        context.extend(rows, tokens);
        let states = packing.grid(last_norm(&self.decoder.layer_norm, x));
        Hidden::new(positions.select(states, tokens.lengths()))
    }

    fn with_dropout(self, seed: u64) -> Self {
        Self { dropout_seed: Some(seed), ..self }
    }

    fn with_gradient_checkpointing(self) -> Self {
        Self { gradient_checkpointing: true, ..self }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        let (table, vocab_size) =
            (self.lm_head.as_ref().map_or(&self.shared.weight, |head| &head.weight), self.spec.vocab_size);
        let logits = product(hidden.states(), &first_rows(table.val(), vocab_size));
        match &self.final_logits_bias {
            Some(bias) => logits + bias.val().narrow(1, 0, vocab_size),
            None => logits,
        }
    }
}
