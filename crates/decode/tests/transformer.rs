//! Tests of decoders with models that have KV caches: T5 with random weights.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;

use burn::tensor::Device;
use support::*;
use wheels_decode::{
    Action, BudgetedDecoder, Decoder, Experts, HelpRule, Policy, PromptSide, Sampler, Teacher, Trajectory, Verification,
};
use wheels_lm::{T5, T5Config};
use wheels_text::{HelpBudget, Prompt, Seed};

const LIMIT: usize = 14;

/// Pairs of a student with a help token and a larger teacher without one. All tests share them: the process has one
/// random generator for weights, and tests that run in parallel would draw from it in any order.
static MODELS: LazyLock<Vec<(T5, T5)>> = LazyLock::new(|| (1..=8).map(pair).collect());

fn pair(seed: u64) -> (T5, T5) {
    let device = Device::flex();
    device.seed(seed);
    let config = |d_model, layers, vocab_size| T5Config {
        vocab_size,
        d_model,
        d_kv: 8,
        d_ff: 2 * d_model,
        num_layers: layers,
        num_heads: 2,
        relative_attention_num_buckets: 8,
        relative_attention_max_distance: 16,
        tie_word_embeddings: false,
        ..T5Config::default()
    };
    (config(16, 1, TOKENS + 1).init(&device), config(24, 2, TOKENS).init(&device))
}

/// Runs a check on all pairs of models. The check returns its number of cases, because some random weights end their
/// texts at once, and a check without cases proves nothing.
fn for_models(check: impl Fn(&T5, &T5) -> usize) {
    let examined: usize = MODELS.iter().map(|(student, teacher)| check(student, teacher)).sum();
    assert!(examined >= 50, "only {examined} cases were examined");
}

fn helped_decoder<'a>(student: &'a T5, teacher: &'a T5, rule: HelpRule) -> BudgetedDecoder<'a> {
    let experts = Experts::new().with(HELP, Teacher::new(teacher));
    BudgetedDecoder::new(Policy::greedy(student).with_help_rule(rule), experts).with_max_new_tokens(LIMIT)
}

#[test]
fn decoding_with_a_cache_equals_decoding_without_one() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let decode = |policy, experts| {
            texts(BudgetedDecoder::new(policy, experts).with_max_new_tokens(LIMIT).decode(&prompts, Seed(0)))
        };
        let student_texts = decode(Policy::greedy(student), Experts::new().with_closed_token(HELP));
        let teacher_policy = Policy::greedy(teacher).with_prompt_side(PromptSide::Expert);
        let teacher_texts = decode(teacher_policy, Experts::new());
        for (row, prompt) in prompts.iter().enumerate() {
            assert_eq!(all_tokens(&student_texts[row]), greedy_reference(student, &prompt.student, TOKENS, LIMIT));
            assert_eq!(all_tokens(&teacher_texts[row]), greedy_reference(teacher, &prompt.expert, TOKENS, LIMIT));
        }
        student_texts.iter().chain(&teacher_texts).map(|text| text.steps.len()).sum()
    });
}

#[test]
fn help_at_every_step_gives_exactly_the_teachers_text() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let texts = texts(helped_decoder(student, teacher, HelpRule::Always).decode(&prompts, Seed(0)));
        for (prompt, text) in prompts.iter().zip(&texts) {
            assert_eq!(all_tokens(text), greedy_reference(teacher, &prompt.expert, TOKENS, LIMIT));
        }
        texts.iter().map(Trajectory::helped).sum()
    });
}

#[test]
fn lossless_verification_gives_the_teachers_text_whatever_is_rolled_back() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let mut rolled_back = 0;
        for rule in [HelpRule::Never, HelpRule::Every(1), HelpRule::Every(4), HelpRule::Random(0.3), HelpRule::Learned]
        {
            let decoder = helped_decoder(student, teacher, rule).with_verification(Verification::LOSSLESS);
            let decoded = decoder.decode(&prompts, Seed(4)).unwrap();
            for (prompt, text) in prompts.iter().zip(&decoded.trajectories) {
                assert_eq!(all_tokens(text), greedy_reference(teacher, &prompt.expert, TOKENS, LIMIT), "{rule:?}");
            }
            rolled_back += decoded.stats.rolled_back as usize;
        }
        rolled_back
    });
}

