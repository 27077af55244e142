//! Every family computes what Hugging Face's transformers computes. The fixtures and the scripts that made them are in
//! assets/golden/families.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wheels_lm::{Bart, BartConfig, FloatFormat, LanguageModel, LmError, ModelSize, Positions, Pretrained, TokenBatch};

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

/// Loads a fixture whose config has other values in some fields.
fn load_with(name: &str, changes: &[(&str, Value)]) -> Result<Pretrained, LmError> {
    let mut fields = config(name);
    fields.extend(changes.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("config.json"), serde_json::to_string(&fields).unwrap()).unwrap();
    fs::copy(folder(name).join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
    Pretrained::load(scratch.path(), &Device::flex())
}

/// The tensors of a file by name: their shapes and their numbers, which are f32.
type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Loads a fixture whose weights are changed first.
fn load_edited(name: &str, config: &Map<String, Value>, edit: impl FnOnce(&mut Weights)) -> Pretrained {
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

/// The half precision files of a fixture.
fn check_halves(name: &str) {
    for format in ["f16", "bf16"] {
        let scratch = tempfile::tempdir().unwrap();
        fs::copy(folder(name).join("config.json"), scratch.path().join("config.json")).unwrap();
        let weights = folder(name).join(format!("model.{format}.safetensors"));
        fs::copy(weights, scratch.path().join("model.safetensors")).unwrap();
        let model = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        assert_golden(&model, &golden(name, &format!("golden.{format}.json")), &format!("{name} in {format}"));
    }
}

const LLAMA: [&str; 14] = [
    "llama2",
    "llama3",
    "llama3-transformers4",
    "llama-linear",
    "llama-yarn",
    "llama-yarn-options",
    "llama-yarn-mscale",
    "llama-bias",
    "smollm2",
    "mistral",
    "qwen2",
    "qwen2-window",
    "qwen2-window-transformers4",
    "qwen3",
];

const T5: [&str; 11] = [
    "t5-v1.0",
    "t5-v1.1",
    "t5-v1.1-transformers5",
    "t5-gated-silu",
    "mt5",
    "mt5-transformers5",
    "umt5",
    "umt5-transformers5",
    "t5-decoder-embed-only",
    "t5-lm-head-only",
    "t5-sharded",
];

#[test]
fn llama_computes_what_transformers_computes() {
    for name in LLAMA {
        check(name);
    }
    check_halves("smollm2");
}

#[test]
fn t5_computes_what_transformers_computes() {
    for name in T5 {
        check(name);
    }
    check_halves("t5-v1.0");
}

#[test]
fn every_field_of_a_t5_matters_or_is_refused() {
    for name in ["t5-v1.0", "t5-v1.1", "t5-gated-silu", "mt5", "umt5"] {
        for (field, value) in [
            ("layer_norm_epsilon", json!(1e-6)),
            ("relative_attention_max_distance", json!(64)),
            ("feed_forward_proj", json!("gelu")),
            ("feed_forward_proj", json!("gated-relu")),
            ("num_heads", json!(8)),
            ("num_decoder_layers", json!(7)),
        ] {
            assert_matters(name, field, value);
        }
    }
    assert_matters("t5-v1.1", "feed_forward_proj", json!("gated-silu"));
    assert_matters("t5-gated-silu", "feed_forward_proj", json!("gated-gelu"));
    // Without the newer field, the older one says whether the states are scaled before the head.
    assert_matters("t5-v1.0", "scale_decoder_outputs", json!(false));
    assert_matters("t5-v1.1", "tie_word_embeddings", json!(true));
    assert_matters("t5-v1.1-transformers5", "scale_decoder_outputs", json!(true));
    assert_matters("umt5", "model_type", json!("t5"));
}

#[test]
fn every_field_of_a_llama_matters_or_is_refused() {
    for (name, field, value) in [
        ("llama2", "rms_norm_eps", json!(1e-6)),
        ("llama2", "hidden_act", json!("gelu")),
        ("llama2", "hidden_act", json!("quick_gelu")),
        ("llama-bias", "hidden_act", json!("gelu_new")),
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
        ("llama-yarn-options", "rope_parameters.beta_fast", json!(32.0)),
        ("llama-yarn-options", "rope_parameters.beta_slow", json!(0.5)),
        ("llama-yarn-options", "rope_parameters.attention_factor", json!(3.0)),
        ("llama-yarn-mscale", "rope_scaling.mscale", json!(0.2)),
        ("llama-yarn-mscale", "rope_scaling.mscale_all_dim", json!(0.1)),
        ("llama-yarn-mscale", "rope_scaling.truncate", json!(true)),
        ("mistral", "sliding_window", json!(null)),
        ("mistral", "sliding_window", json!(6)),
        ("mistral", "head_dim", json!(4)),
        ("smollm2", "rope_theta", json!(10.0)),
        ("qwen2", "model_type", json!("llama")),
        ("qwen2-window", "sliding_window", json!(7)),
        ("qwen2-window", "use_sliding_window", json!(false)),
        ("qwen2-window", "layer_types", json!(["sliding_attention"])),
        ("qwen2-window-transformers4", "max_window_layers", json!(0)),
        ("qwen2-window-transformers4", "use_sliding_window", json!(false)),
        ("llama-bias", "attention_bias", json!(false)),
        ("llama-bias", "mlp_bias", json!(false)),
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

/// Loads a fixture whose config has another value in one field, which has dots for the objects in which it lies.
fn load_with_path(name: &str, path: &str, value: &Value) -> Result<Pretrained, LmError> {
    match path.split_once('.') {
        None => load_with(name, &[(path, value.clone())]),
        Some((parent, field)) => {
            let mut object = config(name)[parent].clone();
            object[field] = value.clone();
            load_with(name, &[(parent, object)])
        }
    }
}

/// The fields of a config that hold numbers, with dots for the objects in which they lie.
fn numbers(name: &str) -> Vec<String> {
    let mut found = vec![];
    for (field, value) in config(name) {
        match value {
            Value::Number(_) => found.push(field),
            Value::Object(object) => {
                let inner = object.iter().filter(|(_, value)| value.is_number());
                found.extend(inner.map(|(inner, _)| format!("{field}.{inner}")));
            }
            _ => (),
        }
    }
    found
}

#[test]
fn no_value_in_the_place_of_a_number_causes_a_panic_and_errors_name_the_field() {
    let values = [
        json!(0),
        json!(-1),
        json!(999_999_999),
        json!(u64::MAX),
        json!(1e300),
        json!(0.5),
        json!("many"),
        json!([]),
        json!(["many"]),
        json!({}),
        json!(true),
        Value::Null,
    ];
    let mut problems = vec![];
    let others = ["t5-v1.1", "mt5", "llama3", "llama-yarn-options", "mistral", "qwen2-window", "qwen3"];
    for name in others.iter().chain(&BART) {
        for path in numbers(name) {
            for value in &values {
                let Err(error) = load_with_path(name, &path, value) else { continue };
                let field = path.rsplit('.').next().unwrap();
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                if !format!("{error}: {cause}").contains(field) {
                    problems.push(format!("{name}: {path} = {value}: {error}: {cause}"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_ids_of_a_t5_may_be_lists_null_or_missing() {
    let spec = |changes: &[(&str, Value)]| {
        let model = load_with("t5-v1.0", changes).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        model.save(scratch.path(), FloatFormat::F32).unwrap();
        let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        assert_eq!(again.spec(), model.spec(), "{changes:?}: saved");
        let starts = model.prefill(&TokenBatch::column(&[5]), 0).starts();
        (model.spec().eos.clone(), model.spec().pad, starts)
    };
    assert_eq!(spec(&[("eos_token_id", json!([1, 31]))]), (vec![1, 31], 0, vec![0]));
    assert_eq!(spec(&[("decoder_start_token_id", json!(7)), ("pad_token_id", json!(3))]), (vec![1], 3, vec![7]));
    for none in [Value::Null, json!(-1)] {
        for field in ["eos_token_id", "pad_token_id", "decoder_start_token_id"] {
            assert_eq!(spec(&[(field, none.clone())]), (vec![1], 0, vec![0]), "{field} = {none}");
        }
    }
    let mut fields = config("t5-v1.0");
    fields.retain(|field, _| !field.ends_with("token_id"));
    let model = load_edited("t5-v1.0", &fields, |_| ());
    assert_eq!((&model.spec().eos[..], model.spec().pad), (&[1][..], 0));
    for (field, value) in [
        ("eos_token_id", json!([1, 32_099])),
        ("eos_token_id", json!("</s>")),
        ("eos_token_id", json!([1, null])),
        ("pad_token_id", json!(32_099)),
        ("decoder_start_token_id", json!("<pad>")),
    ] {
        let error = load_with("t5-v1.0", &[(field, value.clone())]).unwrap_err();
        assert!(error.to_string().contains(field), "{field} = {value}: {error}");
    }
}

#[test]
fn a_missing_or_cut_shard_is_named_and_a_whole_file_wins_over_an_old_index() {
    let scratch = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder("t5-sharded")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), scratch.path().join(file.file_name())).unwrap();
    }
    let open = || Pretrained::load(scratch.path(), &Device::flex());
    assert_golden(&open().unwrap(), &golden("t5-sharded", "golden.json"), "a copy");

    let name = "model-00002-of-00004.safetensors";
    let shard = scratch.path().join(name);
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let cut = open().unwrap_err();
    assert!(matches!(cut, LmError::Safetensors { .. }) && cut.to_string().contains(name), "{cut}");
    fs::remove_file(&shard).unwrap();
    for missing in [open().map(drop).unwrap_err(), Pretrained::inspect(scratch.path()).map(drop).unwrap_err()] {
        assert!(matches!(missing, LmError::MissingShard { .. }) && missing.to_string().contains(name), "{missing}");
    }

    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder("t5-v1.1").join(file), scratch.path().join(file)).unwrap();
    }
    assert!(scratch.path().join("model.safetensors.index.json").exists());
    assert_golden(&open().unwrap(), &golden("t5-v1.1", "golden.json"), "a whole file beside an old index");
}

const BART: [&str; 4] = ["bart", "mbart", "marian", "m2m100"];

#[test]
fn the_bart_family_computes_what_transformers_computes() {
    for name in BART {
        check(name);
    }
    check_halves("bart");
}

#[test]
fn every_field_of_the_bart_family_matters_or_is_refused() {
    for name in BART {
        let scaled = config(name)["scale_embedding"].as_bool().unwrap();
        for (field, value) in [
            ("encoder_attention_heads", json!(4)),
            ("decoder_attention_heads", json!(3)),
            ("activation_function", json!(if name == "m2m100" { "gelu" } else { "relu" })),
            ("activation_function", json!("quick_gelu")),
            ("scale_embedding", json!(!scaled)),
            ("model_type", json!(if name == "bart" { "mbart" } else { "bart" })),
            ("is_encoder_decoder", json!(false)),
            ("share_encoder_decoder_embeddings", json!(false)),
            ("tie_word_embeddings", json!(false)),
            ("normalize_before", json!(name == "bart" || name == "marian")),
            ("add_final_layer_norm", json!(name == "bart" || name == "marian")),
            ("normalize_embedding", json!(name == "marian" || name == "m2m100")),
            ("static_position_embeddings", json!(name == "bart" || name == "mbart")),
        ] {
            // A file of another model type is refused for what it lacks or for a size.
            let key = if field == "tie_word_embeddings" { "lm_head" } else { field };
            match load_with(name, &[(field, value.clone())]) {
                Err(error) if field == "model_type" => assert!(!error.to_string().is_empty()),
                Err(error) => assert!(error.to_string().contains(key), "{name}: {field} = {value}: {error}"),
                Ok(_) => assert_matters(name, field, value),
            }
        }
    }
    assert_matters("bart", "activation_function", json!("gelu_new"));
    assert_matters("marian", "activation_function", json!("gelu"));
    // The first position of M2M100 is the one after the padding token's id.
    assert_matters("m2m100", "pad_token_id", json!(3));
}

#[test]
fn errors_of_bart_folders_name_the_field() {
    for (name, field, value) in [
        ("bart", "vocab_size", json!(95)),
        ("bart", "d_model", json!(999_999_999)),
        ("bart", "encoder_layers", json!(999_999_999)),
        ("mbart", "decoder_layers", json!(2)),
        ("mbart", "encoder_ffn_dim", json!(32)),
        ("mbart", "decoder_ffn_dim", json!(999_999_999)),
        ("bart", "max_position_embeddings", json!(999_999_999)),
        ("bart", "encoder_attention_heads", json!(5)),
        ("bart", "decoder_attention_heads", json!(0)),
        ("marian", "decoder_vocab_size", json!(97)),
        ("marian", "dropout", json!(1.0)),
        ("marian", "attention_dropout", json!(-0.1)),
        ("marian", "activation_dropout", json!(2)),
        ("bart", "pad_token_id", json!(96)),
        ("bart", "bos_token_id", json!(96)),
        ("bart", "eos_token_id", json!([2, 96])),
        ("bart", "decoder_start_token_id", json!(96)),
        ("bart", "forced_bos_token_id", json!(96)),
        ("bart", "forced_eos_token_id", json!([2, 96])),
        ("bart", "eos_token_id", Value::Null),
        ("m2m100", "pad_token_id", Value::Null),
    ] {
        let error = load_with(name, &[(field, value.clone())]).unwrap_err();
        assert!(error.to_string().contains(field), "{name}: {field} = {value}: {error}");
        assert!(matches!(error, LmError::Size { .. } | LmError::Unsupported { .. }), "{field}: {error}");
    }
    let missing = [("decoder_start_token_id", Value::Null), ("bos_token_id", Value::Null)];
    assert!(load_with("bart", &missing).unwrap_err().to_string().contains("decoder_start_token_id is missing"));
}

fn bart(model: &Pretrained) -> &Bart {
    let Pretrained::Bart(bart) = model else { panic!("another family") };
    bart
}

#[test]
fn ids_that_are_missing_are_those_of_transformers_and_null_is_none() {
    let ids = |config: &BartConfig| {
        let eos = |ids: &Option<wheels_lm::TokenIds>| ids.as_ref().map(|ids| ids.as_slice().to_vec());
        let forced = (config.forced_bos_token_id, eos(&config.forced_eos_token_id));
        (config.pad_token_id, eos(&config.eos_token_id), config.decoder_start_token_id, forced)
    };
    let mut fields = config("bart");
    fields.retain(|field, _| !field.ends_with("token_id"));
    let model = load_edited("bart", &fields, |_| ());
    assert_eq!(ids(bart(&model).config()), (Some(1), Some(vec![2]), Some(2), (None, Some(vec![2]))));
    fields.insert("force_bos_token_to_be_generated".into(), json!(true));
    assert_eq!(bart(&load_edited("bart", &fields, |_| ())).config().forced_bos_token_id, Some(0));
    let mut fields = config("mbart");
    fields.retain(|field, _| !field.ends_with("token_id"));
    let model = load_edited("mbart", &fields, |_| ());
    assert_eq!(ids(bart(&model).config()), (Some(1), Some(vec![2]), None, (None, Some(vec![2]))));

    let null =
        [("pad_token_id", Value::Null), ("decoder_start_token_id", Value::Null), ("forced_eos_token_id", Value::Null)];
    let model = load_with("bart", &null).unwrap();
    assert_eq!(ids(bart(&model).config()), (None, Some(vec![2]), None, (Some(0), None)));
    assert_eq!((model.spec().pad, model.prefill(&TokenBatch::column(&[5]), 0).starts()), (2, vec![0]));
    let scratch = tempfile::tempdir().unwrap();
    model.save(scratch.path(), FloatFormat::F32).unwrap();
    let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
    assert_eq!(bart(&again).config(), bart(&model).config(), "null is saved as null");

    let mut fields = config("m2m100");
    fields.retain(|field, _| !field.ends_with("token_id") && field != "scale_embedding");
    let model = load_edited("m2m100", &fields, |_| ());
    assert_eq!(ids(bart(&model).config()), (Some(1), Some(vec![2]), Some(2), (None, None)));
    assert!(bart(&model).config().scale_embedding);
}

/// The prefix, copies of the table and the bias are all optional.
#[test]
fn files_of_the_bare_model_and_with_copies_are_read() {
    for name in BART {
        let expected = logits(&load(name), &golden(name, "golden.json").rows[0], 1, 0);
        for kept in [["shared", "decoder.embed_tokens"], ["encoder.embed_tokens", "decoder.embed_tokens"]] {
            let model = load_edited(name, &config(name), |weights| {
                let table = weights.remove("model.shared.weight").unwrap();
                let bare = |name: String| name.strip_prefix("model.").map_or(name.clone(), str::to_owned);
                *weights = std::mem::take(weights).into_iter().map(|(name, weight)| (bare(name), weight)).collect();
                for copy in kept {
                    weights.insert(format!("{copy}.weight"), table.clone());
                }
                weights.insert("lm_head.weight".into(), table);
                weights.insert("encoder.version".into(), (vec![1], vec![3.0]));
            });
            assert_eq!(logits(&model, &golden(name, "golden.json").rows[0], 1, 0), expected, "{name}");
        }
    }
}

#[test]
fn tables_of_their_own_are_used_and_saved() {
    for name in BART {
        let row = &golden(name, "golden.json").rows[0];
        let before = logits(&load(name), row, 1, 0);
        for tied in [true, false] {
            let mut fields = config(name);
            fields.insert("tie_word_embeddings".into(), json!(tied));
            let head = load_edited(name, &fields, |weights| {
                let (shape, table) = weights["model.shared.weight"].clone();
                let doubled = table.iter().map(|number| 2.0 * number).collect();
                weights.insert("lm_head.weight".into(), (shape, doubled));
                if let Some((_, bias)) = weights.get_mut("final_logits_bias") {
                    bias.iter_mut().for_each(|bias| *bias *= 2.0);
                }
            });
            let found = logits(&head, row, 1, 0);
            let doubled: Vec<f32> = before.iter().map(|logit| 2.0 * logit).collect();
            assert_near(&found, &doubled, name);
            let table = load_edited(name, &config(name), |weights| {
                let (shape, mut table) = weights["model.shared.weight"].clone();
                table.reverse();
                weights.insert("model.encoder.embed_tokens.weight".into(), (shape, table));
            });
            assert!(worst(&logits(&table, row, 1, 0), &before) > 0.01, "{name}");
            for model in [head, table] {
                let scratch = tempfile::tempdir().unwrap();
                model.save(scratch.path(), FloatFormat::F32).unwrap();
                let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
                assert_eq!(logits(&again, row, 1, 0), logits(&model, row, 1, 0), "{name}");
                let grown = logits(&again.with_vocab_size(98), row, 1, 0);
                assert_near(&grown[..96], &logits(&model, row, 1, 0)[..96], name);
            }
        }
    }
}

#[test]
fn a_new_token_has_the_mean_of_all_logits() {
    for name in BART {
        let model = load(name);
        let row = &golden(name, "golden.json").rows[1];
        let before = logits(&model, row, 1, 0);
        let grown = model.clone().with_vocab_size(98);
        let scratch = tempfile::tempdir().unwrap();
        grown.save(scratch.path(), FloatFormat::F32).unwrap();
        assert_eq!(Pretrained::load(scratch.path(), &Device::flex()).unwrap().spec().vocab_size, 98);
        let narrow = logits(&model.with_vocab_size(90), row, 1, 0);
        for ((old, new), narrow) in before.chunks(96).zip(logits(&grown, row, 1, 0).chunks(98)).zip(narrow.chunks(90)) {
            let mean = old.iter().sum::<f32>() / 96.0;
            assert_near(&[old, &[mean, mean]].concat(), new, name);
            assert_near(&old[..90], narrow, name);
        }
    }
}

#[test]
fn smaller_models_of_the_bart_family_open_again() {
    let device = Device::flex();
    for name in BART {
        let model = load(name);
        let size = ModelSize { width: 48, layers: 3, decoder_layers: Some(1) };
        for (smaller, layers) in
            [(model.resized(size, &device).unwrap(), (3, 1)), (model.clone().with_every_nth_block(2), (1, 1))]
        {
            let scratch = tempfile::tempdir().unwrap();
            smaller.save(scratch.path(), FloatFormat::F32).unwrap();
            let again = Pretrained::load(scratch.path(), &device).unwrap();
            let config = bart(&again).config();
            assert_eq!((config.encoder_layers, config.decoder_layers), layers);
            assert!(!config.other.contains_key("num_hidden_layers"), "transformers would read it as encoder_layers");
            let row = &golden(name, "golden.json").rows[0];
            assert_eq!(logits(&again, row, 1, 0), logits(&smaller, row, 1, 0));
        }
        let odd = ModelSize { width: 28, ..size };
        assert!(matches!(model.resized(odd, &device), Err(LmError::ModelSize { .. })));
    }
}

#[test]
fn dropout_is_repeated_by_its_seed() {
    for name in BART {
        let row = &golden(name, "golden.json").rows[0];
        let train = |model: Pretrained, seed| logits(&model.with_dropout(seed), row, 1, 0);
        let plain = logits(&load(name), row, 1, 0);
        assert_eq!(train(load(name), 1), train(load(name), 1));
        assert!(worst(&train(load(name), 1), &train(load(name), 2)) > 0.1);
        let off = [("dropout", json!(0.0)), ("attention_dropout", json!(0.0)), ("activation_dropout", json!(0.0))];
        assert_eq!(train(load_with(name, &off).unwrap(), 1), plain);
        for (rate, _) in &off {
            let mut one = off.clone();
            one.iter_mut().find(|(field, _)| field == rate).unwrap().1 = json!(0.3);
            assert!(worst(&train(load_with(name, &one).unwrap(), 1), &plain) > 0.1, "{name}: {rate}");
        }
    }
}

#[test]
fn padding_tokens_in_a_text_have_no_position_in_m2m100() {
    let model = load("m2m100");
    let (prompt, text) = ([93, 8, 1, 9, 2], [2, 7, 1, 1, 40, 5]);
    let row = Row { source: prompt.to_vec(), target: text.to_vec(), logits: vec![], greedy: vec![] };
    let whole = logits(&model, &row, 1, 0);
    let mut context = model.prefill(&TokenBatch::new(&[prompt], 1), 2);
    let mut found = vec![];
    for token in text {
        found.extend(values(model.forward(&TokenBatch::column(&[token]), &mut context).logits));
    }
    assert_near(&found, &whole, "with a cache");
}

#[test]
fn learned_positions_limit_the_length() {
    let limits = BART.map(|name| load(name).spec().max_positions);
    assert_eq!(limits, [Some(32), Some(32), None, None]);
    for name in BART {
        // Padding may be longer than the table.
        let model = load(name);
        let long: Vec<u32> = (0..32).map(|id| 4 + id).collect();
        let mut context = model.prefill(&TokenBatch::new(&[&long[..], &[5, 2]], 1), 1);
        let text = TokenBatch::new(&[&long[..30], &[2]], 1);
        model.forward(&text, &mut context);
        model.forward(&TokenBatch::new(&[&[6, 7][..], &[8]], 1), &mut context);
    }
}

#[test]
#[should_panic(expected = "a row has 33 tokens, and the model has 32 positions")]
fn a_prompt_that_is_too_long_panics() {
    load("bart").prefill(&TokenBatch::new(&[vec![5; 33]], 1), 0);
}

#[test]
#[should_panic(expected = "a row has 33 tokens, and the model has 32 positions")]
fn a_text_that_becomes_too_long_panics() {
    let model = load("mbart");
    let mut context = model.prefill(&TokenBatch::column(&[5]), 4);
    for _ in 0..33 {
        model.forward(&TokenBatch::column(&[5]), &mut context);
    }
}

/// Saves every fixture for assets/golden/families/check_saved.py, if `WHEELS_SAVED` names a folder.
#[test]
fn saved_folders_for_transformers() {
    let Some(saved) = std::env::var_os("WHEELS_SAVED") else {
        eprintln!("SKIPPED: WHEELS_SAVED does not name a folder");
        return;
    };
    for name in LLAMA.iter().chain(&T5).chain(&BART) {
        load(name).save(Path::new(&saved).join(name), FloatFormat::F32).unwrap();
    }
}
