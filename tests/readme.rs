//! The commands in the README work, in the order in which they are given.

mod support;

use std::path::Path;
use std::process::Command;

use burn::config::Config;
use support::example;
use training_wheels::{CalibrationConfig, DistillationConfig};
use wheels_embedded::TRANSLATION;

const README: &str = include_str!("../README.md");

/// The lines of the README that call cargo.
fn commands() -> Vec<&'static str> {
    README.lines().map(str::trim).filter(|line| line.starts_with("cargo ")).collect()
}

#[test]
fn the_readme_gives_the_two_commands() {
    assert!(commands().contains(&"cargo run --release --example translate"));
    assert!(commands().contains(&"cargo test --release"));
}

#[test]
fn the_readme_is_short() {
    let words = README.split_whitespace().count();
    assert!(words <= 900, "the README has {words} words: what is more belongs into assets/results/README.md");
}

/// Flags that cut long runs short.
fn shortened(example: &str, flags: &str) -> &'static str {
    match example {
        "train" if flags.contains("--tokenizer") => "--steps 2 --batch-tokens 600 --valid-texts 2",
        "train" => "--steps 2 --vocab 600 --d-model 32 --layers 1 --batch-tokens 600 --valid-texts 2",
        "distill" => "--config tiny.json",
        "evaluate" => "--limit 6 --valid-texts 3 --budgets 20",
        _ => "",
    }
}

/// Writes the data files that the README names, and the configuration of a tiny distillation.
fn furnish(folder: &Path) {
    let sample: Vec<&str> = TRANSLATION.sample.lines().filter(|line| line.len() < 200).collect();
    for (index, split) in ["train", "valid", "test"].into_iter().enumerate() {
        let lines = sample[index * 40..(index + 1) * 40].join("\n");
        std::fs::write(folder.join(format!("{split}.jsonl")), lines).expect("room");
    }
    let calibration = CalibrationConfig::new().with_texts(4).with_rates(vec![0.2]).with_max_trials(2);
    let mut config = DistillationConfig::new().with_steps(2).with_calibration(calibration).with_valid_texts(4);
    config.rollout.batch_tokens = 600;
    config.report_budgets = vec![20];
    config.save(folder.join("tiny.json")).expect("room");
}

#[test]
fn every_command_of_the_readme_runs() {
    let scratch = tempfile::tempdir().expect("a folder");
    furnish(scratch.path());
    let mut ran = 0;
    for command in commands() {
        let Some((_, rest)) = command.split_once("--example ") else { continue };
        let (name, flags) = rest.split_once(" -- ").unwrap_or((rest, ""));
        let name = name.trim();
        // Only quoted flags and texts contain spaces.
        let mut arguments = Vec::new();
        for (index, part) in flags.split('"').enumerate() {
            match index % 2 {
                0 => arguments.extend(part.split_whitespace()),
                _ => arguments.push(part),
            }
        }
        arguments.extend(shortened(name, flags).split_whitespace());
        let output = Command::new(example(name)).current_dir(scratch.path()).args(arguments).output();
        let output = output.expect("`cargo test` builds the examples");
        assert!(output.status.success(), "`{command}` fails: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty() || name == "train", "`{command}` prints nothing");
        ran += 1;
    }
    assert_eq!(ran, 6, "the README shows its examples");
}

#[test]
fn every_path_in_the_readme_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(link.starts_with("http") || root.join(link).exists(), "the README links to {link}");
    }
}
