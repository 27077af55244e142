//! Real checkpoints compute what Hugging Face's transformers computes.
//!
//! `WHEELS_SMOLLM2` names the folder of SmolLM2-135M-Instruct, which `assets/models/smollm2/fetch.py` makes. Without it
//! the test says that it was skipped. `WHEELS_REAL_MODEL` and `WHEELS_REAL_GOLDEN` name any other folder, and a file that
//! assets/golden/smollm2/golden.py made from it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Deserialize;
use wheels_lm::{LanguageModel, Positions, Pretrained, TokenBatch};

#[derive(Deserialize)]
struct Golden {
    /// The ids whose logits are compared.
    tokens: Vec<usize>,
    end_ids: Vec<u32>,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    name: String,
    ids: Vec<u32>,
    positions: Vec<Position>,
    greedy: Vec<u32>,
}

#[derive(Deserialize)]
struct Position {
    position: usize,
    log_sum_exp: f64,
    best: usize,
    logits: Vec<f32>,
}

/// The largest allowed difference of a logit. The numbers of the golden file have seven digits.
const TOLERANCE: f64 = 1e-3;

fn check(folder: &Path, golden: &Path) {
    let golden: Golden = serde_json::from_str(&fs::read_to_string(golden).unwrap()).unwrap();
    let model = Pretrained::load(folder, &Device::flex()).unwrap();
    assert_eq!(model.spec().eos, golden.end_ids);
    for Prompt { name, ids, positions, greedy } in &golden.prompts {
        let mut context = model.prefill(&TokenBatch::new(&[&ids[..1]], 0), 0);
        let hidden = model.hidden(&TokenBatch::new(&[ids], 0), &[0], Positions::All, &mut context);
        let mut worst = 0.0_f64;
        for expected in positions {
            let logits: Vec<f32> = model.head(&hidden.narrow(expected.position, 1)).into_data().iter::<f32>().collect();
            for (&token, logit) in golden.tokens.iter().zip(&expected.logits) {
                worst = worst.max(f64::from((logits[token] - logit).abs()));
            }
            let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
            assert_eq!(best.0, expected.best, "{name} at {}", expected.position);
            let log_sum_exp =
                f64::from(*best.1) + logits.iter().map(|logit| f64::from(logit - best.1).exp()).sum::<f64>().ln();
            worst = worst.max((log_sum_exp - expected.log_sum_exp).abs());
        }
        assert!(worst <= TOLERANCE, "{name}: the logits are off by {worst}");

        let mut context = model.prefill(&TokenBatch::new(&[ids], 0), greedy.len());
        let mut text = Vec::new();
        let mut last = context.starts()[0];
        while text.len() < greedy.len() && !text.last().is_some_and(|&last| model.spec().ends(last)) {
            let logits = model.forward(&TokenBatch::column(&[last]), &mut context).logits;
            last = logits.argmax(2).into_data().iter::<i64>().next().unwrap() as u32;
            text.push(last);
        }
        assert_eq!(text, *greedy, "{name}");
        eprintln!("{name}: logits within {worst:.1e}, {} greedy tokens", text.len());
    }
}

/// Says that a test was skipped. The test harness does not hold back what is written to the standard error directly.
fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

#[test]
fn smollm2_computes_what_transformers_computes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/smollm2/golden.json");
    match env::var_os("WHEELS_SMOLLM2") {
        Some(folder) => check(&PathBuf::from(folder), &golden),
        None => skipped("WHEELS_SMOLLM2 does not name the folder that assets/models/smollm2/fetch.py makes"),
    }
}

#[test]
fn another_real_model_computes_what_transformers_computes() {
    match (env::var_os("WHEELS_REAL_MODEL"), env::var_os("WHEELS_REAL_GOLDEN")) {
        (Some(folder), Some(golden)) => check(&PathBuf::from(folder), &PathBuf::from(golden)),
        _ => skipped("WHEELS_REAL_MODEL and WHEELS_REAL_GOLDEN do not name a folder and a golden file"),
    }
}
