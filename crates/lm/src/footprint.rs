//! How much memory a model needs, from its config alone.

use crate::Pretrained;
use crate::family::bart_config::BartConfig;
use crate::family::llama_config::LlamaConfig;
use crate::family::t5_config::T5Config;
use crate::nn::{Activation, FeedForward};

/// What decides the memory of a model's activations and caches. All numbers of this module are numbers of floats.
///
/// The formulas follow the operations of the models, and what burn's autodiff keeps of each: the inputs of products, of
/// divisions and of nonlinear functions, and the masks of dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// The blocks that read the prompt. None for a decoder-only model, whose blocks read it with the text.
    encoder: Option<Blocks>,
    decoder: Blocks,
}

/// The blocks of an encoder or a decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Blocks {
    layers: usize,
    width: usize,
    /// The width of all queries, and that of all keys.
    inner: usize,
    kv_inner: usize,
    heads: usize,
    d_ff: usize,
    /// The number of tensors of the width `d_ff` that a block keeps for its backward pass.
    feed: usize,
    /// Whether queries and keys are normalised.
    head_norms: bool,
    /// Whether the block attends to an encoder's output.
    cross: bool,
    /// Whether residuals and feed-forward layers, and attention weights, have dropout in training.
    dropout: [bool; 2],
}

/// The number of tensors that a normalisation keeps: its input, the normalised input, and its output.
const NORM: usize = 3;

/// The number of tensors of the width of a block that exist while its gradients are computed: its output, and the gradients
/// of its output and of its input.
const PASSED: usize = 3;

impl Footprint {
    /// The numbers that are kept between the forward pass and the backward pass of a micro-batch: `rows` prompts of
    /// `source` tokens, padding included, and texts of `target` tokens. `dropout` says whether dropout is on.
    pub fn activations(&self, rows: usize, source: usize, target: usize, dropout: bool) -> usize {
        let (decoder, end) = (&self.decoder, usize::from(self.encoder.is_none()) * source);
        // A decoder-only model reads the prompt and the text together.
        let (own, positions) = (end + target, rows * (end + target));
        let encoded = self.encoder.as_ref().map_or(0, |encoder| {
            // The keys and values of cross-attention belong to the source.
            rows * source * (encoder.kept(source, None, dropout) + 2 * decoder.layers * decoder.kv_inner)
        });
        encoded + positions * decoder.kept(own, decoder.cross.then_some(source), dropout)
    }

    /// The numbers that are kept with gradient checkpointing: the inputs of all blocks between the forward pass and the
    /// backward pass, and those of the largest block while it is computed again. The arguments are those of
    /// [`activations`](Self::activations).
    pub fn checkpointed(&self, rows: usize, source: usize, target: usize, dropout: bool) -> [usize; 2] {
        let (decoder, end) = (&self.decoder, usize::from(self.encoder.is_none()) * source);
        let (own, positions) = (end + target, rows * (end + target));
        let mut inputs = positions * decoder.inputs();
        let mut block =
            positions * (decoder.block(own, decoder.cross.then_some(source), dropout) + PASSED * decoder.width);
        if let Some(encoder) = &self.encoder {
            inputs += rows * source * encoder.inputs();
            // The block computes its keys and values of the encoder's output, whose gradient is added up.
            block += rows * source * (2 * decoder.kv_inner + encoder.width);
            block = block.max(rows * source * (encoder.block(source, None, dropout) + PASSED * encoder.width));
        }
        [inputs, block]
    }

    /// The numbers in the caches of `rows` texts while they are decoded: of prompts of `source` tokens, padding included,
    /// and outputs of at most `target` tokens.
    pub fn caches(&self, rows: usize, source: usize, target: usize) -> usize {
        // Caches of outputs have one slot for each token, and those of prompts are either in them or in the encoder's memory.
        rows * (source + target) * 2 * self.decoder.layers * self.decoder.kv_inner
    }

    /// The largest number of numbers that exist at once in a forward pass without autodiff over `rows` texts of `length`
    /// tokens: those of one block.
    pub fn forward(&self, rows: usize, length: usize) -> usize {
        let block = |blocks: &Blocks| {
            let attention = 2 * blocks.heads * length + 4 * blocks.inner;
            rows * length * (3 * blocks.width + attention.max(3 * blocks.d_ff))
        };
        self.encoder.as_ref().map_or(0, block).max(block(&self.decoder))
    }
}

