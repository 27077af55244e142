//! Tokens a second on the CPU, at the sizes of the embedded models with random weights.
//!
//! Texts have a fixed length, whatever the weights: the end-of-text mark is a token that the models cannot write.
//! Run with `cargo bench -p wheels-decode`.

use std::hint::black_box;

use burn::tensor::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wheels_decode::{Asking, BudgetedDecoder, Decoder, HelpDesk, Policy, Teacher};
use wheels_lm::{Context, LanguageModel, ModelSpec, T5, T5Config, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed};

const VOCAB: usize = 4000;
const TOKENS: usize = 64;
const SOURCE: u32 = 24;

/// A model that never ends a text.
struct Endless {
    model: T5,
    spec: ModelSpec,
}

impl Endless {
    fn new(config: T5Config, device: &Device) -> Self {
        let model = config.init(device);
        let spec = ModelSpec { eos: u32::MAX, ..model.spec().clone() };
        Self { model, spec }
    }
}

impl LanguageModel for Endless {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        self.model.prefill(prompts, capacity)
    }

    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3> {
        self.model.hidden_rows(tokens, rows, context)
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.model.head(hidden)
    }
}

fn decoding(criterion: &mut Criterion) {
    let device = Device::flex();
    device.seed(7);
    let teacher = T5Config {
        vocab_size: VOCAB,
        d_model: 192,
        d_kv: 32,
        d_ff: 768,
        num_layers: 3,
        num_decoder_layers: Some(2),
        num_heads: 6,
        ..T5Config::default()
    };
    let student = T5Config {
        d_model: 96,
        d_ff: 384,
        num_layers: 1,
        num_decoder_layers: Some(1),
        num_heads: 3,
        ..teacher.clone()
    };
    let (teacher, student) = (Endless::new(teacher, &device), Endless::new(student, &device));
    let helped = || {
        let desk = HelpDesk::new().with(VOCAB as u32, Teacher::new(&teacher));
        BudgetedDecoder::new(Policy::greedy(&student).asking(Asking::Random(0.2)), desk)
    };
    let decoders = [
        ("student", BudgetedDecoder::new(Policy::greedy(&student), HelpDesk::new())),
        ("teacher", BudgetedDecoder::new(Policy::greedy(&teacher), HelpDesk::new())),
        ("budgeted", helped()),
    ];

    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    for (name, decoder) in decoders {
        let decoder = decoder.max_tokens(TOKENS);
        for batch in [1, 32] {
            let prompts = prompts(batch);
            group.throughput(Throughput::Elements(u64::from(batch) * TOKENS as u64));
            group.bench_with_input(BenchmarkId::new(name, batch), &prompts, |bencher, prompts| {
                bencher.iter(|| decoder.decode(black_box(prompts), Seed(0)).expect("prompts fit the models"));
            });
        }
    }
    group.finish();

    // What a token costs must not grow with the text before it.
    let mut group = criterion.benchmark_group("length");
    group.sample_size(10);
    for tokens in [32, 128, 512] {
        let decoder = BudgetedDecoder::new(Policy::greedy(&teacher), HelpDesk::new()).max_tokens(tokens);
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_with_input(BenchmarkId::new("teacher", tokens), &prompts(1), |bencher, prompts| {
            bencher.iter(|| decoder.decode(black_box(prompts), Seed(0)).expect("prompts fit the models"));
        });
    }
    group.finish();
}

fn prompts(count: u32) -> Vec<Prompt> {
    let prompt = |row: u32| {
        let ids: Vec<u32> = (0..SOURCE).map(|place| 2 + (131 * row + 17 * place) % 3000).collect();
        Prompt { student: ids.clone(), expert: ids, budget: HelpBudget::percent(20) }
    };
    (0..count).map(prompt).collect()
}

criterion_group!(benches, decoding);
criterion_main!(benches);
