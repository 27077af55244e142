//! Every family computes what Hugging Face's transformers computes. The fixtures and the scripts that made them are in
//! assets/golden/families.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wheels_lm::{FloatFormat, LanguageModel, LmError, ModelSize, Positions, Pretrained, TokenBatch};

/// What transformers computes with one checkpoint.
#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
    /// The ids that the greedy texts do not contain.
    suppressed: Vec<u32>,
}

#[derive(Deserialize)]
struct Row {
    source: Vec<u32>,
    /// What the decoder of an encoder-decoder reads.
    #[serde(default)]
    target: Vec<u32>,
    /// The logits at every position of the target, or of the source of a decoder-only model.
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
}

/// The largest allowed difference in f32. At the depth of these models, rounding errors add up to a few 1e-6.
const TOLERANCE: f32 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/families").join(name)
}

fn golden(name: &str, file: &str) -> Golden {
    serde_json::from_str(&fs::read_to_string(folder(name).join(file)).unwrap()).unwrap()
}

fn config(name: &str) -> Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(folder(name).join("config.json")).unwrap()).unwrap()
}

fn load(name: &str) -> Pretrained {
    Pretrained::load(folder(name), &Device::flex()).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

impl Row {
    /// The prompt, and the tokens after it whose logits are compared. The first token is the start token.
    ///
    /// A decoder-only model starts with the last token of its prompt, so its prompt is the first token of the source.
    fn split(&self, at: usize) -> (&[u32], &[u32]) {
        match self.target.as_slice() {
            [] => (&self.source[..at], &self.source[at - 1..]),
            target => (&self.source, target),
        }
    }

    /// The logits of the tokens of [`split`](Self::split).
    fn expected(&self, at: usize) -> Vec<f32> {
        let skip = if self.target.is_empty() { at - 1 } else { 0 };
        self.logits[skip..].concat()
    }
}

fn logits(model: &Pretrained, row: &Row, at: usize, capacity: usize) -> Vec<f32> {
    let (prompt, tokens) = row.split(at);
    let mut context = model.prefill(&TokenBatch::new(&[prompt], model.spec().pad), capacity);
    assert_eq!(context.starts(), tokens[..1]);
    values(model.forward(&TokenBatch::new(&[tokens], model.spec().pad), &mut context).logits)
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "the sizes differ");
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    let worst = worst(found, expected);
    assert!(worst <= TOLERANCE, "{what}: off by {worst}, allowed {TOLERANCE}");
}

/// Compares the logits of every row, alone and without a cache.
fn assert_golden(model: &Pretrained, golden: &Golden, what: &str) {
    for row in &golden.rows {
        assert_near(&logits(model, row, 1, 0), &row.expected(1), what);
    }
}

/// The greedy continuations of all rows in one ragged batch.
fn greedy(model: &Pretrained, golden: &Golden) -> Vec<Vec<u32>> {
    let prompts: Vec<&[u32]> = golden.rows.iter().map(|row| row.source.as_slice()).collect();
    let mut context = model.prefill(&TokenBatch::new(&prompts, model.spec().pad), 3);
    let mut last = context.starts();
    let mut texts = vec![vec![]; prompts.len()];
    for _ in 0..golden.rows[0].greedy.len() {
        let logits = values(model.forward(&TokenBatch::column(&last), &mut context).logits);
        for (row, logits) in logits.chunks(model.spec().vocab_size).enumerate() {
            let open = (0..logits.len() as u32).filter(|id| !golden.suppressed.contains(id));
            let best = open.max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap();
            texts[row].push(best);
            last[row] = best;
        }
    }
    texts
}

