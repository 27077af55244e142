//! The Llama family: Llama 2 and 3, Mistral, Qwen2 and Qwen3 (Touvron et al. 2023, arXiv 2307.09288; Grattafiori et al.
//! 2024, arXiv 2407.21783; Jiang et al. 2023, arXiv 2310.06825; Yang et al. 2024, arXiv 2407.10671 and 2025, arXiv
//! 2505.09388). Other models, such as SmolLM2, have the architecture of one of these.

mod block;
mod state;
mod taped;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde_json::Map;

use block::{Attended, Block, Mlp, SelfAttention};
use state::LlamaState;

use super::llama_config::LlamaConfig;
use crate::cache::{KvCache, Slots};
use crate::config::{ConfigFile, ModelSize};
use crate::hidden::select;
use crate::nn::{Dropout, Embedding, Linear, Packing, RmsNorm, Rotary, causal_mask, first_rows, product};
use crate::overflow::observe;
use crate::tape::Tape;
use crate::weights::Tensors;
use crate::{Context, Hidden, LanguageModel, LmError, LoraConfig, ModelSpec, Positions, TokenBatch, TokenIds};

/// The names of a parameter in Hugging Face's files. Files of the bare model have no prefix.
pub(crate) fn names(path: &str) -> Vec<String> {
    let bare = path.strip_prefix("model.").map(str::to_owned);
    std::iter::once(path.to_owned()).chain(bare).collect()
}

/// Whether a tensor of a file that is not used is a copy of the embedding table, or computed from the config.
pub(crate) fn is_copy(name: &str) -> bool {
    name == "lm_head.weight" || name.ends_with("rotary_emb.inv_freq")
}

impl LlamaConfig {
    /// A model with random weights from the same distributions as in transformers.
    ///
    /// For reproducible weights, seed the device first ([`Device::seed`]).
    ///
    /// # Errors
    /// [`LmError::Unsupported`] with the field that is invalid or not supported.
    pub fn init(&self, device: &Device) -> Result<Llama, LmError> {
        let origin = "the config";
        self.check(origin)?;
        Ok(self.lazy(!self.tie_word_embeddings, origin, device)?.materialize())
    }

    /// A model whose random weights are drawn only when they are first read, so that loading a checkpoint draws none.
    fn lazy(&self, own_head: bool, origin: &str, device: &Device) -> Result<Llama, LmError> {
        let none = Map::new();
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref()).unwrap_or(&none);
        let theta = self.rope_theta.unwrap_or(10_000.0);
        let rotary = Rotary::new(self.d_head(), theta, rope, self.max_position_embeddings, origin)?;
        let std = self.initializer_range;
        let (width, inner) = (self.hidden_size, self.num_attention_heads * self.d_head());
        let kv_inner = self.kv_heads() * self.d_head();
        let [qkv_bias, output_bias] = self.biases();
        let mlp_bias = self.mlp_bias && self.model_type == "llama";
        let linear = |inputs, outputs, bias| Linear::init(inputs, outputs, std, device).with_bias(bias, device);
        let norm = |width| RmsNorm::init(width, self.rms_norm_eps, device);
        let head_norm = || (self.model_type == "qwen3").then(|| norm(self.d_head()));
        let layers = (0..self.num_hidden_layers).map(|_| Block {
            input_layernorm: norm(width),
            self_attn: SelfAttention {
                q_proj: linear(width, inner, qkv_bias),
                k_proj: linear(width, kv_inner, qkv_bias),
                v_proj: linear(width, kv_inner, qkv_bias),
                o_proj: linear(inner, width, output_bias),
                q_norm: head_norm(),
                k_norm: head_norm(),
                heads: self.num_attention_heads,
                kv_heads: self.kv_heads(),
                d_head: self.d_head(),
                dropout: self.attention_dropout,
            },
            post_attention_layernorm: norm(width),
            mlp: Mlp {
                gate_proj: linear(width, self.intermediate_size, mlp_bias),
                up_proj: linear(width, self.intermediate_size, mlp_bias),
                down_proj: linear(self.intermediate_size, width, mlp_bias),
                activation: self.hidden_act,
            },
        });
        let eos = self.eos_token_id.as_ref().map_or(&[][..], TokenIds::as_slice).to_vec();
        Ok(Llama {
            model: Blocks {
                embed_tokens: Embedding::init(self.vocab_size, width, std, device),
                layers: layers.collect(),
                norm: norm(width),
            },
            lm_head: own_head.then(|| Linear::init(width, self.vocab_size, std, device)),
            rotary,
            windows: self.windows(),
            dropout_seed: None,
            gradient_checkpointing: false,
            lora: None,
            spec: ModelSpec {
                vocab_size: self.vocab_size,
                d_model: width,
                // Padding is never read, so any id will do.
                pad: self.pad_token_id.or(eos.first().copied()).unwrap_or(0),
                eos,
                max_positions: None,
            },
            config: self.clone(),
        })
    }
}

