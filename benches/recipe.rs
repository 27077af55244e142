//! What a step of a distillation costs, compared with a supervised step of the same student on the same pairs.
//!
//!     cargo bench --bench recipe
//!     cargo bench --bench recipe -- TEACHER STUDENT DATA
//!
//! Without arguments the models are the embedded English-Italian pair and the data its sample. Each method makes a few
//! steps in turn, several times, and the bench prints the median time of a step and of a target token, divided by that of
//! the supervised ones. All settings are the defaults.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use mimalloc::MiMalloc;
use training_wheels::distill::{StepReport, SupervisedBatches, TokenizedDataset, Trainer};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use training_wheels::{DistillationConfig, Method};
use wheels_embedded::TRANSLATION;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The number of times that the methods run in turn.
const ROUNDS: usize = 3;

/// The number of measured steps of a run. Rollouts are written in every third step. Their cost depends on the lengths of their
/// texts, so it is averaged over many.
const STEPS: usize = 36;

/// The steps before, in which the first prices are found.
const WARM_UP: usize = 3;

/// The mean time of a step and of a target token, seconds.
#[derive(Clone, Copy)]
struct Cost {
    step: f64,
    token: f64,
}

impl Cost {
    fn of(reports: &[StepReport]) -> Self {
        let measured = &reports[WARM_UP..];
        let seconds: f64 = measured.iter().map(|report| report.seconds).sum();
        let tokens: usize = measured.iter().map(|report| report.tokens).sum();
        Self { step: seconds / measured.len() as f64, token: seconds / tokens as f64 }
    }
}

fn main() {
    let folders: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let device = Device::flex();
    let (student, teacher, data) = match folders.as_slice() {
        [teacher, student, data] => {
            let open = |folder: &str| TextModel::open(folder, &device).unwrap();
            (open(student).with_help_token("teacher").unwrap(), open(teacher), Dataset::open(data).unwrap())
        }
        [] => (
            TextModel::from_files("student", TRANSLATION.student, &device).unwrap(),
            TextModel::from_files("teacher", TRANSLATION.teacher, &device).unwrap(),
            Dataset::from_reader(TRANSLATION.sample.as_bytes(), "sample").unwrap(),
        ),
        _ => panic!("give TEACHER STUDENT DATA, or nothing"),
    };
    let methods = [Method::ForwardKl, Method::Gkd { beta: 0.5 }, Method::Constrained];
    let mut costs: Vec<Vec<[f64; 2]>> = vec![vec![]; methods.len()];
    for _ in 0..ROUNDS {
        let base = supervised(&student, &data);
        for (costs, method) in costs.iter_mut().zip(methods) {
            let cost = distilled(&student, &teacher, &data, method);
            costs.push([cost.step / base.step, cost.token / base.token]);
        }
    }
    println!("cost divided by that of supervised training: a step, a target token (spread of {ROUNDS} rounds)");
    for (costs, method) in costs.iter().zip(methods) {
        let [step, token] = [0, 1].map(|what| {
            let mut costs: Vec<f64> = costs.iter().map(|cost| cost[what]).collect();
            costs.sort_by(f64::total_cmp);
            format!("{:.2} ({:.2} to {:.2})", costs[ROUNDS / 2], costs[0], costs[ROUNDS - 1])
        });
        println!("{method}: {step}, {token}");
    }
}

/// Cross-entropy on references.
fn supervised(student: &TextModel, data: &Dataset) -> Cost {
    let config = DistillationConfig::new().with_steps(WARM_UP + STEPS);
    let pairs = TokenizedDataset::new(data, &student.tokenizer, &student.template, config.max_tokens).unwrap();
    let batches =
        SupervisedBatches::new(&pairs, config.rollout.batch_tokens, student.tokenizer.pad(), Seed(7)).unwrap();
    let trainer = config.trainer.with_workers(std::thread::available_parallelism().unwrap().get());
    let objective = CrossEntropy::new();
    let folder = tempfile::tempdir().unwrap();
    let model = Student::new(student.model.model.clone().train());
    let mut trainer = Trainer::new(trainer, &objective, model, batches, folder.path()).unwrap();
    let reports: Vec<StepReport> = (0..WARM_UP + STEPS).map(|_| trainer.train_step().unwrap()).collect();
    Cost::of(&reports)
}

/// A method with its default settings.
fn distilled(student: &TextModel, teacher: &TextModel, data: &Dataset, method: Method) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let mut reports = vec![];
    let (valid, _) = data.clone().split(2);
    Distillation::new(student.clone(), teacher)
        .config(DistillationConfig::new().with_steps(WARM_UP + STEPS).with_valid_texts(1))
        .method(method)
        .on_step(|report| {
            reports.push(report.clone());
            ControlFlow::Continue(())
        })
        .train(data, &valid, folder.path())
        .unwrap();
    Cost::of(&reports)
}
