//! Models compute the same numbers as Hugging Face's transformers. The fixtures and the script that made them are in
//! assets/golden/t5.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use wheels_lm::{FloatFormat, LanguageModel, LmError, Positions, Pretrained, TokenBatch};

#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<usize>>,
    decoder_input_ids: Vec<Vec<u32>>,
    encoder_last_hidden_state: Vec<Vec<Vec<f32>>>,
    logits: Vec<Vec<Vec<f32>>>,
    generated: Vec<Vec<u32>>,
}

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/t5").join(version)
}

fn golden(version: &str, file: &str) -> Golden {
    serde_json::from_str(&std::fs::read_to_string(folder(version).join(file)).unwrap()).unwrap()
}

impl Golden {
    fn prompts(&self) -> TokenBatch {
        let lengths = self.attention_mask.iter().map(|mask| mask.iter().sum::<usize>());
        let rows: Vec<&[u32]> = self.input_ids.iter().zip(lengths).map(|(row, length)| &row[..length]).collect();
        TokenBatch::new(&rows, 0)
    }

    fn inputs(&self) -> TokenBatch {
        TokenBatch::new(&self.decoder_input_ids, 0)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The largest allowed difference in f32. At the depth of these models, rounding errors add up to a few 1e-6. 1e-4
/// leaves room for kernels that round differently.
const TOLERANCE: f32 = 1e-4;

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: the sizes differ");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: off by {worst}, allowed {tolerance}");
}

fn logits_of(model: &Pretrained, golden: &Golden, capacity: usize) -> Vec<f32> {
    let mut context = model.prefill(&golden.prompts(), capacity);
    values(model.forward(&golden.inputs(), &mut context).logits)
}

fn flat(rows: &[Vec<Vec<f32>>]) -> Vec<f32> {
    rows.iter().flatten().flatten().copied().collect()
}

#[test]
fn encoder_logits_and_greedy_text_equal_those_of_transformers() {
    let device = Device::flex();
    for version in ["v1.0", "v1.1"] {
        let golden = golden(version, "golden.json");
        let model = Pretrained::load(folder(version), &device).unwrap();
        let Pretrained::T5(t5) = &model else { panic!("another family") };
        let encoded = t5.encode(&golden.prompts());
        for (row, mask) in golden.attention_mask.iter().enumerate() {
            let length: usize = mask.iter().sum();
            let found = values(encoded.clone().narrow(0, row, 1).narrow(1, 0, length));
            let expected: Vec<f32> = golden.encoder_last_hidden_state[row][..length].concat();
            assert_near(&found, &expected, TOLERANCE, version);
        }
        for capacity in [0, 4] {
            assert_near(&logits_of(&model, &golden, capacity), &flat(&golden.logits), TOLERANCE, version);
        }
        assert_eq!(greedy(&model, &golden), golden.generated, "{version}");
    }
}

/// The greedy texts as `generate` of transformers returns them: the start token comes first, and padding follows the
/// end-of-text token.
fn greedy(model: &Pretrained, golden: &Golden) -> Vec<Vec<u32>> {
    let mut context = model.prefill(&golden.prompts(), 8);
    let mut last = context.starts();
    let mut texts: Vec<Vec<u32>> = last.iter().map(|&start| vec![start]).collect();
    for _ in 1..golden.generated[0].len() {
        let best = model.forward(&TokenBatch::column(&last), &mut context).logits.argmax(2);
        let best: Vec<u32> = best.into_data().iter::<i64>().map(|id| id as u32).collect();
        for (text, id) in texts.iter_mut().zip(best) {
            let ended = text.iter().any(|&id| model.spec().ends(id));
            text.push(if ended { model.spec().pad } else { id });
        }
        last = texts.iter().map(|text| text[text.len() - 1]).collect();
    }
    texts
}

