//! Tokens per second on the CPU, for models with random weights and the sizes of the embedded models.
//!
//! No model ends its text, so that all texts have the same length with any weights. Run with
//! `cargo bench -p wheels-decode`.

use std::hint::black_box;

use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wheels_decode::{BudgetedDecoder, Decoder, Experts, HelpRule, Policy, PromptSide, Teacher};
use wheels_lm::T5Config;
use wheels_lm::testing::Endless;
use wheels_text::{HelpBudget, Prompt, Seed};

/// The size of the vocabulary. The next id is the student's help token.
const VOCAB: usize = 4000;
/// The length of a text, tokens.
const TOKENS: usize = 64;
/// The length of a prompt, tokens.
const PROMPT_TOKENS: u32 = 24;

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
    let (teacher, student) = (Endless::new(teacher.init(&device)), Endless::new(student.init(&device)));
    let helped = Policy::greedy(&student).with_help_rule(HelpRule::Random(0.2));
    let teacher_alone = Policy::greedy(&teacher).with_prompt_side(PromptSide::Expert);
    let decoders = [
        ("student", BudgetedDecoder::new(Policy::greedy(&student), Experts::new())),
        ("teacher", BudgetedDecoder::new(teacher_alone, Experts::new())),
        ("budgeted", BudgetedDecoder::new(helped, Experts::new().with(VOCAB as u32, Teacher::new(&teacher)))),
    ];

    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    for (name, decoder) in decoders {
        let decoder = decoder.with_max_new_tokens(TOKENS);
        for batch in [1, 32] {
            let prompts = prompts(batch);
            group.throughput(Throughput::Elements(u64::from(batch) * TOKENS as u64));
            group.bench_with_input(BenchmarkId::new(name, batch), &prompts, |bencher, prompts| {
                bencher.iter(|| decoder.decode(black_box(prompts), Seed(0)).expect("prompts fit the models"));
            });
        }
    }
    group.finish();

    // The time per token must not grow with the text.
    let mut group = criterion.benchmark_group("length");
    group.sample_size(10);
    for tokens in [32, 128, 512] {
        let decoder = BudgetedDecoder::new(teacher_alone, Experts::new()).with_max_new_tokens(tokens);
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_with_input(BenchmarkId::new("teacher", tokens), &prompts(1), |bencher, prompts| {
            bencher.iter(|| decoder.decode(black_box(prompts), Seed(0)).expect("prompts fit the models"));
        });
    }
    group.finish();
}

fn prompts(count: u32) -> Vec<Prompt> {
    let mut prompts = Vec::new();
    for row in 0..count {
        let ids: Vec<u32> = (0..PROMPT_TOKENS).map(|position| 2 + (131 * row + 17 * position) % 3000).collect();
        prompts.push(Prompt { student: ids.clone(), expert: ids, budget: HelpBudget::percent(20) });
    }
    prompts
}

criterion_group!(benches, decoding);
criterion_main!(benches);
