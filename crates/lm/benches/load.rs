//! Measures the memory that loading a model needs.
//!
//!     cargo bench -p wheels-lm --bench load              # a random checkpoint of 1 GB
//!     cargo bench -p wheels-lm --bench load -- FOLDER    # any model folder
//!
//! It prints the largest resident memory of the process (VmHWM of Linux) and its ratio to the weights in memory.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/memory.rs"]
mod memory;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use burn::tensor::Device;
use memory::resident;
use wheels_lm::{FloatFormat, LlamaConfig, Pretrained};

/// The argument with which this program writes the checkpoint in a process of its own.
const WRITE: &str = "--write";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [first, folder] if first == WRITE => write(Path::new(folder)),
        [folder] => measure(&PathBuf::from(folder)),
        _ => {
            let scratch = tempfile::tempdir().unwrap();
            let written = Command::new(env::current_exe().unwrap()).arg(WRITE).arg(scratch.path()).status().unwrap();
            assert!(written.success());
            measure(scratch.path());
        }
    }
}

/// A Llama with 268 million random weights, in f32.
fn write(folder: &Path) {
    let config: LlamaConfig = serde_json::from_str(
        r#"{"model_type": "llama", "vocab_size": 32768, "hidden_size": 1024, "intermediate_size": 2816,
            "num_hidden_layers": 19, "num_attention_heads": 16, "num_key_value_heads": 4, "tie_word_embeddings": true,
            "eos_token_id": 2}"#,
    )
    .unwrap();
    Pretrained::Llama(config.init(&Device::flex()).unwrap()).save(folder, FloatFormat::F32).unwrap();
}

fn measure(folder: &Path) {
    let info = Pretrained::inspect(folder).unwrap();
    let before = resident("VmHWM:");
    let start = Instant::now();
    let model = Pretrained::load(folder, &Device::flex()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let (weights, peak) = (4.0 * info.parameters as f64, resident("VmHWM:") - before);
    drop(model);
    println!("weights in memory (f32)   {:>8.0} MB", weights / 1e6);
    println!("peak above the start      {:>8.0} MB, {:.3} x the weights", peak / 1e6, peak / weights);
    println!("loading                   {seconds:>8.1} s");
}
