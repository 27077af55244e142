//! Models whose matrices are in half precision or in int8.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::json;
use tempfile::TempDir;
use wheels_lm::{
    FloatFormat, LanguageModel, LlamaConfig, LmError, LoraConfig, Pretrained, T5Config, TokenBatch, WeightFormat,
    first_overflow,
};

/// The bytes of a model's parameters.
#[derive(Default)]
struct Bytes {
    half: usize,
    other: usize,
}

impl ModuleVisitor for Bytes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let bytes = tensor.shape().num_elements() * tensor.dtype().size();
        match tensor.dtype() {
            DType::F16 => self.half += bytes,
            _ => self.other += bytes,
        }
    }
}

fn bytes(model: &Pretrained) -> Bytes {
    let mut bytes = Bytes::default();
    model.visit(&mut bytes);
    bytes
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/families").join(name)
}

/// The logits after a prompt, read at once and with a cache.
fn logits(model: &Pretrained) -> [Vec<f32>; 2] {
    let prompts = TokenBatch::new(&[vec![5, 9, 12, 7, 3], vec![8, 6, 4]], model.spec().pad);
    [0, 8].map(|capacity| {
        let mut context = model.prefill(&prompts, capacity);
        let texts: Vec<Vec<u32>> = context.starts().iter().map(|&start| vec![start, 11, 13, 2]).collect();
        let logits = model.forward(&TokenBatch::new(&texts, model.spec().pad), &mut context).logits;
        assert_eq!(logits.dtype(), DType::F32, "logits keep the precision of the device");
        logits.into_data().iter::<f32>().collect()
    })
}

#[test]
fn matrices_in_half_precision_take_half_the_memory_and_change_logits_by_rounding_only() {
    let mut compared = 0;
    for entry in fs::read_dir(folder("")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("config.json").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let device = Device::flex();
        let (single, half) = (
            Pretrained::load(&folder, &device).unwrap(),
            Pretrained::load(&folder, (&device, FloatFormat::F16)).unwrap(),
        );
        let (before, after) = (bytes(&single), bytes(&half));
        assert_eq!(before.half, 0, "{name}");
        assert_eq!(2 * after.half + after.other, before.other, "{name}: half of the bytes of the matrices");
        assert!(after.half > after.other / 2, "{name}: {} bytes in f16, {} others", after.half, after.other);

        let ([whole, cached], [half_whole, half_cached]) = (logits(&single), logits(&half));
        let scale = whole.iter().fold(0.0_f32, |scale, logit| scale.max(logit.abs()));
        for (reference, found) in [(&whole, &half_whole), (&cached, &half_cached)] {
            let difference = largest_difference(reference, found);
            // f16 has 11 significant bits, and the fixtures have two or three layers.
            assert!(difference > 0.0 && difference < 0.01 * scale, "{name}: {difference} of {scale}");
        }
        compared += 1;
    }
    assert!(compared >= 29, "{compared} folders");
}

#[test]
fn the_matrices_that_need_the_range_of_single_precision_keep_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/t5/v1.1");
    struct OfWo(Vec<String>, usize);
    impl ModuleVisitor for OfWo {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.iter().any(|name| name == "wo") {
                assert_eq!(param.val().dtype(), DType::F32);
                self.1 += 1;
            }
        }
    }
    let mut of_wo = OfWo(vec![], 0);
    Pretrained::load(folder, (&Device::flex(), FloatFormat::F16)).unwrap().visit(&mut of_wo);
    assert!(of_wo.1 >= 2, "an encoder and a decoder have one each");
}

/// Fills matrices with numbers from -0.25 to 0.25, the same in every run. The device's own generator is shared by all tests.
struct Fill(u32);

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.0 as f32 / u32::MAX as f32 / 2.0 - 0.25
        };
        param.map(|tensor| {
            let numbers: Vec<f32> = (0..tensor.shape().num_elements()).map(|_| next()).collect();
            if D == 1 { tensor } else { Tensor::from_data(TensorData::new(numbers, tensor.shape()), &tensor.device()) }
        })
    }
}

/// Folders with a T5 and a Llama whose matrices fit int8.
fn wide_models() -> [TempDir; 2] {
    let device = Device::flex();
    let t5: T5Config = serde_json::from_value(json!({
        "model_type": "t5", "vocab_size": 40, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4,
    }))
    .unwrap();
    let llama: LlamaConfig = serde_json::from_value(json!({
        "model_type": "llama", "vocab_size": 40, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false, "initializer_range": 0.2,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }))
    .unwrap();
    [Pretrained::T5(t5.init(&device)), Pretrained::Llama(llama.init(&device).unwrap())].map(|model| {
        let folder = tempfile::tempdir().unwrap();
        model.map(&mut Fill(1)).save(folder.path(), FloatFormat::F32).unwrap();
        folder
    })
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |max, (a, b)| max.max((a - b).abs()))
}

