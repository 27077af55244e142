//! Compares the memory and the time of gradients with and without gradient checkpointing.
//!
//!     cargo bench --bench checkpointing
//!
//! It prints the largest resident memory of the process beyond the weights (Linux only) and the time of a forward and a
//! backward pass, side by side. Each measurement is a process of its own, and both kinds run in turn. The formulas are those
//! of [`Footprint`](wheels_lm::Footprint).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/memory.rs"]
mod memory;
#[path = "support/model.rs"]
mod model;

use std::env;
use std::process::Command;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Gradients};
use memory::resident;
use model::model;
use wheels_lm::{Context, Hidden, LanguageModel, Positions, Pretrained, TokenBatch};

/// The models: a name, whether it is a Llama, the width, the layers, and the dropout rate.
const MODELS: [(&str, bool, usize, usize, f64); 3] = [
    ("T5, width 512, 8 + 8 blocks", false, 512, 8, 0.0),
    ("T5, width 512, 8 + 8 blocks, dropout", false, 512, 8, 0.1),
    ("Llama, width 512, 8 blocks", true, 512, 8, 0.0),
];

/// Rows, source tokens and target tokens.
const BATCHES: [[usize; 3]; 2] = [[8, 128, 128], [4, 256, 256]];

/// The number of processes of each kind.
const RUNS: usize = 3;

fn main() {
    let arguments: Vec<usize> = env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if let &[model, batch, checkpointing] = arguments.as_slice() {
        let [peak, seconds] = measure(model, batch, checkpointing == 1);
        println!("{peak} {seconds}");
        return;
    }
    for (index, &(name, llama, width, layers, dropout)) in MODELS.iter().enumerate() {
        let model = model(llama, width, layers, dropout, &Device::flex());
        let (footprint, gradients) = (model.footprint(), 4.0 * model.num_params() as f64 / 1e6);
        for (batch, &[rows, source, target]) in BATCHES.iter().enumerate() {
            let mut runs = [vec![], vec![]];
            for _ in 0..RUNS {
                for (checkpointing, runs) in runs.iter_mut().enumerate() {
                    runs.push(run([index, batch, checkpointing]));
                }
            }
            let [whole, checkpointed] = runs.map(|runs| [0, 1].map(|column| smallest(&runs, column)));
            println!("{name}, {rows} x ({source} + {target}):");
            println!(
                "    memory {:.0} -> {:.0} MB ({:.2}), time {:.2} -> {:.2} s ({:.2})",
                whole[0] / 1e6,
                checkpointed[0] / 1e6,
                checkpointed[0] / whole[0],
                whole[1],
                checkpointed[1],
                checkpointed[1] / whole[1],
            );
            let [inputs, block] = footprint.checkpointed(rows, source, target, dropout > 0.0);
            let activations = footprint.activations(rows, source, target, dropout > 0.0);
            let [activations, inputs, block] = [activations, inputs, block].map(|numbers| 4.0 * numbers as f64 / 1e6);
            println!(
                "    formulas: gradients {gradients:.0} MB, activations {activations:.0} -> inputs {inputs:.0} + block {block:.0} MB"
            );
        }
    }
}

/// Measures in a process of its own.
fn run(arguments: [usize; 3]) -> [f64; 2] {
    let arguments = arguments.map(|argument| argument.to_string());
    let output = Command::new(env::current_exe().unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

/// The smallest number of a column: other programs only add to it.
fn smallest(runs: &[[f64; 2]], column: usize) -> f64 {
    runs.iter().map(|run| run[column]).fold(f64::INFINITY, f64::min)
}

/// The largest memory beyond the weights, bytes, and the time of a second pass, seconds.
fn measure(index: usize, batch: usize, checkpointing: bool) -> [f64; 2] {
    let (_, llama, width, layers, dropout) = MODELS[index];
    let [rows, source, target] = BATCHES[batch];
    let mut model = model(llama, width, layers, dropout, &Device::flex().autodiff());
    if dropout > 0.0 {
        model = model.with_dropout(7);
    }
    if checkpointing {
        model = model.with_gradient_checkpointing();
    }
    // Weights are drawn when they are first read.
    drop(hidden(&model, [1, 2, 2], &mut model.prefill(&texts(1, 2), 0)));
    let before = resident("VmRSS:");
    drop(gradients(&model, [rows, source, target]));
    let peak = resident("VmHWM:") - before;
    let start = Instant::now();
    drop(gradients(&model, [rows, source, target]));
    [peak, start.elapsed().as_secs_f64()]
}

fn texts(rows: usize, length: usize) -> TokenBatch {
    TokenBatch::new(&vec![vec![5; length]; rows], 0)
}

fn hidden(model: &Pretrained, [rows, _, target]: [usize; 3], context: &mut Context) -> Hidden {
    let all: Vec<usize> = (0..rows).collect();
    model.hidden(&texts(rows, target), &all, Positions::All, context)
}

fn gradients(model: &Pretrained, batch: [usize; 3]) -> GradientsParams {
    let mut context = model.prefill(&texts(batch[0], batch[1]), 0);
    let hidden = hidden(model, batch, &mut context);
    let mut gradients = log_softmax(model.head(&hidden), 1).narrow(1, 5, 1).sum().backward();
    let mut sum = GradientsAccumulator::new();
    let of_hidden = hidden.states().grad_remove(&mut gradients);
    let mut add = |gradients: Gradients| sum.accumulate(model, GradientsParams::from_grads(gradients, model));
    add(gradients);
    if let (Some(tape), Some(gradient)) = (context.take_tape(), of_hidden) {
        tape.backward(gradient, &mut add);
    }
    sum.grads()
}
