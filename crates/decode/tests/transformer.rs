//! What a decoder promises of models that cache what they read: T5 of random weights.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use support::*;
use wheels_decode::{Action, Asking, BudgetedDecoder, Decoder, HelpDesk, Policy, Sampler, Side, Teacher};
use wheels_lm::{T5, T5Config};
use wheels_text::{HelpBudget, Seed};

const FULL: HelpBudget = HelpBudget::Percent(100);
const LIMIT: usize = 14;

/// Two models of random weights: a student with a help token, and a larger teacher without.
fn models() -> (T5, T5) {
    let device = Device::flex();
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
    // One source of chance serves a device: tests that run side by side must not draw in between.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(1);
    (config(16, 1, WORDS + 1).init(&device), config(24, 2, WORDS).init(&device))
}

#[test]
fn decoding_with_a_cache_equals_decoding_without() {
    let (student, teacher) = models();
    let prompts = prompts(10, FULL);
    let alone = |model, side, desk| {
        let decoder = BudgetedDecoder::new(Policy::greedy(model).reading(side), desk);
        texts(decoder.max_tokens(LIMIT).decode(&prompts, Seed(0)))
    };
    let student_texts = alone(&student, Side::Student, HelpDesk::new().closed(HELP));
    let teacher_texts = alone(&teacher, Side::Expert, HelpDesk::new());
    for (row, prompt) in prompts.iter().enumerate() {
        assert_eq!(all_tokens(&student_texts[row]), greedy_by_hand(&student, &prompt.student, WORDS, LIMIT));
        assert_eq!(all_tokens(&teacher_texts[row]), greedy_by_hand(&teacher, &prompt.expert, WORDS, LIMIT));
    }
}

#[test]
fn always_asking_gives_exactly_the_teachers_text() {
    let (student, teacher) = models();
    let prompts = prompts(10, FULL);
    let desk = HelpDesk::new().with(HELP, Teacher::new(&teacher));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).asking(Asking::Always), desk).max_tokens(LIMIT);
    for (prompt, text) in prompts.iter().zip(texts(decoder.decode(&prompts, Seed(0)))) {
        assert_eq!(all_tokens(&text), greedy_by_hand(&teacher, &prompt.expert, WORDS, LIMIT));
    }
}

#[test]
fn every_helped_token_is_what_the_teacher_would_write_there() {
    let (student, teacher) = models();
    let prompts = prompts(12, HelpBudget::percent(50));
    let desk = HelpDesk::new().with(HELP, Teacher::new(&teacher)).with(HELP + 1, Tool(vec![2, 3, 4]));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).asking(Asking::Random(0.4)), desk).max_tokens(LIMIT);
    let mut helped = 0;
    for (prompt, text) in prompts.iter().zip(texts(decoder.decode(&prompts, Seed(3)))) {
        let tokens = all_tokens(&text);
        for (position, step) in text.steps.iter().enumerate() {
            let (model, prompt) = match step.action {
                Action::Word => (&student, &prompt.student),
                _ => (&teacher, &prompt.expert),
            };
            helped += usize::from(step.action != Action::Word);
            assert_eq!(step.token, likeliest(&logits_after(model, prompt, &tokens[..position]), WORDS));
        }
    }
    assert!(helped > 10);
}

#[test]
fn rows_that_read_advice_of_different_lengths_stay_right() {
    let (student, _) = models();
    let prompts = prompts(8, FULL);
    let desk = HelpDesk::new().with(HELP, Tool(vec![2, 3, 4]));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).asking(Asking::Random(0.2)), desk).max_tokens(LIMIT);
    for (prompt, text) in prompts.iter().zip(texts(decoder.decode(&prompts, Seed(3)))) {
        let tokens = all_tokens(&text);
        for (position, step) in text.steps.iter().enumerate().filter(|(_, step)| step.action == Action::Word) {
            assert_eq!(step.token, likeliest(&logits_after(&student, &prompt.student, &tokens[..position]), WORDS));
        }
    }
}

#[test]
fn a_row_of_a_batch_equals_that_row_alone() {
    let (student, teacher) = models();
    let decode = |prompts: &[wheels_text::Prompt], batch_size| {
        let desk = HelpDesk::new().with(HELP, Teacher::new(&teacher).answering(Sampler::plain()));
        let policy = Policy::new(&student, Sampler::plain()).asking(Asking::Random(0.4));
        let decoder = BudgetedDecoder::new(policy, desk).max_tokens(LIMIT).batch_size(batch_size);
        texts(decoder.decode(prompts, Seed(9)))
    };
    let prompts = prompts(9, HelpBudget::percent(60));
    let tokens = |texts: &[wheels_decode::Trajectory]| {
        texts.iter().map(|text| (all_tokens(text), sources(text))).collect::<Vec<_>>()
    };
    let alone = tokens(&decode(&prompts, 1));
    assert_eq!(tokens(&decode(&prompts, 4)), alone);
    assert_eq!(tokens(&decode(&prompts, 9)), alone);
}

#[test]
fn padding_changes_nothing() {
    let (student, teacher) = models();
    let short = prompt(&[3, EOS], FULL);
    let long = prompt(&[[2, 5, 4].repeat(9), vec![EOS]].concat(), FULL);
    let decode = |prompts: &[wheels_text::Prompt]| {
        let desk = HelpDesk::new().with(HELP, Teacher::new(&teacher));
        let policy = Policy::greedy(&student).asking(Asking::Random(0.5));
        texts(BudgetedDecoder::new(policy, desk).max_tokens(LIMIT).decode(prompts, Seed(2))).remove(0)
    };
    assert_eq!(decode(&[short.clone(), long]), decode(&[short]));
}
