//! The fixtures of assets/golden/families, and what must hold for their models. Each test file uses some of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};
use wheels_lm::{Bart, LanguageModel, LmError, Pretrained, TokenBatch};

/// What transformers computes with one checkpoint.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) rows: Vec<Row>,
    /// The ids that the greedy texts do not contain.
    pub(crate) suppressed: Vec<u32>,
}

#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) source: Vec<u32>,
    /// What the decoder of an encoder-decoder reads.
    #[serde(default)]
    pub(crate) target: Vec<u32>,
    /// The logits at every position of the target, or of the source of a decoder-only model.
    pub(crate) logits: Vec<Vec<f32>>,
    /// The greedy continuation. The fixtures of adapters have none.
    pub(crate) greedy: Option<Vec<u32>>,
}

/// The largest allowed difference in f32. At the depth of these models, rounding errors add up to a few 1e-6.
pub(crate) const TOLERANCE: f32 = 1e-4;

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/families").join(name)
}

pub(crate) fn golden(name: &str, file: &str) -> Golden {
    serde_json::from_str(&fs::read_to_string(folder(name).join(file)).unwrap()).unwrap()
}

pub(crate) fn config(name: &str) -> Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(folder(name).join("config.json")).unwrap()).unwrap()
}

pub(crate) fn load(name: &str) -> Pretrained {
    Pretrained::load(folder(name), &Device::flex()).unwrap()
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

impl Row {
    /// The prompt, and the tokens after it whose logits are compared. The first token is the start token.
    ///
    /// A decoder-only model starts with the last token of its prompt, so its prompt is the first token of the source.
    pub(crate) fn split(&self, at: usize) -> (&[u32], &[u32]) {
        match self.target.as_slice() {
            [] => (&self.source[..at], &self.source[at - 1..]),
            target => (&self.source, target),
        }
    }

    /// The logits of the tokens of [`split`](Self::split).
    pub(crate) fn expected(&self, at: usize) -> Vec<f32> {
        let skip = if self.target.is_empty() { at - 1 } else { 0 };
        self.logits[skip..].concat()
    }
}

/// The logits of the tokens of [`Row::split`], `[1, time, vocab]`.
pub(crate) fn forward(model: &Pretrained, row: &Row, at: usize, capacity: usize) -> Tensor<3> {
    let (prompt, tokens) = row.split(at);
    let mut context = model.prefill(&TokenBatch::new(&[prompt], model.spec().pad), capacity);
    assert_eq!(context.starts(), tokens[..1]);
    model.forward(&TokenBatch::new(&[tokens], model.spec().pad), &mut context).logits
}

pub(crate) fn logits(model: &Pretrained, row: &Row, at: usize, capacity: usize) -> Vec<f32> {
    values(forward(model, row, at, capacity))
}

pub(crate) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "the sizes differ");
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub(crate) fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    let worst = worst(found, expected);
    assert!(worst <= TOLERANCE, "{what}: off by {worst}, allowed {TOLERANCE}");
}

/// Compares the logits of every row, alone and without a cache.
pub(crate) fn assert_golden(model: &Pretrained, golden: &Golden, what: &str) {
    for row in &golden.rows {
        assert_near(&logits(model, row, 1, 0), &row.expected(1), what);
    }
}

/// Loads a fixture whose config has other values in some fields.
pub(crate) fn load_with(name: &str, changes: &[(&str, Value)]) -> Result<Pretrained, LmError> {
    let mut fields = config(name);
    fields.extend(changes.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("config.json"), serde_json::to_string(&fields).unwrap()).unwrap();
    fs::copy(folder(name).join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
    Pretrained::load(scratch.path(), &Device::flex())
}

/// The tensors of a file by name: their shapes and their numbers, which are f32.
pub(crate) type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Loads a fixture whose weights are changed first.
pub(crate) fn load_edited(name: &str, config: &Map<String, Value>, edit: impl FnOnce(&mut Weights)) -> Pretrained {
    let bytes = fs::read(folder(name).join("model.safetensors")).unwrap();
    let mut weights = Weights::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let numbers = view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        weights.insert(name, (view.shape().to_vec(), numbers));
    }
    edit(&mut weights);
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = weights
        .into_iter()
        .map(|(name, (shape, numbers))| (name, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()))
        .collect();
    let views =
        bytes.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let scratch = tempfile::tempdir().unwrap();
    safetensors::serialize_to_file(views, None, &scratch.path().join("model.safetensors")).unwrap();
    fs::write(scratch.path().join("config.json"), serde_json::to_string(config).unwrap()).unwrap();
    Pretrained::load(scratch.path(), &Device::flex()).unwrap()
}

pub(crate) const BART: [&str; 4] = ["bart", "mbart", "marian", "m2m100"];

pub(crate) fn bart(model: &Pretrained) -> &Bart {
    let Pretrained::Bart(bart) = model else { panic!("another family") };
    bart
}