/// The logits of a model in another format equal those of a model in f32 with the same, rounded weights, because the CPU
/// widens the weights and sums in f32.
#[test]
fn weights_are_widened_and_nothing_else_is_rounded() {
    let wide = wide_models();
    let int8 = wide.iter().map(|wide| (wide.path().to_owned(), WeightFormat::Int8));
    let floats = ["smollm2", "t5-v1.0", "bart"].map(folder);
    let half =
        floats.into_iter().flat_map(|folder| [(folder.clone(), WeightFormat::F16), (folder, WeightFormat::BF16)]);
    for (folder, format) in half.chain(int8) {
        let device = Device::flex();
        let small = Pretrained::load(&folder, (&device, format)).unwrap();
        assert_eq!(small.format(), format);
        let scratch = tempfile::tempdir().unwrap();
        small.save(scratch.path(), FloatFormat::F32).unwrap();
        let rounded = Pretrained::load(scratch.path(), &device).unwrap();
        assert_eq!(rounded.format(), WeightFormat::F32);
        let (small, rounded) = (logits(&small).concat(), logits(&rounded).concat());
        let scale = rounded.iter().fold(1.0_f32, |scale, logit| scale.max(logit.abs()));
        let difference = largest_difference(&small, &rounded);
        assert!(difference <= 1e-5 * scale, "{}, {format}: {difference} of {scale}", folder.display());
    }
}

#[test]
fn int8_takes_little_memory_and_changes_logits_by_rounding_only() {
    for wide in wide_models() {
        let load = |format| Pretrained::load(wide.path(), (&Device::flex(), format)).unwrap();
        let (single, int8) = (load(WeightFormat::F32), load(WeightFormat::Int8));
        let (before, after) = (bytes(&single), bytes(&int8));
        assert!(after.other < before.other / 3, "{} and {} bytes", before.other, after.other);
        let (single, int8) = (logits(&single).concat(), logits(&int8).concat());
        let size = |logits: &mut dyn Iterator<Item = f32>| logits.map(|logit| logit * logit).sum::<f32>().sqrt();
        let difference = size(&mut single.iter().zip(&int8).map(|(a, b)| a - b));
        let scale = size(&mut single.iter().copied());
        // A weight is off by up to 1/254 of the largest of its block, and by about 1/180 of a typical one.
        assert!(difference > 0.0 && difference < 0.05 * scale, "{difference} of {scale}");
    }
}

#[test]
fn int8_needs_a_cpu_without_autodiff() {
    let error = Pretrained::load(folder("llama2"), (&Device::flex().autodiff(), WeightFormat::Int8)).unwrap_err();
    assert!(matches!(error, LmError::Format { format: WeightFormat::Int8 }), "{error}");
}

/// Adapters stay in f32 beside int8, and merged weights are in f32.
#[test]
fn adapters_fit_a_base_model_in_int8() {
    for wide in wide_models() {
        let base = Pretrained::load(wide.path(), (&Device::flex(), WeightFormat::Int8)).unwrap();
        let model = base.with_lora(&LoraConfig::new(2)).unwrap();
        assert_eq!(model.format(), WeightFormat::Int8);
        let merged = model.clone().merged();
        assert_eq!(merged.format(), WeightFormat::F32);
        assert!(largest_difference(&logits(&model).concat(), &logits(&merged).concat()) < 1e-4);
    }
}

/// The widths of this model are not multiples of 64.
#[test]
fn matrices_that_do_not_fit_int8_are_in_half_precision() {
    let model = Pretrained::load(folder("smollm2"), (&Device::flex(), WeightFormat::Int8)).unwrap();
    let half = Pretrained::load(folder("smollm2"), (&Device::flex(), WeightFormat::F16)).unwrap();
    assert_eq!(model.format(), WeightFormat::F16);
    assert_eq!(logits(&model), logits(&half));
}

/// A layer whose output is too large is named, as it is in the files.
#[test]
fn the_first_layer_that_overflows_is_named() {
    struct Large(&'static str, Vec<String>);
    impl ModuleMapper for Large {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let is_chosen = self.1.join(".").contains(self.0);
            param.map(|tensor| if is_chosen { tensor.mul_scalar(1e38).mul_scalar(1e10) } else { tensor })
        }
    }
    let cases = [
        ("t5-v1.0", "encoder.block.1.feed.wo", "encoder.block.1"),
        ("t5-v1.0", "decoder.block.0.feed.wo", "decoder.block.0"),
        ("smollm2", "layers.1.mlp.down_proj", "model.layers.1"),
        ("bart", "decoder.layers.1.fc2", "model.decoder.layers.1"),
    ];
    for (name, path, layer) in cases {
        let model = Pretrained::load(folder(name), &Device::flex()).unwrap();
        assert_eq!(first_overflow(&model, &[5, 9, 7], &[11, 2]), None, "{name}");
        let large = model.map(&mut Large(path, vec![]));
        assert_eq!(first_overflow(&large, &[5, 9, 7], &[11, 2]).as_deref(), Some(layer), "{name}");
    }
}