#[test]
fn half_precision_checkpoints_are_read() {
    let scratch = tempfile::tempdir().unwrap();
    for format in ["f16", "bf16"] {
        std::fs::copy(folder("v1.0").join("config.json"), scratch.path().join("config.json")).unwrap();
        let weights = folder("v1.0").join(format!("model.{format}.safetensors"));
        std::fs::copy(weights, scratch.path().join("model.safetensors")).unwrap();
        let model = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        let golden = golden("v1.0", &format!("golden.{format}.json"));
        assert_near(&logits_of(&model, &golden, 0), &flat(&golden.logits), TOLERANCE, format);
    }
}

#[test]
fn a_cache_and_ragged_rows_do_not_change_the_logits() {
    let device = Device::flex();
    let golden = golden("v1.1", "golden.json");
    let model = Pretrained::load(folder("v1.1"), &device).unwrap();
    let vocab = model.spec().vocab_size;
    let expected = flat(&golden.logits);
    let at = |row: usize, time: usize| &expected[(row * 12 + time) * vocab..(row * 12 + time + 1) * vocab];

    // In each round, some rows read two other tokens, roll them back, and then read their next tokens. The rows become
    // longer than the capacity of 2, so the caches grow.
    let mut context = model.prefill(&golden.prompts(), 2);
    let inputs = &golden.decoder_input_ids;
    let mut read = [0usize; 3];
    let plan: [&[(usize, usize)]; 6] = [
        &[(0, 3), (1, 1), (2, 5)],
        &[(1, 4)],
        &[(2, 1), (0, 2)],
        &[(0, 1), (1, 1), (2, 1)],
        &[(0, 6), (2, 2)],
        &[(1, 6), (2, 3)],
    ];
    for round in plan {
        let rows: Vec<usize> = round.iter().map(|&(row, _)| row).collect();
        let parts: Vec<&[u32]> = round.iter().map(|&(row, n)| &inputs[row][read[row]..read[row] + n]).collect();
        let tokens = TokenBatch::new(&parts, 0);
        let detour: Vec<[u32; 2]> = rows.iter().map(|_| [9, 17]).collect();
        model.hidden(&TokenBatch::new(&detour, 0), &rows, Positions::All, &mut context);
        for &row in &rows {
            context.truncate(row, read[row]);
        }
        let hidden = model.hidden(&tokens, &rows, Positions::All, &mut context);
        let logits = values(model.head(&hidden));
        for (index, &(row, n)) in round.iter().enumerate() {
            for time in 0..n {
                let start = (index * tokens.width() + time) * vocab;
                assert_near(&logits[start..start + vocab], at(row, read[row] + time), TOLERANCE, "ragged");
            }
            read[row] += n;
        }
    }
    assert_eq!(read, [12, 12, 12]);

    // Rows can be dropped and reordered, and each row in a batch of its own has the same logits.
    context.select_rows(&[2, 1]);
    assert_eq!(context.tokens(0), inputs[2]);
    for row in 0..3 {
        let alone = TokenBatch::new(&[golden.prompts().row(row)], 0);
        let mut context = model.prefill(&alone, 12);
        let logits = values(model.forward(&TokenBatch::new(&[&inputs[row]], 0), &mut context).logits);
        assert_near(&logits, &expected[row * 12 * vocab..(row + 1) * 12 * vocab], TOLERANCE, "alone");
    }
}

#[test]
fn a_saved_model_is_loaded_bit_for_bit() {
    let device = Device::flex();
    for version in ["v1.0", "v1.1"] {
        let scratch = tempfile::tempdir().unwrap();
        let golden = golden(version, "golden.json");
        let model = Pretrained::load(folder(version), &device).unwrap();
        model.save(scratch.path(), FloatFormat::F32).unwrap();
        let again = Pretrained::load(scratch.path(), &device).unwrap();
        assert_eq!(logits_of(&again, &golden, 0), logits_of(&model, &golden, 0));
        model.save(scratch.path(), FloatFormat::F16).unwrap();
        let half = Pretrained::load(scratch.path(), &device).unwrap();
        // Rounding the weights to f16 changes logits of up to 9 by about 0.02. A wrong tensor changes them far more.
        assert_near(&logits_of(&half, &golden, 0), &flat(&golden.logits), 0.2, "f16");
    }
}

