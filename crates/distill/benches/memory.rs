//! Measures the memory of a training step with a large vocabulary.
//!
//!     cargo bench -p wheels-distill --bench memory                        # the default size of chunks
//!     cargo bench -p wheels-distill --bench memory -- whole 1024          # without chunks, 1,024 positions
//!     cargo bench -p wheels-distill --bench memory -- 32 2048 forward-kl  # chunks of 32 MiB of logits, one objective
//!
//! It prints the largest resident memory of the process (VmHWM of Linux) beyond the models, the gradients and the
//! optimizer, and the time of the second step. Each objective is measured in a process of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use burn::module::Module;
use burn::tensor::Device;
use wheels_distill::objective::{ConstrainedPath, ForwardKl, Objective};
use wheels_distill::{Mixture, RolloutConfig, RolloutSampler, Rollouts, TokenPair, Trainer, TrainerConfig};
use wheels_lm::{T5, T5Config};
use wheels_student::{Student, StudentConfig};

use support::Pairs;

/// The number of words of Qwen2, and its number of target positions in a step.
const VOCAB: u32 = 151_936;
const POSITIONS: usize = 2048;
const TARGET: usize = 128;
const SOURCE: usize = 16;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let chunk = arguments.first().cloned().unwrap_or_else(|| "64".into());
    let positions = arguments.get(1).cloned().unwrap_or_else(|| POSITIONS.to_string());
    match arguments.get(2).map(String::as_str) {
        Some("constrained-path") => measure("constrained-path", &ConstrainedPath::new(), &chunk, &positions),
        Some("forward-kl") => measure("forward-kl", &ForwardKl, &chunk, &positions),
        Some(other) => println!("no objective {other}: constrained-path or forward-kl"),
        None => {
            for objective in ["forward-kl", "constrained-path"] {
                let arguments = [&chunk, &positions, objective];
                assert!(Command::new(env::current_exe().unwrap()).args(arguments).status().unwrap().success());
            }
        }
    }
}

fn model(device: &Device) -> T5 {
    let config = T5Config {
        vocab_size: VOCAB as usize,
        d_model: 64,
        d_kv: 16,
        d_ff: 128,
        num_layers: 1,
        num_heads: 4,
        ..T5Config::default()
    };
    let model = config.init(device);
    let _ = model.valid();
    model
}

fn measure(name: &str, objective: &dyn Objective, chunk: &str, positions: &str) {
    let rows = positions.parse::<usize>().unwrap() / TARGET;
    let ids = |row: usize, length: usize| (0..length).map(|t| 2 + (row * 131 + t * 71) as u32 % (VOCAB - 3)).collect();
    // Texts of equal length.
    let texts = Pairs((0..rows).map(|row| TokenPair { source: ids(row, SOURCE), target: ids(row, TARGET) }).collect());
    let device = Device::flex().autodiff();
    device.seed(7);
    let teacher = model(&Device::flex());
    let student = Student::new(model(&device)).with_heads(&StudentConfig::new(), VOCAB - 1);
    let _ = student.valid();
    let parameters = student.num_params();

    // References only: the student writes no texts of its own, whose lengths would differ.
    let config = RolloutConfig::new(10)
        .with_batch_tokens(rows * (SOURCE + TARGET))
        .with_mixture(Mixture::new().with_on_policy_fraction(0.0));
    let sampler = RolloutSampler::new(config, &texts, &teacher, Some(VOCAB - 1), vec![0, VOCAB - 1]);
    let logits_bytes = if chunk == "whole" { usize::MAX } else { chunk.parse::<usize>().unwrap() << 20 };
    let training = TrainerConfig::new(10).with_logits_bytes(Some(logits_bytes));
    let folder = tempfile::tempdir().unwrap();
    let before = memory("VmRSS:");
    let rollouts = Rollouts::new(sampler).unwrap();
    let mut trainer = Trainer::new(training, objective, student, rollouts, folder.path()).unwrap();
    trainer.train_step().unwrap();
    let start = Instant::now();
    let report = trainer.train_step().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    // One number per parameter in the gradient, and two in the optimizer.
    let expected = before + 3.0 * 4.0 * parameters as f64;
    let peak = memory("VmHWM:") - expected;
    println!(
        "{name}, {} positions, logits {chunk} MiB: {:.0} MB beyond weights, gradients and optimizer ({:.0} MB), {seconds:.1} s",
        report.tokens,
        peak / 1e6,
        expected / 1e6,
    );
}

/// The resident memory of this process, bytes; NaN on systems other than Linux. "VmRSS:" is the memory now, and
/// "VmHWM:" the largest so far.
fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb * 1024.0)
}
