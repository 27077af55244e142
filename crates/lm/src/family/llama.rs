//! The Llama family: Llama 2 and 3, Mistral, Qwen2 and Qwen3 (Touvron et al. 2023, arXiv 2307.09288; Grattafiori et al.
//! 2024, arXiv 2407.21783; Jiang et al. 2023, arXiv 2310.06825; Yang et al. 2024, arXiv 2407.10671 and 2025, arXiv
//! 2505.09388). Other models, such as SmolLM2, have the architecture of one of these.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde_json::Map;

use super::llama_config::LlamaConfig;
use crate::cache::KvCache;
use crate::config::{ConfigFile, ModelSize};
use crate::nn::{
    Activation, Dropout, Embedding, Linear, Packing, RmsNorm, Rotary, attend, causal_mask, first_rows, product, rotate,
};
use crate::weights::Tensors;
use crate::{
    Context, Hidden, LanguageModel, LmError, LoraConfig, ModelSpec, ModelState, Positions, TokenBatch, TokenIds,
};

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

#[derive(Module, Debug)]
struct Block {
    input_layernorm: RmsNorm,
    self_attn: SelfAttention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    heads: usize,
    kv_heads: usize,
    d_head: usize,
    dropout: f64,
}

#[derive(Module, Debug)]
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// # Shapes
    /// `[positions, hidden_size]` to the same.
    fn forward(&self, x: Tensor<2>, dropout: &mut Dropout) -> Tensor<2> {
        let gate = self.activation.forward(self.gate_proj.forward(x.clone(), dropout));
        let up = self.up_proj.forward(x, dropout);
        self.down_proj.forward(gate * up, dropout)
    }
}

impl SelfAttention {
    /// The queries, keys and values at the positions of `x`, with the positions encoded.
    ///
    /// # Shapes
    /// `x`: `[positions, hidden_size]`; queries: `[rows, heads, time, d_head]`; keys and values: `[rows, kv_heads, time,
    /// d_head]`.
    fn project(
        &self,
        x: Tensor<2>,
        packing: &Packing,
        angles: &[Tensor<3>; 2],
        dropout: &mut Dropout,
    ) -> [Tensor<4>; 3] {
        let queries = self.heads(self.q_proj.forward(x.clone(), dropout), self.q_norm.as_ref(), Some(angles), packing);
        let keys = self.heads(self.k_proj.forward(x.clone(), dropout), self.k_norm.as_ref(), Some(angles), packing);
        let values = self.heads(self.v_proj.forward(x, dropout), None, None, packing);
        [queries * (self.d_head as f64).powf(-0.5), keys, values]
    }

    /// Splits projected states into heads, normalises and rotates them.
    ///
    /// # Shapes
    /// `[positions, heads * d_head]` to `[rows, heads, time, d_head]`.
    fn heads(
        &self,
        x: Tensor<2>,
        norm: Option<&RmsNorm>,
        angles: Option<&[Tensor<3>; 2]>,
        packing: &Packing,
    ) -> Tensor<4> {
        let [positions, inner] = x.dims();
        let heads = inner / self.d_head;
        let mut split = x.reshape([positions, heads, self.d_head]);
        if let Some(norm) = norm {
            split = norm.forward(split);
        }
        if let Some(angles) = angles {
            split = rotate(split, angles);
        }
        let grid = packing.grid(split.reshape([positions, inner]));
        let [rows, time, _] = grid.dims();
        grid.reshape([rows, time, heads, self.d_head]).swap_dims(1, 2)
    }

    /// Attends to `keys` and `values`.
    ///
    /// # Shapes
    /// `queries`: `[rows, heads, time, d_head]`; `keys`, `values`: `[rows, kv_heads, slots, d_head]`; `mask`: `[rows or 1,
    /// 1, time, slots]`; the result: `[positions, hidden_size]`.
    fn attend(
        &self,
        queries: Tensor<4>,
        (keys, values): (Tensor<4>, Tensor<4>),
        mask: Option<Tensor<4>>,
        packing: &Packing,
        dropout: &mut Dropout,
    ) -> Tensor<2> {
        let found = attend(queries, keys, values, mask, dropout, self.dropout);
        self.o_proj.forward(packing.list(found), dropout)
    }
}