/// A decoder-only model of the Llama family with a language modelling head.
#[derive(Module, Debug)]
pub struct Llama {
    model: Blocks,
    /// None if the head shares the weights of the embedding table.
    lm_head: Option<Linear>,
    #[module(skip)]
    rotary: Rotary,
    /// The window of each block.
    #[module(skip)]
    windows: Vec<Option<usize>>,
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
    config: LlamaConfig,
}

#[derive(Module, Debug)]
struct Blocks {
    embed_tokens: Embedding,
    layers: Vec<Block>,
    norm: RmsNorm,
}

/// The caches of a call, and the rows in which its tokens belong.
struct Caches<'a> {
    caches: &'a mut [KvCache],
    rows: &'a [usize],
    /// Whether `rows` are all rows of the caches, in order.
    whole: bool,
}

impl Llama {
    /// The configuration that this model was made from.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// See [`Pretrained::with_vocab_size`](crate::Pretrained::with_vocab_size).
    #[must_use]
    pub(crate) fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        let missing = vocab_size.saturating_sub(self.config.vocab_size);
        if missing > 0 {
            self.model.embed_tokens = self.model.embed_tokens.grow(missing);
            self.lm_head = self.lm_head.map(|head| head.grow(missing));
            self.config.vocab_size = vocab_size;
        }
        self.spec.vocab_size = vocab_size;
        self
    }

    /// See [`Pretrained::with_every_nth_block`](crate::Pretrained::with_every_nth_block).
    #[must_use]
    pub(crate) fn with_every_nth_block(mut self, n: usize) -> Self {
        self.model.layers = std::mem::take(&mut self.model.layers).into_iter().step_by(n).collect();
        self.windows = self.windows.into_iter().step_by(n).collect();
        self.config.num_hidden_layers = self.model.layers.len();
        if self.config.model_type.starts_with("qwen") {
            // The first block with a window may not have a number any more.
            let name = |window: &Option<usize>| {
                if window.is_some() { "sliding_attention".to_owned() } else { "full_attention".to_owned() }
            };
            self.config.layer_types = Some(self.windows.iter().map(name).collect());
        }
        self
    }

    /// See [`Pretrained::resized`](crate::Pretrained::resized).
    pub(crate) fn resized(&self, size: ModelSize, device: &Device) -> Result<Self, LmError> {
        let heads = size.heads(self.config.d_head())?;
        // Groups keep their size if that is possible.
        let group = self.config.num_attention_heads / self.config.kv_heads();
        let kv_heads = if heads.is_multiple_of(group) { heads / group } else { heads };
        let config = LlamaConfig {
            num_attention_heads: heads,
            num_key_value_heads: Some(kv_heads),
            head_dim: Some(self.config.d_head()),
            hidden_size: size.width,
            intermediate_size: size.inner(self.config.intermediate_size, self.config.hidden_size),
            num_hidden_layers: size.layers,
            layer_types: None,
            ..self.config.clone()
        };
        Ok(config.init(device)?.with_vocab_size(self.spec.vocab_size))
    }

    /// The model of a checkpoint, whose weights are not loaded yet.
    ///
    /// # Errors
    /// If the config asks for what is not supported, or if the weights do not fit it.
    pub(crate) fn prepare(file: ConfigFile, tensors: &Tensors<'_>, device: &Device) -> Result<Self, LmError> {
        let origin = file.origin.clone();
        let config = LlamaConfig::from_file(file)?;
        config.check(&origin)?;
        config.check_sizes(tensors, &origin)?;
        let own_head = tensors.has_own_head(&names("model.embed_tokens.weight"), config.tie_word_embeddings)?;
        config.lazy(own_head, &origin, device)
    }

    /// The last hidden states of `tokens`, whose row `i` begins at position `offsets[i]`. With caches, the rows continue
    /// the tokens in there.
    ///
    /// With `last` false, the output is not needed: only the caches are filled.
    ///
    /// # Shapes
    /// `[rows, time]` to `[rows, time, hidden_size]`.
    fn run(
        &self,
        tokens: &TokenBatch,
        offsets: &[usize],
        mut caches: Option<Caches<'_>>,
        last: bool,
    ) -> Option<Tensor<3>> {
        let device = LanguageModel::device(self);
        let time = tokens.width();
        let end = offsets.iter().copied().max().unwrap_or(0) + time;
        // Packing is slow only in the backward pass, and a context with caches is for decoding, which has none.
        let packing = if caches.is_some() { Packing::packed(tokens, &device) } else { Packing::padded(tokens) };
        let positions: Vec<usize> = offsets
            .iter()
            .zip(tokens.lengths())
            .flat_map(|(&offset, &length)| {
                let used = if caches.is_some() { length } else { time };
                (0..used).map(move |t| offset + t)
            })
            .collect();
        let angles = self.rotary.angles(&positions, &device);
        let mut dropout = self.dropout();
        let mut x = packing.without_padding(self.model.embed_tokens.forward(tokens.tensor(&device)));
        let masks = self.masks(offsets, time, &device);
        for (index, (block, mask)) in self.model.layers.iter().zip(masks).enumerate() {
            let slots = caches.as_mut().map(|Caches { caches, rows, whole }| Slots {
                cache: &mut caches[index],
                rows,
                whole: *whole,
                offsets,
                end,
            });
            let mut attended = Attended { packing: &packing, angles: &angles, mask, slots };
            if !last && index + 1 == self.model.layers.len() {
                block.read(x, &mut attended, &mut dropout);
                return None;
            }
            x = block.forward(x, attended, &mut dropout);
            observe(&x, || format!("model.layers.{index}"));
        }
        Some(packing.grid(self.model.norm.forward(x)))
    }

    /// The mask of each block for queries from `offsets` on. Blocks with the same window share it.
    fn masks(&self, offsets: &[usize], time: usize, device: &Device) -> Vec<Option<Tensor<4>>> {
        let end = offsets.iter().copied().max().unwrap_or(0) + time;
        let mut known: Vec<(Option<usize>, Option<Tensor<4>>)> = Vec::new();
        let mut masks = Vec::with_capacity(self.windows.len());
        for &window in &self.windows {
            let mask = match known.iter().find(|(other, _)| *other == window) {
                Some((_, mask)) => mask.clone(),
                None => {
                    let mask = causal_mask(offsets, time, end, window, device);
                    known.push((window, mask.clone()));
                    mask
                }
            };
            masks.push(mask);
        }
        masks
    }

    fn dropout(&self) -> Dropout {
        Dropout::new(self.dropout_seed, 0).with_lora(self.lora.as_ref())
    }
}

