//! Tests of errors: models, prompts and settings that do not fit together, and damaged models.
#![allow(clippy::unwrap_used)]

mod support;

use burn::tensor::Device;
use support::*;
use wheels_decode::{
    BudgetedDecoder, DecodeError, Decoder, Experts, HelpRule, NewText, Policy, Sampler, Step, Teacher,
};
use wheels_lm::{TabularLm, TabularLmConfig};
use wheels_text::Seed;

#[test]
fn models_prompts_and_settings_that_do_not_fit_are_rejected() {
    let (student, teacher, small) = (table(1, 1), table(0, 2), constant(&[0.0; 4]));
    let policy = Policy::greedy(&student);
    let error = |policy: Policy<'_>, experts: Experts<'_>, ids: &[u32]| {
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(3);
        decoder.decode(&[prompt(&[2, EOS], FULL), prompt(ids, FULL)], Seed(0)).unwrap_err()
    };
    let taught = || Experts::new().with(HELP, Teacher::new(&teacher));

    assert!(matches!(error(policy, taught(), &[]), DecodeError::EmptyPrompt { row: 1 }));
    let unknown = error(policy, taught(), &[2, 7]);
    assert!(matches!(unknown, DecodeError::PromptToken { row: 1, token: 7, vocab_size: 7 }));
    // The help token is in the student's vocabulary, but not in the teacher's.
    let unknown = error(policy, taught(), &[2, HELP]);
    assert!(matches!(unknown, DecodeError::PromptToken { row: 1, token: HELP, vocab_size: 6 }));
    let mismatch = error(policy, Experts::new().with(HELP, Teacher::new(&small)), &[2]);
    assert!(matches!(mismatch, DecodeError::Vocabulary { token: 5, vocab_size: 4 }));
    let other_end = TabularLmConfig::new(TOKENS, 0).with_eos_token_id(3);
    let other_end = other_end.with_logits(vec![0.0; TOKENS], &Device::flex());
    let mismatch = error(policy, Experts::new().with(HELP, Teacher::new(&other_end)), &[2]);
    assert!(matches!(mismatch, DecodeError::EndOfText { token: 3 }));
    let missing = error(Policy::greedy(&teacher), taught(), &[2]);
    assert!(matches!(missing, DecodeError::HelpToken { token: HELP, vocab_size: TOKENS }));
    let always = policy.with_help_rule(HelpRule::Always);
    let unwritable = error(always, Experts::new().with(HELP, fixed_answer(vec![HELP])), &[2]);
    assert!(matches!(unwritable, DecodeError::Response { expert: 0, row: 0, token: HELP }));
    assert!(matches!(error(always, Experts::new().with(HELP, Unavailable), &[2]), DecodeError::Expert(_)));
    let invalid = policy.with_help_rule(HelpRule::Random(2.0));
    assert!(matches!(error(invalid, taught(), &[2]), DecodeError::HelpRule { .. }));
    let cold = Sampler::Sample { temperature: 0.0, top_k: None, top_p: None };
    assert!(matches!(error(Policy::new(&student, cold), taught(), &[2]), DecodeError::Sampler { .. }));
    let text = prompt(&[2], FULL);
    let text = NewText::new(&text, Seed(0)).with_sampler(cold);
    let error = BudgetedDecoder::new(policy, taught()).decode_texts(&[text], &mut |_: usize, _: &Step| {});
    assert!(matches!(error.unwrap_err(), DecodeError::Sampler { .. }));
}

#[test]
fn nan_logits_are_an_error_that_names_prompt_and_step() {
    // The logits after token 4 are NaN, and every other token is followed by token 4.
    let mut logits = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0].repeat(TOKENS);
    logits[4 * TOKENS..5 * TOKENS].fill(f32::NAN);
    let damaged = TabularLm::from_logits(TOKENS, 1, logits, &Device::flex());
    let prompts = [prompt(&[EOS], FULL), prompt(&[2, EOS], FULL)];
    let error = BudgetedDecoder::new(Policy::greedy(&damaged), Experts::new()).decode(&prompts, Seed(0)).unwrap_err();
    assert!(matches!(error, DecodeError::Logits { step: 1, .. }));
    let student = constant(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let experts = Experts::new().with(HELP, Teacher::new(&damaged));
    let helped = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
    let error = helped.with_batch_size(1).decode(&prompts, Seed(0)).unwrap_err();
    assert!(matches!(error, DecodeError::Logits { row: 1, step: 1, .. }), "the longest prompt is decoded first");
}
