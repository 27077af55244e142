//! What a decoder promises of models that cache what they read: T5 of random weights.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;

use burn::tensor::Device;
use support::*;
use wheels_decode::{
    Action, Asking, BudgetedDecoder, Decoder, HelpDesk, Hindsight, Policy, Sampler, Side, Teacher, Trajectory,
};
use wheels_lm::{T5, T5Config};
use wheels_text::{HelpBudget, Prompt, Seed};

const FULL: HelpBudget = HelpBudget::Percent(100);
const LIMIT: usize = 14;

/// Pairs of models of random weights: a student with a help token, and a larger teacher without. They are drawn once for
/// all tests: the process has one source of chance, and tests that run side by side would draw in between.
static MODELS: LazyLock<Vec<(T5, T5)>> = LazyLock::new(|| (1..=8).map(models).collect());

fn models(seed: u64) -> (T5, T5) {
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
    (config(16, 1, WORDS + 1).init(&device), config(24, 2, WORDS).init(&device))
}

/// Runs a check on several pairs of models. It counts what it has looked at: some random weights end their texts at
/// once, and a check that looked at nothing would prove nothing.
fn for_models(check: impl Fn(&T5, &T5) -> usize) {
    let seen: usize = MODELS.iter().map(|(student, teacher)| check(student, teacher)).sum();
    assert!(seen >= 50, "only {seen} cases were looked at");
}

#[test]
fn decoding_with_a_cache_equals_decoding_without() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let alone = |model, side, desk| {
            let decoder = BudgetedDecoder::new(Policy::greedy(model).reading(side), desk);
            texts(decoder.max_tokens(LIMIT).decode(&prompts, Seed(0)))
        };
        let student_texts = alone(student, Side::Student, HelpDesk::new().closed(HELP));
        let teacher_texts = alone(teacher, Side::Expert, HelpDesk::new());
        for (row, prompt) in prompts.iter().enumerate() {
            assert_eq!(all_tokens(&student_texts[row]), greedy_by_hand(student, &prompt.student, WORDS, LIMIT));
            assert_eq!(all_tokens(&teacher_texts[row]), greedy_by_hand(teacher, &prompt.expert, WORDS, LIMIT));
        }
        student_texts.iter().chain(&teacher_texts).map(|text| text.steps.len()).sum()
    });
}

#[test]
fn always_asking_gives_exactly_the_teachers_text() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
        let decoder = BudgetedDecoder::new(Policy::greedy(student).asking(Asking::Always), desk).max_tokens(LIMIT);
        let texts = texts(decoder.decode(&prompts, Seed(0)));
        for (prompt, text) in prompts.iter().zip(&texts) {
            assert_eq!(all_tokens(text), greedy_by_hand(teacher, &prompt.expert, WORDS, LIMIT));
        }
        texts.iter().map(Trajectory::helped).sum()
    });
}

#[test]
fn no_tolerance_and_a_closing_call_give_the_teachers_text_whatever_is_taken_back() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let lossless = Hindsight::LOSSLESS;
        let rules = [Asking::Never, Asking::Every(1), Asking::Every(4), Asking::Random(0.3), Asking::Learned];
        let mut redrafted = 0;
        for rule in rules {
            let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
            let decoder = BudgetedDecoder::new(Policy::greedy(student).asking(rule), desk).hindsight(lossless);
            let decoded = decoder.max_tokens(LIMIT).decode(&prompts, Seed(4)).unwrap();
            for (prompt, text) in prompts.iter().zip(&decoded.trajectories) {
                assert_eq!(all_tokens(text), greedy_by_hand(teacher, &prompt.expert, WORDS, LIMIT), "{rule:?}");
            }
            redrafted += decoded.stats.redrafted as usize;
        }
        redrafted
    });
}

#[test]
fn no_sequence_comes_twice_whoever_writes() {
    for_models(|student, teacher| {
        let prompts = prompts(6, FULL);
        let mut others = 0;
        for size in 1..4 {
            // The teacher's text by hand: the likeliest word that ends no sequence which the text has already.
            let by_hand = |prompt: &Prompt| {
                let mut text: Vec<u32> = vec![];
                while text.len() < LIMIT && text.last() != Some(&EOS) {
                    let mut logits = logits_after(teacher, &prompt.expert, &text);
                    for word in 0..WORDS as u32 {
                        let longer = [&text[..], &[word]].concat();
                        if longer.len() >= size && text.windows(size).any(|ngram| longer.ends_with(ngram)) {
                            logits[word as usize] = f32::NEG_INFINITY;
                        }
                    }
                    text.push(likeliest(&logits, WORDS));
                }
                text
            };
            for rule in [Asking::Always, Asking::Every(4), Asking::Random(0.3)] {
                let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
                let decoder = BudgetedDecoder::new(Policy::greedy(student).asking(rule), desk).max_tokens(LIMIT);
                let lossless = decoder.hindsight(Hindsight::LOSSLESS).no_repeat_ngram_size(size);
                for (prompt, text) in prompts.iter().zip(texts(lossless.decode(&prompts, Seed(4)))) {
                    assert_eq!(all_tokens(&text), by_hand(prompt), "{size} {rule:?}");
                    others += usize::from(all_tokens(&text) != greedy_by_hand(teacher, &prompt.expert, WORDS, LIMIT));
                }
            }
            let alone = BudgetedDecoder::new(Policy::new(student, Sampler::plain()), HelpDesk::new().closed(HELP));
            for text in texts(alone.max_tokens(LIMIT).no_repeat_ngram_size(size).decode(&prompts, Seed(5))) {
                let tokens = all_tokens(&text);
                let ngrams: Vec<&[u32]> = tokens.windows(size).collect();
                assert!((1..ngrams.len()).all(|at| !ngrams[..at].contains(&ngrams[at])), "{size}: {tokens:?}");
            }
        }
        others
    });
}