/// Everything that must hold for a fixture. `ignored` are the fields of its config that the model does not read.
fn check(name: &str) {
    let (model, golden) = (load(name), golden(name, "golden.json"));
    assert_golden(&model, &golden, name);
    let texts = greedy(&model, &golden);
    for (row, text) in golden.rows.iter().zip(texts) {
        assert_eq!(text, row.greedy, "{name}");
    }

    // Rows that continue at different positions, with rolled back tokens, give the logits of each row alone.
    let pad = model.spec().pad;
    let at = [1, 3, 2];
    let split: Vec<_> = golden.rows.iter().zip(at).map(|(row, at)| row.split(at)).collect();
    let prompts: Vec<&[u32]> = split.iter().map(|(prompt, _)| *prompt).collect();
    let mut context = model.prefill(&TokenBatch::new(&prompts, pad), 2);
    let mut found = vec![Vec::new(); split.len()];
    let mut read = vec![0; split.len()];
    for round in [&[0, 1, 2][..], &[2], &[1, 0], &[0, 1, 2], &[0, 1, 2]] {
        let steps = |row: usize| (split[row].1.len() - read[row]).min(2 + row);
        let rows: Vec<usize> = round.iter().copied().filter(|&row| steps(row) > 0).collect();
        let detour: Vec<[u32; 2]> = rows.iter().map(|_| [5, 7]).collect();
        model.hidden(&TokenBatch::new(&detour, pad), &rows, Positions::All, &mut context);
        for &row in &rows {
            context.truncate(row, read[row]);
        }
        let parts: Vec<&[u32]> = rows.iter().map(|&row| &split[row].1[read[row]..read[row] + steps(row)]).collect();
        let counts: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let tokens = TokenBatch::new(&parts, pad);
        let hidden = model.hidden(&tokens, &rows, Positions::Last(&counts), &mut context);
        let logits = values(model.head(&hidden));
        let mut start = 0;
        for (&row, count) in rows.iter().zip(counts) {
            let size = count * model.spec().vocab_size;
            found[row].extend_from_slice(&logits[start..start + size]);
            start += size;
            read[row] += count;
        }
    }
    for ((row, found), at) in golden.rows.iter().zip(&found).zip(at) {
        assert_near(found, &row.expected(at)[..found.len()], name);
    }

    // Without a cache, several rows at once.
    let mut context = model.prefill(&TokenBatch::new(&prompts, pad), 0);
    let texts: Vec<&[u32]> = split.iter().map(|(_, tokens)| *tokens).collect();
    let counts: Vec<usize> = texts.iter().map(|text| text.len()).collect();
    let hidden = model.hidden(&TokenBatch::new(&texts, pad), &[0, 1, 2], Positions::Last(&counts), &mut context);
    let expected: Vec<f32> = golden.rows.iter().zip(at).flat_map(|(row, at)| row.expected(at)).collect();
    assert_near(&values(model.head(&hidden)), &expected, name);

    let scratch = tempfile::tempdir().unwrap();
    model.save(scratch.path(), FloatFormat::F32).unwrap();
    let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
    assert_eq!(logits(&again, &golden.rows[0], 1, 0), logits(&model, &golden.rows[0], 1, 0), "{name}: saved");
    fs::copy(folder(name).join("config.json"), scratch.path().join("config.json")).unwrap();
    let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
    assert_golden(&again, &golden, &format!("{name}: saved weights with the config of transformers"));
}

/// Changes one field of a config and expects that the logits move by more than 100 tolerances, or that the config is
/// refused with an error that names the field. A field has dots for the objects in which it lies.
fn assert_matters(name: &str, field: &str, value: Value) {
    let mut fields = config(name);
    let (parent, key) = field.rsplit_once('.').map_or((None, field), |(parent, key)| (Some(parent), key));
    let object = match parent {
        Some(parent) => fields[parent].as_object_mut().unwrap(),
        None => &mut fields,
    };
    object.insert(key.into(), value.clone());
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("config.json"), serde_json::to_string(&fields).unwrap()).unwrap();
    fs::copy(folder(name).join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
    match Pretrained::load(scratch.path(), &Device::flex()) {
        Ok(model) => {
            let golden = golden(name, "golden.json");
            let moved = golden.rows.iter().map(|row| worst(&logits(&model, row, 1, 0), &row.expected(1)));
            let moved = moved.fold(0.0, f32::max);
            assert!(moved > 100.0 * TOLERANCE, "{name}: {field} = {value} moves the logits only by {moved}");
        }
        Err(error) => assert!(error.to_string().contains(key), "{name}: {field} = {value}: {error}"),
    }
}

#[test]
fn llama_computes_what_transformers_computes() {
    for name in ["llama2", "llama3", "llama3-transformers4", "llama-linear", "llama-yarn"] {
        check(name);
    }
}

