//! What several of the tests need.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::{fs, iter};

use burn::tensor::Device;
use training_wheels::decode::{Distribution, Observer, Step};
use training_wheels::lm::TokenBatch;
use training_wheels::prelude::*;
use wheels_embedded::{EmbeddedPair, TRANSLATION};

/// An example's program, which `cargo test` builds beside the test's own. For `cargo test --test NAME`, build the
/// examples first with `cargo build --examples`.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests are built in target/PROFILE/deps");
    folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The embedded texts of a task.
pub(crate) fn sample(embedded: &EmbeddedPair) -> Dataset {
    Dataset::from_reader(embedded.sample.as_bytes(), "sample").expect("the sample is a data set")
}

/// The first `count` short translations of the embedded sample, as lines of JSON.
pub(crate) fn short_lines(count: usize) -> Vec<&'static str> {
    TRANSLATION.sample.lines().filter(|line| line.len() < 200).take(count).collect()
}

/// The embedded models of a task.
pub(crate) fn pair(embedded: &EmbeddedPair, device: &Device) -> Pair {
    Pair::from_files(embedded.student, embedded.teacher, device).expect("the embedded models open")
}

/// Writes the files of an embedded model into a folder, without those named in `absent`.
pub(crate) fn unpack(files: &[(&str, &[u8])], absent: &[&str], folder: &Path) {
    fs::create_dir_all(folder).expect("the folder can be created");
    for (name, bytes) in files {
        if !absent.contains(name) {
            fs::write(folder.join(name), bytes).expect("the file can be written");
        }
    }
}

/// The model of a folder, on the CPU.
pub(crate) fn open(folder: &Path) -> TextModel {
    TextModel::open(folder, &Device::flex()).expect("the folder opens")
}

/// A short distillation.
pub(crate) fn tiny() -> DistillationConfig {
    let calibration = CalibrationConfig::new().with_rates(vec![0.2]).with_tolerance(0.05);
    let mut config = DistillationConfig::new().with_steps(3).with_calibration(calibration).with_valid_texts(4);
    config.rollout.batch_tokens = 600;
    config.prices.texts = 4;
    config.report_budgets = vec![20];
    config
}

/// What a model computes for a text, to compare models.
pub(crate) fn logits(model: &TextModel) -> Vec<f32> {
    let ids = model.tokenizer.encode("a text editor").expect("tokens");
    let mut context = model.model.prefill(&TokenBatch::new(&[ids], model.tokenizer.pad()), 0);
    let logits = model.model.forward(&TokenBatch::new(&[vec![context.starts()[0], 7, 9]], 0), &mut context).logits;
    logits.into_data().iter::<f32>().collect()
}

/// The largest difference between two lists of numbers.
pub(crate) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Devices, and batches of other sizes, round probabilities apart by a few 1e-6. A text that comes nearer to a tie than
/// this may go on in another way, which is not an error.
pub(crate) const TIE: f64 = 1e-5;

/// How near each text came to a tie: between its two most likely tokens, in probability, or between asking and not
/// asking, in the unit of its help rule.
pub(crate) struct NearestTies {
    rules: Vec<HelpRule>,
    /// The distance of each text from its nearest tie.
    pub(crate) of_texts: Vec<f64>,
}

impl NearestTies {
    pub(crate) fn new(policy: &Policy<'_>, prompts: &[Prompt]) -> Self {
        let rules = prompts.iter().map(|prompt| policy.help_rule(prompt)).collect();
        Self { rules, of_texts: iter::repeat_n(f64::INFINITY, prompts.len()).collect() }
    }
}

impl Observer for NearestTies {
    fn distribution(&mut self, row: usize, distribution: &Distribution<'_>) {
        let to_help = match self.rules[row] {
            HelpRule::Threshold { confidence, threshold } => (confidence.of(distribution) - threshold).abs(),
            HelpRule::Learned => distribution.help_log_odds().abs(),
            _ => f64::INFINITY,
        };
        let nearest = &mut self.of_texts[row];
        *nearest = nearest.min(distribution.margin()).min(to_help);
    }

    fn step(&mut self, _row: usize, _step: &Step) {}
}