/// The teacher's greedy text without repeated n-grams. Each token is computed from the start and without a cache.
fn greedy_without_repeats(teacher: &T5, prompt: &Prompt, size: usize) -> Vec<u32> {
    let mut text: Vec<u32> = vec![];
    while text.len() < LIMIT && text.last() != Some(&EOS) {
        let mut logits = logits_after(teacher, &prompt.expert, &text);
        for token in 0..TOKENS as u32 {
            let longer = [&text[..], &[token]].concat();
            if longer.len() >= size && text.windows(size).any(|ngram| longer.ends_with(ngram)) {
                logits[token as usize] = f32::NEG_INFINITY;
            }
        }
        text.push(most_likely(&logits, TOKENS));
    }
    text
}

#[test]
fn no_ngram_is_repeated_and_verification_stays_lossless() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let mut changed = 0;
        for size in 1..4 {
            for rule in [HelpRule::Always, HelpRule::Every(4), HelpRule::Random(0.3)] {
                let decoder = helped_decoder(student, teacher, rule).with_no_repeat_ngram_size(size);
                let lossless = decoder.with_verification(Verification::LOSSLESS);
                for (prompt, text) in prompts.iter().zip(texts(lossless.decode(&prompts, Seed(4)))) {
                    let tokens = all_tokens(&text);
                    assert_eq!(tokens, greedy_without_repeats(teacher, prompt, size), "{size} {rule:?}");
                    changed += usize::from(tokens != greedy_reference(teacher, &prompt.expert, TOKENS, LIMIT));
                }
            }
            let policy = Policy::new(student, Sampler::plain());
            let alone = BudgetedDecoder::new(policy, Experts::new().with_closed_token(HELP));
            let alone = alone.with_max_new_tokens(LIMIT).with_no_repeat_ngram_size(size);
            for text in texts(alone.decode(&prompts, Seed(5))) {
                let tokens = all_tokens(&text);
                let ngrams: Vec<&[u32]> = tokens.windows(size).collect();
                assert!((1..ngrams.len()).all(|at| !ngrams[..at].contains(&ngrams[at])), "{size}: {tokens:?}");
            }
        }
        changed
    });
}

#[test]
fn every_token_is_what_its_source_would_write_there() {
    for_models(|student, teacher| {
        let prompts = prompts(8, HelpBudget::percent(50));
        let texts = texts(helped_decoder(student, teacher, HelpRule::Random(0.4)).decode(&prompts, Seed(3)));
        for (prompt, text) in prompts.iter().zip(&texts) {
            let tokens = all_tokens(text);
            for (position, step) in text.steps.iter().enumerate() {
                let (model, prompt) = match step.action {
                    Action::Token => (student, &prompt.student),
                    _ => (teacher, &prompt.expert),
                };
                assert_eq!(step.token, most_likely(&logits_after(model, prompt, &tokens[..position]), TOKENS));
            }
        }
        texts.iter().map(Trajectory::helped).sum()
    });
}

#[test]
fn rows_that_read_answers_of_different_lengths_stay_correct() {
    for_models(|student, _| {
        let prompts = prompts(6, FULL);
        let experts = Experts::new().with(HELP, fixed_answer(vec![2, 3, 4]));
        let decoder = BudgetedDecoder::new(Policy::greedy(student).with_help_rule(HelpRule::Random(0.2)), experts);
        let texts = texts(decoder.with_max_new_tokens(LIMIT).decode(&prompts, Seed(3)));
        let mut after_answers = 0;
        for (prompt, text) in prompts.iter().zip(texts) {
            let tokens = all_tokens(&text);
            for (position, step) in text.steps.iter().enumerate() {
                if step.action == Action::Token {
                    let logits = logits_after(student, &prompt.student, &tokens[..position]);
                    assert_eq!(step.token, most_likely(&logits, TOKENS));
                    after_answers += usize::from(tokens[..position].contains(&3));
                }
            }
        }
        after_answers
    });
}