#[test]
fn every_field_of_a_llama_matters_or_is_refused() {
    for (name, field, value) in [
        ("llama2", "rms_norm_eps", json!(1e-6)),
        ("llama2", "hidden_act", json!("gelu")),
        ("llama2", "num_attention_heads", json!(2)),
        ("llama3", "rope_parameters.rope_theta", json!(20.0)),
        ("llama-linear", "rope_scaling.rope_type", json!("dynamic")),
        ("llama-linear", "rope_scaling.partial_rotary_factor", json!(0.5)),
        ("llama2", "rope_theta", json!(20.0)),
        ("llama2", "model_type", json!("gpt2")),
        ("llama2", "quantization_config", json!({"bits": 4})),
        ("llama3", "rope_parameters.factor", json!(2.0)),
        ("llama3", "rope_parameters.low_freq_factor", json!(0.25)),
        ("llama3", "rope_parameters.high_freq_factor", json!(3.0)),
        ("llama3", "rope_parameters.original_max_position_embeddings", json!(16)),
        ("llama3", "rope_parameters.short_factor", json!([1.0])),
        ("llama-linear", "rope_scaling.factor", json!(2.0)),
        ("llama-yarn", "rope_parameters.factor", json!(2.0)),
        ("llama-yarn", "rope_parameters.original_max_position_embeddings", json!(64)),
    ] {
        assert_matters(name, field, value);
    }
}

/// A config that says that head and table are shared, beside a file in which they differ. transformers 5 does the same,
/// with a warning.
#[test]
fn a_head_that_differs_from_the_table_is_used_whatever_the_config_says() {
    let (scratch, golden) = (tempfile::tempdir().unwrap(), golden("llama2", "golden.json"));
    let mut fields = config("llama2");
    fields.insert("tie_word_embeddings".into(), json!(true));
    fs::write(scratch.path().join("config.json"), serde_json::to_string(&fields).unwrap()).unwrap();
    fs::copy(folder("llama2").join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
    assert_golden(&Pretrained::load(scratch.path(), &Device::flex()).unwrap(), &golden, "a shared head");
}

#[test]
fn errors_of_decoder_only_folders_name_the_field() {
    let fields = config("llama2");
    for (field, value) in [
        ("num_hidden_layers", json!(999_999_999)),
        ("intermediate_size", json!(999_999_999)),
        ("vocab_size", json!(7)),
        ("num_key_value_heads", json!(3)),
        ("eos_token_id", json!([2, 4096])),
        ("attention_dropout", json!(1.5)),
    ] {
        let mut fields = fields.clone();
        fields.insert(field.into(), value);
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("config.json"), serde_json::to_string(&fields).unwrap()).unwrap();
        fs::copy(folder("llama2").join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
        let error = Pretrained::load(scratch.path(), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(field), "{field}: {error}");
        assert!(matches!(error, LmError::Size { .. } | LmError::Unsupported { .. }), "{field}: {error}");
    }
}

#[test]
fn smaller_models_keep_the_vocabulary_and_open_again() {
    let model = load("llama3").with_vocab_size(90);
    let device = Device::flex();
    let size = ModelSize { width: 16, layers: 3, decoder_layers: None };
    for (smaller, blocks) in
        [(model.resized(size, &device).unwrap(), 3), (model.clone().with_every_nth_block(2), 1), (model.clone(), 2)]
    {
        assert_eq!(smaller.spec().vocab_size, 90);
        let row = &golden("llama3", "golden.json").rows[0];
        let before = logits(&smaller, row, 1, 0);
        assert_eq!(before.len(), 90 * row.source.len());
        let scratch = tempfile::tempdir().unwrap();
        smaller.save(scratch.path(), FloatFormat::F32).unwrap();
        let again = Pretrained::load(scratch.path(), &device).unwrap();
        let Pretrained::Llama(llama) = &again else { panic!("another family") };
        assert_eq!((llama.config().num_hidden_layers, again.spec().vocab_size), (blocks, 96), "all rows are saved");
        assert_eq!(logits(&again.with_vocab_size(90), row, 1, 0), before);
    }
    let odd = ModelSize { width: 20, ..size };
    assert!(model.resized(odd, &device).unwrap_err().to_string().contains("a multiple of 8"));
}