/// What a Llama keeps in a [`Context`].
#[derive(Debug)]
struct LlamaState {
    /// The prompt of each row without its last token, which is the start token of the context.
    prefixes: Vec<Vec<u32>>,
    /// One cache for each block, which begins with the prefix. There are none in a context that does not remember.
    caches: Vec<KvCache>,
}

impl ModelState for LlamaState {
    fn select_rows(&mut self, rows: &[usize]) {
        self.prefixes = rows.iter().map(|&row| self.prefixes[row].clone()).collect();
        for cache in &mut self.caches {
            cache.select_rows(rows);
        }
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // The context knows the lengths: slots past them are masked, and the next append overwrites them.
    }
}

/// The caches of a call, and the rows and slots in which its tokens belong.
struct Slots<'a> {
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
        mut slots: Option<Slots<'_>>,
        last: bool,
    ) -> Option<Tensor<3>> {
        let device = LanguageModel::device(self);
        let time = tokens.width();
        let end = offsets.iter().copied().max().unwrap_or(0) + time;
        // Packing is slow only in the backward pass, and a context with caches is for decoding, which has none.
        let packing = if slots.is_some() { Packing::packed(tokens, &device) } else { Packing::padded(tokens) };
        let positions: Vec<usize> = offsets
            .iter()
            .zip(tokens.lengths())
            .flat_map(|(&offset, &length)| {
                let used = if slots.is_some() { length } else { time };
                (0..used).map(move |t| offset + t)
            })
            .collect();
        let angles = self.rotary.angles(&positions, &device);
        let mut masks: Vec<(Option<usize>, Option<Tensor<4>>)> = Vec::new();
        let mut dropout = Dropout::new(self.dropout_seed, 0).with_lora(self.lora.as_ref());
        let mut x = packing.without_padding(self.model.embed_tokens.forward(tokens.tensor(&device)));
        for (index, (block, window)) in self.model.layers.iter().zip(&self.windows).enumerate() {
            let attention = &block.self_attn;
            let [queries, mut keys, mut values] =
                attention.project(block.input_layernorm.forward(x.clone()), &packing, &angles, &mut dropout);
            if let Some(Slots { caches, rows, whole }) = &mut slots {
                caches[index].append(rows, offsets, keys, values);
                if !last && index + 1 == self.model.layers.len() {
                    return None;
                }
                (keys, values) = caches[index].view((!*whole).then_some(rows), end);
            }
            if !masks.iter().any(|(known, _)| known == window) {
                masks.push((*window, causal_mask(offsets, time, end, *window, &device)));
            }
            let mask = masks.iter().find(|(known, _)| known == window).and_then(|(_, mask)| mask.clone());
            x = x + attention.attend(queries, (keys, values), mask, &packing, &mut dropout);
            x = x.clone() + block.mlp.forward(block.post_attention_layernorm.forward(x), &mut dropout);
        }
        Some(packing.grid(self.model.norm.forward(x)))
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
                let slots = Slots { caches: &mut caches, rows: &rows, whole: true };
                self.run(&TokenBatch::new(&prefixes, self.spec.pad), &vec![0; rows.len()], Some(slots), false);
            }
        }
        context.insert(LlamaState { prefixes, caches });
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
            let slots = Slots { caches: &mut state.caches, rows, whole };
            let grid = self.run(tokens, &offsets, Some(slots), true).expect("the output was asked for");
            positions.select(grid, tokens.lengths())
        } else {
            let texts: Vec<Vec<u32>> =
                rows.iter().enumerate().map(|(index, &row)| [prefix(row), tokens.row(index)].concat()).collect();
            let texts = TokenBatch::new(&texts, self.spec.pad);
            let grid = self.run(&texts, &vec![0; rows.len()], None, true).expect("the output was asked for");
            let starts: Vec<usize> = rows.iter().map(|&row| prefix(row).len()).collect();
            positions.select_after(grid, &starts, tokens)
        };
        context.extend(rows, tokens);
        Hidden::new(states)
    }

    fn with_dropout(self, seed: u64) -> Self {
        Self { dropout_seed: Some(seed), ..self }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        let table: &Param<Tensor<2>> =
            self.lm_head.as_ref().map_or(&self.model.embed_tokens.weight, |head| &head.weight);
        product(hidden.states(), first_rows(table.val(), self.spec.vocab_size))
    }
}