#[test]
fn a_row_of_a_batch_equals_that_row_alone() {
    for_models(|student, teacher| {
        let prompts = prompts(7, HelpBudget::percent(60));
        let decode = |batch_size| {
            let experts = Experts::new().with(HELP, Teacher::new(teacher).with_sampler(Sampler::plain()));
            let policy = Policy::new(student, Sampler::plain()).with_help_rule(HelpRule::Random(0.4));
            let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(LIMIT);
            let texts = texts(decoder.with_batch_size(batch_size).decode(&prompts, Seed(9)));
            // Rounding may change the last bits of log-probs with the batch size. It must not change tokens.
            texts.iter().map(|text| (all_tokens(text), sources(text))).collect::<Vec<_>>()
        };
        let alone = decode(1);
        assert_eq!(decode(3), alone);
        assert_eq!(decode(7), alone);
        alone.iter().map(|(tokens, _)| tokens.len()).sum()
    });
}

#[test]
fn a_verified_row_of_a_batch_equals_that_row_alone() {
    for_models(|student, teacher| {
        let prompts = prompts(7, HelpBudget::percent(60));
        let verification = Verification { tolerance_nats: 0.3, verify_end: true, ..Verification::default() };
        let decode = |batch_size| {
            let experts = Experts::new().with(HELP, Teacher::new(teacher));
            let policy = Policy::new(student, Sampler::plain()).with_help_rule(HelpRule::Random(0.4));
            let decoder = BudgetedDecoder::new(policy, experts)
                .with_max_new_tokens(LIMIT)
                .with_batch_size(batch_size)
                .with_verification(verification);
            let decoded = decoder.decode(&prompts, Seed(9)).unwrap();
            let texts: Vec<_> = decoded.trajectories.iter().map(|text| (all_tokens(text), sources(text))).collect();
            (texts, decoded.stats.rolled_back)
        };
        let alone = decode(1);
        assert_eq!(decode(3), alone);
        assert_eq!(decode(7), alone);
        alone.1 as usize
    });
}

#[test]
fn padding_changes_nothing() {
    for_models(|student, teacher| {
        let short = prompt(&[3, EOS], FULL);
        let long = prompt(&[[2, 5, 4].repeat(9), vec![EOS]].concat(), FULL);
        let decoder = helped_decoder(student, teacher, HelpRule::Random(0.5));
        let first = |prompts: &[Prompt]| texts(decoder.decode(prompts, Seed(2))).remove(0);
        let text = first(std::slice::from_ref(&short));
        assert_eq!(first(&[short, long]), text);
        text.steps.len()
    });
}

#[test]
fn waiting_for_others_and_refills_change_no_text() {
    for_models(|student, teacher| {
        let prompts = prompts(13, HelpBudget::percent(50));
        for (rule, verification) in [
            (HelpRule::Random(0.4), Verification::default()),
            (HelpRule::Every(3), Verification::LOSSLESS),
            (HelpRule::Random(0.4), Verification { tolerance_nats: 0.5, ..Verification::LOSSLESS }),
        ] {
            let decoder = || helped_decoder(student, teacher, rule).with_verification(verification);
            let written = |decoder: BudgetedDecoder<'_>| -> Vec<_> {
                let texts = texts(decoder.decode(&prompts, Seed(6)));
                texts.iter().map(|text| (all_tokens(text), sources(text))).collect()
            };
            let alone = written(decoder().with_batch_size(1));
            for (help_batch, refill) in [(1, 1), (3, 1), (3, 3), (100, 2)] {
                let decoder = decoder().with_batch_size(5).with_help_batch(help_batch).with_refill(refill);
                assert_eq!(written(decoder), alone, "{rule:?}, {help_batch}, {refill}");
            }
        }
        13
    });
}
