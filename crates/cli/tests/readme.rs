//! The commands of the README and of the page on distilling work, in the order in which they are given.

mod support;

use std::path::Path;

use burn::config::Config;
use training_wheels::{CalibrationConfig, DistillationConfig};
use wheels_embedded::TRANSLATION;

use support::{succeeds, unpack, wheels};

const README: &str = include_str!("../../../README.md");
const DISTILLING: &str = include_str!("../distilling.md");

/// The commands of this program in a text: the lines that start with its name.
fn commands(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter_map(|line| line.strip_prefix("wheels "))
}

/// Flags that cut long runs short.
fn shortened(command: &str, flags: &str) -> &'static str {
    match command {
        "train" if flags.contains("--tokenizer") => "--steps 2 --batch-tokens 600 --valid-texts 2",
        "train" => "--steps 2 --vocab 600 --d-model 32 --layers 1 --batch-tokens 600 --valid-texts 2",
        // The second run goes on with the first one, which has these settings.
        "distill" if flags.contains("--config") => "--steps 3",
        "distill" | "plan" => "--settings tiny.json",
        "calibrate" => "--texts 4 --rates 20 --max-trials 2",
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
    config.prices.texts = 4;
    config.report_budgets = vec![20];
    config.save(folder.join("tiny.json")).expect("room");
}

/// Runs all commands of a text in a folder, and returns their number.
fn run(text: &'static str, folder: &Path) -> usize {
    let mut ran = 0;
    for line in commands(text) {
        let (name, flags) = line.split_once(' ').unwrap_or((line, ""));
        // Only quoted flags and texts contain spaces.
        let mut arguments = Vec::new();
        for (index, part) in flags.split('"').enumerate() {
            match index % 2 {
                0 => arguments.extend(part.split_whitespace()),
                _ => arguments.push(part),
            }
        }
        arguments.extend(shortened(name, flags).split_whitespace());
        let [printed, _] = succeeds(wheels(name).current_dir(folder).args(arguments));
        let makes_a_folder = ["train", "student", "cache-teacher"].contains(&name) || line.contains("--teacher-cache");
        assert!(!printed.is_empty() || makes_a_folder, "`wheels {line}` prints nothing");
        ran += 1;
    }
    ran
}

#[test]
fn every_command_of_the_readme_runs() {
    let scratch = tempfile::tempdir().expect("a folder");
    furnish(scratch.path());
    assert_eq!(run(README, scratch.path()), 5);
}

#[test]
fn every_command_of_the_page_on_distilling_runs() {
    let scratch = tempfile::tempdir().expect("a folder");
    furnish(scratch.path());
    unpack(TRANSLATION.teacher, &[], &scratch.path().join("teacher"));
    assert_eq!(run(DISTILLING, scratch.path()), 11);
}
