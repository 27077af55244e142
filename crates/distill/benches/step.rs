//! One training step on the CPU, at the size of the embedded teacher with random weights.
//!
//! Run with `cargo bench -p wheels-distill`.

use burn::tensor::Device;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wheels_distill::objective::CrossEntropy;
use wheels_distill::{SupervisedBatches, TokenPair, Trainer, TrainerConfig};
use wheels_lm::T5Config;
use wheels_student::Student;
use wheels_text::Seed;

const VOCAB: u32 = 4000;
const ROWS: u32 = 48;
const LENGTH: u32 = 32;

fn training(criterion: &mut Criterion) {
    let device = Device::flex().autodiff();
    device.seed(7);
    let config = T5Config {
        vocab_size: VOCAB as usize,
        d_model: 192,
        d_kv: 32,
        d_ff: 768,
        num_layers: 3,
        num_decoder_layers: Some(2),
        num_heads: 6,
        ..T5Config::default()
    };
    let ids = |row: u32| (0..LENGTH).map(|t| 3 + (row * 31 + t * 7) % (VOCAB - 3)).collect::<Vec<u32>>();
    let pairs: Vec<TokenPair> = (0..ROWS).map(|row| TokenPair { source: ids(row), target: ids(row + 1) }).collect();
    let objective = CrossEntropy::new();
    let mut group = criterion.benchmark_group("training step");
    group.throughput(Throughput::Elements(u64::from(ROWS * LENGTH))).sample_size(10);
    for workers in [1, 2] {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let tokens = (2 * ROWS * LENGTH) as usize / workers;
        let training = TrainerConfig::new(1_000_000).with_workers(workers);
        let batches = SupervisedBatches::new(&pairs, tokens, 0, Seed(7)).expect("the pairs fit");
        let student = Student::new(config.init(&device));
        let mut trainer =
            Trainer::new(training, &objective, student, batches, scratch.path()).expect("the folder is writable");
        group.bench_function(format!("{workers} workers"), |bench| {
            bench.iter(|| trainer.train_step().expect("finite numbers"));
        });
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
