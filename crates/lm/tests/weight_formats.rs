//! Models whose matrices are in half precision or in int8.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use wheels_lm::{FloatFormat, LanguageModel, LmError, Pretrained, TokenBatch, WeightFormat, first_overflow};

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
        let (mut before, mut after) = (Bytes::default(), Bytes::default());
        single.visit(&mut before);
        half.visit(&mut after);
        assert_eq!(before.half, 0, "{name}");
        assert_eq!(2 * after.half + after.other, before.other, "{name}: half of the bytes of the matrices");
        assert!(after.half > after.other / 2, "{name}: {} bytes in f16, {} others", after.half, after.other);

        let ([whole, cached], [half_whole, half_cached]) = (logits(&single), logits(&half));
        let scale = whole.iter().fold(0.0_f32, |scale, logit| scale.max(logit.abs()));
        let difference = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
        for (reference, found) in [(&whole, &half_whole), (&cached, &half_cached)] {
            let difference = difference(reference, found);
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

/// The logits of a model in another format equal those of a model in f32 with the same, rounded weights, because the CPU
/// widens the weights and sums in f32.
#[test]
fn weights_are_widened_and_nothing_else_is_rounded() {
    let int8 = ["llama2", "llama3", "llama-bias", "qwen2-window", "t5-v1.1"].map(|name| (name, WeightFormat::Int8));
    let floats = ["smollm2", "t5-v1.0", "bart"];
    let half = floats.into_iter().flat_map(|name| [(name, WeightFormat::F16), (name, WeightFormat::BF16)]);
    for (name, format) in half.chain(int8) {
        let folder = folder(name);
        let device = Device::flex();
        let small = Pretrained::load(&folder, (&device, format)).unwrap();
        assert_eq!(small.format(), format);
        let scratch = tempfile::tempdir().unwrap();
        small.save(scratch.path(), FloatFormat::F32).unwrap();
        let rounded = Pretrained::load(scratch.path(), &device).unwrap();
        assert_eq!(rounded.format(), WeightFormat::F32);
        for (small, rounded) in logits(&small).iter().flatten().zip(logits(&rounded).iter().flatten()) {
            assert!((small - rounded).abs() <= 1e-5 * rounded.abs().max(1.0), "{name}, {format}: {small}, {rounded}");
        }
    }
}

#[test]
fn int8_changes_logits_by_rounding_only() {
    for name in ["llama2", "llama3", "llama-bias", "qwen2-window", "t5-v1.1"] {
        let [single, int8] = [WeightFormat::F32, WeightFormat::Int8]
            .map(|format| logits(&Pretrained::load(folder(name), (&Device::flex(), format)).unwrap()).concat());
        let scale = single.iter().fold(0.0_f32, |scale, logit| scale.max(logit.abs()));
        let difference = single.iter().zip(&int8).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
        // A weight is off by up to 1/254 of the largest of its block.
        assert!(difference > 0.0 && difference < 0.03 * scale, "{name}: {difference} of {scale}");
    }
}

#[test]
fn int8_needs_a_cpu_without_autodiff() {
    let error = Pretrained::load(folder("llama2"), (&Device::flex().autodiff(), WeightFormat::Int8)).unwrap_err();
    assert!(matches!(error, LmError::Format { format: WeightFormat::Int8 }), "{error}");
}

/// The widths of this model are not multiples of 32.
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