#[test]
fn every_token_is_what_its_source_would_write_there() {
    for_models(|student, teacher| {
        let prompts = prompts(8, HelpBudget::percent(50));
        let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
        let decoder = BudgetedDecoder::new(Policy::greedy(student).asking(Asking::Random(0.4)), desk);
        let texts = texts(decoder.max_tokens(LIMIT).decode(&prompts, Seed(3)));
        for (prompt, text) in prompts.iter().zip(&texts) {
            let tokens = all_tokens(text);
            for (position, step) in text.steps.iter().enumerate() {
                let (model, prompt) = match step.action {
                    Action::Word => (student, &prompt.student),
                    _ => (teacher, &prompt.expert),
                };
                assert_eq!(step.token, likeliest(&logits_after(model, prompt, &tokens[..position]), WORDS));
            }
        }
        texts.iter().map(Trajectory::helped).sum()
    });
}

#[test]
fn rows_that_read_advice_of_different_lengths_stay_right() {
    for_models(|student, _| {
        let prompts = prompts(6, FULL);
        let desk = HelpDesk::new().with(HELP, Tool(vec![2, 3, 4]));
        let decoder = BudgetedDecoder::new(Policy::greedy(student).asking(Asking::Random(0.2)), desk);
        let mut words = 0;
        for (prompt, text) in prompts.iter().zip(texts(decoder.max_tokens(LIMIT).decode(&prompts, Seed(3)))) {
            let tokens = all_tokens(&text);
            for (position, step) in text.steps.iter().enumerate() {
                if step.action == Action::Word {
                    let logits = logits_after(student, &prompt.student, &tokens[..position]);
                    assert_eq!(step.token, likeliest(&logits, WORDS));
                    words += usize::from(tokens[..position].contains(&3));
                }
            }
        }
        words
    });
}

#[test]
fn a_row_of_a_batch_equals_that_row_alone() {
    for_models(|student, teacher| {
        let prompts = prompts(7, HelpBudget::percent(60));
        let decode = |batch_size| {
            let desk = HelpDesk::new().with(HELP, Teacher::new(teacher).answering(Sampler::plain()));
            let policy = Policy::new(student, Sampler::plain()).asking(Asking::Random(0.4));
            let decoder = BudgetedDecoder::new(policy, desk).max_tokens(LIMIT).batch_size(batch_size);
            let texts = texts(decoder.decode(&prompts, Seed(9)));
            // Sums over a batch may differ in the last bits, and log-probabilities with them; choices may not.
            texts.iter().map(|text| (all_tokens(text), sources(text))).collect::<Vec<_>>()
        };
        let alone = decode(1);
        assert_eq!(decode(3), alone);
        assert_eq!(decode(7), alone);
        alone.iter().map(|(tokens, _)| tokens.len()).sum()
    });
}

#[test]
fn a_row_that_looks_back_equals_that_row_alone() {
    for_models(|student, teacher| {
        let prompts = prompts(7, HelpBudget::percent(60));
        let decode = |batch_size| {
            let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
            let policy = Policy::new(student, Sampler::plain()).asking(Asking::Random(0.4));
            let decoder = BudgetedDecoder::new(policy, desk).max_tokens(LIMIT).batch_size(batch_size);
            let decoder =
                decoder.hindsight(Hindsight { tolerance_nats: 0.3, closing_call: true, ..Hindsight::default() });
            let decoded = decoder.decode(&prompts, Seed(9)).unwrap();
            let texts: Vec<_> = decoded.trajectories.iter().map(|text| (all_tokens(text), sources(text))).collect();
            (texts, decoded.stats.redrafted)
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
        let decode = |prompts: &[Prompt]| {
            let desk = HelpDesk::new().with(HELP, Teacher::new(teacher));
            let policy = Policy::greedy(student).asking(Asking::Random(0.5));
            let decoder = BudgetedDecoder::new(policy, desk).max_tokens(LIMIT);
            texts(decoder.decode(prompts, Seed(2))).remove(0)
        };
        let text = decode(std::slice::from_ref(&short));
        assert_eq!(decode(&[short, long]), text);
        text.steps.len()
    });
}