#[test]
fn saved_names_are_those_of_hugging_face() {
    for version in ["v1.0", "v1.1"] {
        let scratch = tempfile::tempdir().unwrap();
        Pretrained::load(folder(version), &Device::flex()).unwrap().save(scratch.path(), FloatFormat::F32).unwrap();
        assert_eq!(names(&scratch.path().join("model.safetensors")), names(&folder(version).join("model.safetensors")));
    }
}

fn names(path: &Path) -> Vec<(String, Vec<usize>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<_> = file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
    names.sort();
    names
}

/// The config with a different number in one field.
fn with_field(config: &str, field: &str, value: &str) -> String {
    let key = format!("\"{field}\": ");
    let (before, after) = config.split_once(&key).expect("the config has this field");
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}{key}{value}{rest}")
}

#[test]
fn errors_of_damaged_folders_say_what_is_wrong() {
    let device = Device::flex();
    let scratch = tempfile::tempdir().unwrap();
    let load = || Pretrained::load(scratch.path(), &device).unwrap_err();
    let config = std::fs::read_to_string(folder("v1.0").join("config.json")).unwrap();
    let weights = std::fs::read(folder("v1.0").join("model.safetensors")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(scratch.path().join(name), bytes).unwrap();

    assert!(matches!(load(), LmError::Read { path, .. } if path.ends_with("config.json")));
    write("config.json", b"{\"model_type\": ");
    assert!(matches!(load(), LmError::Config { .. }));
    write("config.json", config.as_bytes());
    assert!(matches!(load(), LmError::Read { path, .. } if path.ends_with("model.safetensors")));
    write("model.safetensors", &weights[..weights.len() / 2]);
    assert!(matches!(load(), LmError::Safetensors { .. }));
    write("model.safetensors", b"not a safetensors file at all");
    assert!(matches!(load(), LmError::Safetensors { .. }));
    write("model.safetensors", b"");
    assert!(matches!(load(), LmError::Safetensors { .. }));
    write("model.safetensors", &weights);
    for (field, value, found) in [
        ("d_ff", "32", 64),
        ("d_ff", "999999999", 64),
        ("vocab_size", "99999999", 64),
        ("d_model", "99999999", 32),
        ("num_layers", "3", 2),
        ("num_layers", "999999999", 2),
        ("num_heads", "99999999", 4),
        ("relative_attention_num_buckets", "99999999", 8),
    ] {
        write("config.json", with_field(&config, field, value).as_bytes());
        let error = load();
        let LmError::Size { field: named, value: given, found: held, .. } = &error else { panic!("{field}: {error}") };
        assert_eq!((named.to_string(), given.to_string(), *held), (field.into(), value.into(), found), "{error}");
    }
    write("config.json", config.replace("\"relu\"", "\"swish\"").as_bytes());
    assert!(load().to_string().contains("feed_forward_proj is \"swish\"; supported: relu"));
    write("config.json", config.replace("\"t5\"", "\"mamba\"").as_bytes());
    assert!(load().to_string().contains("model_type is mamba; supported: t5"));
    write("config.json", config.replace("\"eos_token_id\": 1", "\"eos_token_id\": 640").as_bytes());
    assert!(load().to_string().contains("eos_token_id is 640"));
}

#[cfg(unix)]
#[test]
fn saved_weights_have_the_permissions_of_their_config() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    Pretrained::load(folder("v1.0"), &Device::flex()).unwrap().save(scratch.path(), FloatFormat::F16).unwrap();
    let mode = |file: &str| std::fs::metadata(scratch.path().join(file)).unwrap().permissions().mode();
    assert_eq!(mode("model.safetensors"), mode("config.json"));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2, "nothing is left beside them");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let model = Pretrained::load(folder("v1.0"), &Device::flex()).unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    assert!(matches!(model.save(&file, FloatFormat::F32), Err(LmError::Write { .. })));
}
