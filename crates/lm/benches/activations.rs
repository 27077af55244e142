//! Compares the formula for activations ([`Footprint::activations`]) with what a forward pass keeps.
//!
//!     cargo bench --bench activations
//!
//! It reads the resident memory of the process before and after the pass (Linux only). Each size is measured in a process
//! of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/memory.rs"]
mod memory;

use std::env;
use std::process::Command;

use burn::tensor::Device;
use memory::resident;
use wheels_lm::{LanguageModel, LlamaConfig, Positions, Pretrained, T5Config, TokenBatch};

const VOCAB: usize = 1000;

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

fn model(llama: bool, width: usize, layers: usize, dropout: f64, device: &Device) -> Pretrained {
    if !llama {
        let config = T5Config {
            vocab_size: VOCAB,
            d_model: width,
            d_kv: 64,
            d_ff: 4 * width,
            num_layers: layers,
            num_heads: width / 64,
            dropout_rate: dropout,
            ..T5Config::default()
        };
        return Pretrained::T5(config.init(device));
    }
    let config = format!(
        r#"{{"model_type": "llama", "vocab_size": {VOCAB}, "hidden_size": {width}, "intermediate_size": {}, "num_hidden_layers": {layers},
            "num_attention_heads": {}, "num_key_value_heads": {}, "bos_token_id": 1, "eos_token_id": 2}}"#,
        8 * width / 3 / 64 * 64,
        width / 64,
        width / 192
    );
    let config: LlamaConfig = serde_json::from_str(&config).unwrap();
    Pretrained::Llama(config.init(device).unwrap())
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
