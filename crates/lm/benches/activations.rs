//! Compares the formula for activations ([`Footprint::activations`]) with what a forward pass keeps.
//!
//!     cargo bench --bench activations
//!
//! It reads the resident memory of the process before and after the pass (Linux only). Each size is measured in a process
//! of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/memory.rs"]
mod memory;
#[path = "support/model.rs"]
mod model;

use std::env;
use std::process::Command;

use burn::tensor::Device;
use memory::resident;
use model::model;
use wheels_lm::{LanguageModel, Positions, TokenBatch};

/// The models: a name, whether it is a Llama, the width, the layers, and the dropout rate.
const MODELS: [(&str, bool, usize, usize, f64); 4] = [
    ("T5, width 192", false, 192, 3, 0.0),
    ("T5, width 512, dropout", false, 512, 6, 0.1),
    ("Llama, width 192", true, 192, 4, 0.0),
    ("Llama, width 576", true, 576, 8, 0.0),
];

/// Rows, source tokens and target tokens.
const BATCHES: [[usize; 3]; 2] = [[32, 32, 32], [8, 128, 256]];

fn main() {
    let arguments: Vec<usize> = env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if let &[model, batch] = arguments.as_slice() {
        return measure(model, batch);
    }
    for model in 0..MODELS.len() {
        for batch in 0..BATCHES.len() {
            let arguments = [model, batch].map(|index| index.to_string());
            assert!(Command::new(env::current_exe().unwrap()).args(arguments).status().unwrap().success());
        }
    }
}

fn measure(model_index: usize, batch: usize) {
    let (name, llama, width, layers, dropout) = MODELS[model_index];
    let [rows, source, target] = BATCHES[batch];
    let device = Device::flex().autodiff();
    let model = model(llama, width, layers, dropout, &device);
    let model = if dropout > 0.0 { model.with_dropout(7) } else { model };
    let texts = |length: usize| TokenBatch::new(&vec![vec![5; length]; rows], 0);
    let all: Vec<usize> = (0..rows).collect();
    let pass = |source: usize, target: usize| {
        let mut context = model.prefill(&texts(source), 0);
        model.hidden(&texts(target), &all, Positions::All, &mut context).states()
    };
    drop(pass(2, 2));
    let before = resident("VmRSS:");
    let hidden = pass(source, target);
    let kept = resident("VmRSS:") - before;
    let formula = 4.0 * model.footprint().activations(rows, source, target, dropout > 0.0) as f64;
    println!(
        "{name}, {rows} x ({source} + {target}): {:.1} MB, by the formula {:.1} MB ({:.2})",
        kept / 1e6,
        formula / 1e6,
        formula / kept
    );
    drop(hidden);
}
