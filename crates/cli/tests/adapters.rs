//! Adapters (LoRA) through the commands of the program.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use training_wheels::lm::TokenBatch;
use training_wheels::prelude::*;
use training_wheels::{CalibrationConfig, DistillationConfig};
use wheels_embedded::TRANSLATION;

use support::{succeeds, wheels};

fn open(folder: &Path) -> TextModel {
    TextModel::open(folder, &Device::flex()).unwrap()
}

/// A short distillation.
fn tiny() -> DistillationConfig {
    let calibration = CalibrationConfig::new().with_rates(vec![0.2]).with_tolerance(0.05);
    let mut config = DistillationConfig::new().with_steps(3).with_calibration(calibration).with_valid_texts(4);
    config.rollout.batch_tokens = 600;
    config.report_budgets = vec![20];
    config
}

fn logits(model: &TextModel) -> Vec<f32> {
    let ids = model.tokenizer.encode("a text editor").unwrap();
    let mut context = model.model.prefill(&TokenBatch::new(&[ids], model.tokenizer.pad()), 0);
    let logits = model.model.forward(&TokenBatch::new(&[vec![context.starts()[0], 7, 9]], 0), &mut context).logits;
    logits.into_data().iter::<f32>().collect()
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_commands_train_open_and_merge_adapters() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    support::unpack(TRANSLATION.teacher, &[], &path("base"));
    let lines: Vec<&str> = TRANSLATION.sample.lines().filter(|line| line.len() < 150).take(40).collect();
    fs::write(path("data.jsonl"), lines.join("\n")).unwrap();
    burn::config::Config::save(&tiny(), path("tiny.json")).unwrap();
    // Names of base models are relative to the working folder, as in PEFT.
    let run = |command: &str, flags: &str| {
        succeeds(wheels(command).args(flags.split(' ')).current_dir(scratch.path()));
    };
    let data = "--data data.jsonl --valid data.jsonl --device cpu";
    let lora = "--lora 2 --lora-alpha 4 --lora-dropout 0.1 --lora-modules SelfAttention.q,wo";
    run("train", &format!("{data} --init base --out teacher {lora} --steps 2 --batch-tokens 600 --valid-texts 2"));
    let saved = LoraConfig::from_dir(path("teacher")).unwrap().unwrap();
    assert_eq!((saved.rank, saved.alpha, saved.dropout, saved.base_model.as_deref()), (2, 4.0, 0.1, Some("base")));
    assert_eq!(saved.target_modules, ["SelfAttention.q", "wo"]);

    run("student", "--from teacher --out student");
    let teacher = TextModel::open_adapter(path("teacher"), path("base"), &Device::flex()).unwrap();
    assert!(worst(&logits(&open(&path("student"))), &logits(&teacher)) < 1e-4, "a student is a whole model");

    run(
        "distill",
        &format!("{data} --teacher teacher --student student --out distilled --settings tiny.json --lora 3"),
    );
    let saved = LoraConfig::from_dir(path("distilled")).unwrap().unwrap();
    assert_eq!((saved.rank, saved.base_model.as_deref()), (3, Some("student")));
    run("generate", "--teacher teacher --student distilled --device cpu Hello.");
}
