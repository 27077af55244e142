//! Adapters (LoRA) through the commands of the program.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use burn::tensor::Device;
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

use support::{logits, open, succeeds, tiny, wheels, worst};

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