impl LanguageModel for Llama {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.model.embed_tokens.weight.val().device()
    }

    /// # Panics
    /// If a prompt is empty and the model has no token that begins a text.
    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        let (mut starts, mut prefixes) = (Vec::new(), Vec::new());
        for row in 0..prompts.rows() {
            let (start, prefix) = match prompts.row(row).split_last() {
                Some((&last, rest)) => (last, rest.to_vec()),
                None => (self.config.bos_token_id.expect("a prompt has at least one token"), vec![]),
            };
            starts.push(start);
            prefixes.push(prefix);
        }
        let mut context = Context::new(starts, capacity > 0);
        let mut caches = Vec::new();
        if capacity > 0 {
            let (rows, longest) = (prompts.rows(), prefixes.iter().map(Vec::len).max().unwrap_or(0));
            let (heads, d_head, device) = (self.config.kv_heads(), self.config.d_head(), LanguageModel::device(self));
            for _ in &self.model.layers {
                caches.push(KvCache::new(rows, heads, longest + capacity, d_head, &device));
            }
            if longest > 0 {
                let rows: Vec<usize> = (0..rows).collect();
                let caches = Caches { caches: &mut caches, rows: &rows, whole: true };
                self.run(&TokenBatch::new(&prefixes, self.spec.pad), &vec![0; rows.len()], Some(caches), false);
            }
        }
        context.insert(LlamaState { prefixes, caches });
        context.tape = (self.gradient_checkpointing && capacity == 0).then(Tape::default);
        context
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        assert_eq!(tokens.rows(), rows.len(), "`tokens` has one row for each of `rows`");
        let (whole, remembers) = (context.is_whole(rows), context.remembers());
        let lengths: Vec<usize> = rows.iter().map(|&row| context.length(row)).collect();
        let state = context.state_mut::<LlamaState>().expect("this context was made by the prefill of a Llama");
        let prefix = |row: usize| state.prefixes[row].as_slice();
        let states = if remembers {
            let offsets: Vec<usize> =
                rows.iter().zip(lengths).map(|(&row, length)| prefix(row).len() + length).collect();
            let caches = Caches { caches: &mut state.caches, rows, whole };
            let grid = self.run(tokens, &offsets, Some(caches), true).expect("the output was asked for");
            positions.select(grid, tokens.lengths())
        } else {
            let texts: Vec<Vec<u32>> =
                rows.iter().enumerate().map(|(index, &row)| [prefix(row), tokens.row(index)].concat()).collect();
            let texts = TokenBatch::new(&texts, self.spec.pad);
            let starts: Vec<usize> = rows.iter().map(|&row| prefix(row).len()).collect();
            let indices = positions.indices_after(&starts, tokens, texts.width());
            if let Some(tape) = &mut context.tape {
                assert!(whole, "a model with gradient checkpointing reads all rows of a context");
                self.record(&texts, indices, tape)
            } else {
                let grid = self.run(&texts, &vec![0; rows.len()], None, true).expect("the output was asked for");
                select(grid.flatten(0, 1), &indices)
            }
        };
        context.extend(rows, tokens);
        Hidden::new(states)
    }

    fn with_dropout(self, seed: u64) -> Self {
        Self { dropout_seed: Some(seed), ..self }
    }

    fn with_gradient_checkpointing(self) -> Self {
        Self { gradient_checkpointing: true, ..self }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        let table: &Param<Tensor<2>> =
            self.lm_head.as_ref().map_or(&self.model.embed_tokens.weight, |head| &head.weight);
        product(hidden.states(), &first_rows(table.val(), self.spec.vocab_size))
    }
}