impl Blocks {
    /// The numbers that are kept for one position that attends to `own` positions, and to `source` ones of the encoder.
    fn kept(&self, own: usize, source: Option<usize>, dropout: bool) -> usize {
        let residual = usize::from(self.dropout[0] && dropout);
        self.layers * self.block(own, source, dropout) + (NORM + 2 * residual) * self.width
    }

    /// The part of one position in the inputs of all blocks and of the last norm, and in the output.
    fn inputs(&self) -> usize {
        (self.layers + 2) * self.width
    }

    /// The part of [`kept`](Self::kept) of one block.
    fn block(&self, own: usize, source: Option<usize>, dropout: bool) -> usize {
        let [residual, weights] = self.dropout.map(|rate| usize::from(rate && dropout));
        // The shifted scores, their exponentials and the attention weights, for each head and key.
        let attend = |keys: usize| self.heads * keys * (3 + weights);
        // Queries, keys, values and what attention finds, which the output projection reads.
        let projected = 2 * self.inner + 2 * self.kv_inner;
        let norms = usize::from(self.head_norms) * 2 * (self.inner + self.kv_inner);
        let mut kept = (NORM + residual) * self.width + projected + norms + attend(own);
        if let Some(source) = source {
            kept += (NORM + residual) * self.width + 2 * self.inner + attend(source);
        }
        kept += (NORM + residual) * self.width + (self.feed + residual) * self.d_ff;
        kept
    }
}

impl Pretrained {
    /// What decides the memory of this model's activations and caches.
    pub fn footprint(&self) -> Footprint {
        match self {
            Self::T5(model) => model.config().footprint(),
            Self::Llama(model) => model.config().footprint(),
            Self::Bart(model) => model.config().footprint(),
        }
    }
}

impl T5Config {
    /// What decides the memory of a model of this config.
    pub fn footprint(&self) -> Footprint {
        let inner = self.num_heads * self.d_kv;
        let blocks = |layers, cross| Blocks {
            layers,
            width: self.d_model,
            inner,
            kv_inner: inner,
            heads: self.num_heads,
            d_ff: self.d_ff,
            feed: match self.feed_forward_proj {
                FeedForward::Relu => kept_by(Activation::Relu),
                FeedForward::GatedGelu => kept_by(Activation::GeluNew) + GATE,
                FeedForward::GatedSilu => kept_by(Activation::Silu) + GATE,
            },
            head_norms: false,
            cross,
            dropout: [self.dropout_rate > 0.0; 2],
        };
        Footprint { encoder: Some(blocks(self.num_layers, false)), decoder: blocks(self.decoder_layers(), true) }
    }
}

impl LlamaConfig {
    /// What decides the memory of a model of this config.
    pub fn footprint(&self) -> Footprint {
        let decoder = Blocks {
            layers: self.num_hidden_layers,
            width: self.hidden_size,
            inner: self.num_attention_heads * self.d_head(),
            kv_inner: self.kv_heads() * self.d_head(),
            heads: self.num_attention_heads,
            d_ff: self.intermediate_size,
            feed: kept_by(self.hidden_act) + GATE,
            head_norms: self.model_type == "qwen3",
            cross: false,
            dropout: [false, self.attention_dropout > 0.0],
        };
        Footprint { encoder: None, decoder }
    }
}

impl BartConfig {
    /// What decides the memory of a model of this config.
    pub fn footprint(&self) -> Footprint {
        let blocks = |layers, heads, d_ff, cross| Blocks {
            layers,
            width: self.d_model,
            inner: self.d_model,
            kv_inner: self.d_model,
            heads,
            d_ff,
            feed: kept_by(self.activation_function),
            head_norms: false,
            cross,
            dropout: [self.dropout > 0.0, self.attention_dropout > 0.0],
        };
        Footprint {
            encoder: Some(blocks(self.encoder_layers, self.encoder_attention_heads, self.encoder_ffn_dim, false)),
            decoder: blocks(self.decoder_layers, self.decoder_attention_heads, self.decoder_ffn_dim, true),
        }
    }
}

/// The tensors that a gated layer keeps besides those of its activation: the other input of the gate, and its output.
const GATE: usize = 2;

/// The number of tensors that an activation function keeps, its output included, which the next product reads.
fn kept_by(activation: Activation) -> usize {
    match activation {
        // The input.
        Activation::Relu | Activation::Gelu => 2,
        // The input and its sigmoid.
        Activation::Silu => 3,
        // The input, the input of the hyperbolic tangent, and 1 plus its output.
        Activation::GeluNew => 4,
    }
}
