//! Tests of decoders with models that are tables of logits, so that the right answer is known.
#![allow(clippy::unwrap_used)]

mod support;

use burn::tensor::Device;
use support::*;
use wheels_decode::{
    Action, BudgetedDecoder, Decoder, Distribution, End, Experts, HelpRule, NewText, Observer, Policy, PromptSide,
    Sampler, Source, Step, Teacher,
};
use wheels_lm::TabularLm;
use wheels_text::{GenerationConfig, HelpBudget, Seed};

const LIMIT: usize = 12;
const SAMPLED: Sampler = Sampler::Sample { temperature: 1.3, top_k: Some(5), top_p: Some(0.95) };

#[test]
fn without_experts_the_text_is_the_students_greedy_text() {
    let model = table(0, 1);
    let prompts = prompts(9, FULL);
    let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new()).with_max_new_tokens(LIMIT);
    let decoded = decoder.decode(&prompts, Seed(0)).unwrap();
    for (prompt, trajectory) in prompts.iter().zip(&decoded.trajectories) {
        assert_eq!(all_tokens(trajectory), greedy_reference(&model, &prompt.student, TOKENS, LIMIT));
        assert!(trajectory.steps.iter().all(|step| step.action == Action::Token && step.cost == 0.0));
    }
    assert_eq!((decoded.stats.help_asked, decoded.stats.help_given), (0, 0));
    assert_eq!(decoded.stats.student_steps_per_token(), 1.0);
}

#[test]
fn each_prompt_is_decoded_with_its_own_sampler() {
    let model = table(0, 1);
    let prompts = prompts(9, FULL);
    fn decoder(policy: Policy<'_>) -> BudgetedDecoder<'_> {
        BudgetedDecoder::new(policy, Experts::new()).with_max_new_tokens(LIMIT)
    }
    let decode = |policy: Policy<'_>| texts(decoder(policy).decode(&prompts, Seed(0)));
    let (greedy, sampled) = (decode(Policy::greedy(&model)), decode(Policy::new(&model, SAMPLED)));
    assert_ne!(greedy, sampled);
    let of = |row: usize| if row.is_multiple_of(3) { SAMPLED } else { Sampler::Greedy };
    let mixed: Vec<NewText<'_>> = (0..prompts.len())
        .map(|row| NewText::new(&prompts[row], Seed(0).nth(row as u64)).with_sampler(of(row)))
        .collect();
    let mixed = decoder(Policy::greedy(&model)).decode_texts(&mixed, &mut |_: usize, _: &Step| {});
    for (row, text) in texts(mixed).iter().enumerate() {
        assert_eq!(text, if row.is_multiple_of(3) { &sampled[row] } else { &greedy[row] });
    }
}

#[test]
fn a_help_token_without_an_expert_is_never_written() {
    // The help token has the largest logit of all.
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0, 5.0]);
    let experts = Experts::new().with_closed_token(HELP);
    let decoder = BudgetedDecoder::new(Policy::greedy(&student), experts).with_max_new_tokens(3);
    let decoded = decoder.decode(&prompts(1, FULL), Seed(0)).unwrap();
    assert_eq!(all_tokens(&decoded.trajectories[0]), [2, 2, 2]);
    assert_eq!(decoded.stats.help_asked, 0);
}

#[test]
fn texts_are_truncated_at_the_limits_of_the_generation_config() {
    // This model never ends a text.
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0, -9.0]);
    let mut prompts = prompts(2, FULL);
    prompts[0].expert = vec![2, EOS];
    prompts[1].expert = vec![2; 9];
    let generation = GenerationConfig {
        max_new_tokens: LIMIT,
        max_new_tokens_ratio: Some(1.5),
        max_new_tokens_offset: 2,
        ..GenerationConfig::default()
    };
    let decoder = BudgetedDecoder::new(Policy::greedy(&student), Experts::new().with_closed_token(HELP));
    let texts = texts(decoder.with_generation(&generation).decode(&prompts, Seed(0)));
    // 1.5 tokens per token of the expert prompt and 2 more, but at most the limit.
    assert_eq!(texts.iter().map(|text| text.steps.len()).collect::<Vec<_>>(), [5, LIMIT]);
    assert!(texts.iter().all(|text| text.end == End::Length));
}

#[test]
fn a_trajectory_is_truncated_exactly_if_it_has_no_end_of_text_token() {
    let (student, teacher) = (table(1, 13), table(0, 14));
    let mut truncated = 0;
    for rule in [HelpRule::Never, HelpRule::Random(0.5), HelpRule::Always] {
        let experts = Experts::new().with(HELP, Teacher::new(&teacher));
        let policy = Policy::new(&student, SAMPLED).with_help_rule(rule);
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(5);
        for text in texts(decoder.decode(&prompts(20, FULL), Seed(1))) {
            let tokens = all_tokens(&text);
            assert_eq!(text.is_truncated(), tokens.last() != Some(&EOS), "{tokens:?}");
            if text.is_truncated() {
                assert_eq!(text.tokens(), tokens);
                assert_eq!(tokens.len(), 5);
                truncated += 1;
            } else {
                assert_eq!(text.tokens(), tokens[..tokens.len() - 1]);
            }
        }
    }
    assert!((10..50).contains(&truncated), "{truncated} of 60 texts: this test needs both kinds");
}

#[test]
fn help_at_every_step_gives_exactly_the_teachers_text() {
    for seed in 0..20 {
        let (student, teacher) = (table(1, seed), table(0, 100 + seed));
        let prompts = prompts(5, FULL);
        let experts = Experts::new().with(HELP, Teacher::new(&teacher));
        let helped = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
        let alone = BudgetedDecoder::new(Policy::greedy(&teacher).with_prompt_side(PromptSide::Expert), Experts::new());
        let helped = helped.with_max_new_tokens(LIMIT).decode(&prompts, Seed(0)).unwrap();
        let alone = alone.with_max_new_tokens(LIMIT).decode(&prompts, Seed(0)).unwrap();
        for (helped, alone) in helped.trajectories.iter().zip(&alone.trajectories) {
            assert_eq!((all_tokens(helped), helped.end), (all_tokens(alone), alone.end));
            assert_eq!(helped.helped(), helped.steps.len());
        }
        assert_eq!(helped.stats.help_rate(), 1.0);
        assert_eq!(helped.stats.teacher_tokens_processed_per_token(), 1.0);
        assert_eq!(helped.stats.teacher, alone.stats.teacher);
    }
}

#[test]
fn the_tokens_and_the_work_of_a_teacher_alone_count_as_help() {
    let teacher = table(0, 4);
    let mut prompts = prompts(16, FULL);
    for prompt in &mut prompts {
        // The teacher must not read the student's side.
        prompt.student = vec![5, 5, EOS];
    }
    let policy = Policy::greedy(&teacher).with_prompt_side(PromptSide::Expert);
    let decoder = BudgetedDecoder::new(policy, Experts::new()).with_max_new_tokens(LIMIT).with_batch_size(5);
    let decoded = decoder.decode(&prompts, Seed(2)).unwrap();
    for (prompt, text) in prompts.iter().zip(&decoded.trajectories) {
        assert_eq!(all_tokens(text), greedy_reference(&teacher, &prompt.expert, TOKENS, LIMIT));
        assert_eq!(text.helped(), text.steps.len());
        let own = |step: &Step| (step.source, step.action) == (Source::Expert(0), Action::Token);
        assert!(text.steps.iter().all(own), "{text:?}");
    }
    let stats = decoded.stats;
    assert_eq!(stats.student, Default::default());
    assert_eq!((stats.help_rate(), stats.asked_rate(), stats.teacher_calls_per_token()), (1.0, 1.0, 1.0));
    // 16 texts in batches of 5 are 4 batches.
    assert_eq!(stats.teacher.prefills, 4);
    assert_eq!(stats.teacher.prompt_tokens, prompts.iter().map(|prompt| prompt.expert.len() as u64).sum::<u64>());
    assert_eq!(stats.teacher.tokens_processed, stats.tokens);
}

#[test]
fn the_teacher_reads_each_token_at_most_once() {
    let (student, teacher) = (table(1, 3), table(0, 4));
    let prompts = prompts(16, FULL);
    let experts = Experts::new().with(HELP, Teacher::new(&teacher));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Random(0.3)), experts);
    let decoded = decoder.with_max_new_tokens(LIMIT).with_batch_size(5).decode(&prompts, Seed(2)).unwrap();
    let (mut calls, mut read) = (0, 0);
    for trajectory in &decoded.trajectories {
        let helped = |step: &Step| step.source != Source::Student;
        calls += trajectory.steps.iter().filter(|step| helped(step)).count();
        // The teacher reads the start token and the text before the last request, each token once.
        read += trajectory.steps.iter().rposition(helped).map_or(0, |last| last + 1);
    }
    let used = decoded.stats.teacher;
    assert!(calls > 10, "this test needs calls");
    assert_eq!((used.calls, used.tokens_processed), (calls as u64, read as u64));
    assert!(used.forwards < used.calls, "rows that ask together are answered together");
    assert!(used.tokens_processed <= decoded.stats.tokens);
    assert_eq!(decoded.stats.help_given, calls as u64);
}

#[test]
fn a_teacher_that_is_not_asked_does_no_work() {
    let (student, teacher) = (table(1, 3), table(0, 4));
    let experts = Experts::new().with(HELP, Teacher::new(&teacher));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Never), experts);
    let decoded = decoder.with_max_new_tokens(LIMIT).decode(&prompts(3, FULL), Seed(0)).unwrap();
    assert_eq!(decoded.stats.teacher, Default::default());
}

#[test]
fn the_teacher_reads_the_experts_prompt_and_the_student_its_own() {
    let (student, teacher) = (table(1, 5), table(0, 6));
    let mut prompts = prompts(4, HelpBudget::tokens(1));
    for prompt in &mut prompts {
        prompt.student = vec![2, 3, 4, EOS];
    }
    let experts = Experts::new().with(HELP, Teacher::new(&teacher));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
    for (prompt, trajectory) in prompts.iter().zip(texts(decoder.with_max_new_tokens(2).decode(&prompts, Seed(0)))) {
        let first = most_likely(&logits_after(&teacher, &prompt.expert, &[]), TOKENS);
        assert_eq!(trajectory.steps[0].token, first);
        if let Some(second) = trajectory.steps.get(1) {
            assert_eq!(second.token, most_likely(&logits_after(&student, &prompt.student, &[first]), TOKENS));
        }
    }
}

#[test]
fn a_row_of_a_batch_equals_that_row_alone() {
    let (student, teacher) = (table(1, 7), table(0, 8));
    let decoder = |batch_size| {
        let experts = Experts::new().with(HELP, Teacher::new(&teacher).with_sampler(SAMPLED));
        let policy = Policy::new(&student, SAMPLED).with_help_rule(HelpRule::Random(0.4));
        BudgetedDecoder::new(policy, experts).with_max_new_tokens(LIMIT).with_batch_size(batch_size)
    };
    let prompts = prompts(17, HelpBudget::percent(60));
    let alone = texts(decoder(1).decode(&prompts, Seed(9)));
    assert_eq!(texts(decoder(4).decode(&prompts, Seed(9))), alone);
    assert_eq!(texts(decoder(32).decode(&prompts, Seed(9))), alone);
    assert_eq!(texts(decoder(32).decode(&prompts[..3], Seed(9))), alone[..3]);
    assert_ne!(texts(decoder(32).decode(&prompts, Seed(10))), alone);
    let helped: usize = alone.iter().map(|text| text.helped()).sum();
    assert!(helped > 10 && alone.iter().any(|text| text.end == End::Eos));
}

#[test]
fn the_same_seed_gives_the_same_texts() {
    let (student, teacher) = (table(1, 7), table(0, 8));
    let decode = || {
        let experts = Experts::new().with(HELP, Teacher::new(&teacher));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student), experts).with_max_new_tokens(LIMIT);
        texts(decoder.decode(&prompts(6, FULL), Seed(1)))
    };
    assert_eq!(decode(), decode());
}

#[test]
fn an_answer_of_several_tokens_is_appended_whole_and_read_in_one_forward() {
    let student = table(1, 11);
    let experts = Experts::new().with(HELP, fixed_answer(vec![2, 3, 4]));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Random(0.3)), experts);
    let prompts = prompts(12, FULL);
    let decoded = decoder.with_max_new_tokens(LIMIT).decode(&prompts, Seed(3)).unwrap();
    let mut forced = 0;
    for (prompt, trajectory) in prompts.iter().zip(&decoded.trajectories) {
        let tokens = all_tokens(trajectory);
        for (position, step) in trajectory.steps.iter().enumerate() {
            match step.action {
                Action::Token => {
                    let logits = logits_after(&student, &prompt.student, &tokens[..position]);
                    assert_eq!(step.token, most_likely(&logits, TOKENS));
                }
                Action::Help(token) => {
                    assert_eq!((token, step.token, step.cost), (HELP, 2, 2.5));
                    for (next, expected) in trajectory.steps[position + 1..].iter().zip([3, 4]) {
                        assert_eq!((next.action, next.token), (Action::Forced, expected));
                    }
                }
                Action::Forced => {
                    forced += 1;
                    assert_eq!((step.source, step.cost, step.log_prob), (Source::Expert(0), 0.0, 0.0));
                }
            }
        }
    }
    assert!(forced > 5);
    assert_eq!(decoded.stats.student.calls, decoded.stats.tokens - forced);
}

#[test]
fn an_answer_is_cut_at_the_end_of_text_at_the_limit_and_at_the_budget() {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decode = |answer: &[u32], budget| {
        let experts = Experts::new().with(HELP, fixed_answer(answer.to_vec()));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
        texts(decoder.with_max_new_tokens(4).decode(&[prompt(&[2, EOS], budget)], Seed(0))).remove(0)
    };
    let ended = decode(&[3, EOS, 4], FULL);
    assert_eq!((all_tokens(&ended), ended.end), (vec![3, EOS], End::Eos));
    let truncated = decode(&[3, 4, 5], FULL);
    assert_eq!((all_tokens(&truncated), truncated.end), (vec![3, 4, 5, 3], End::Length));
    let spent = decode(&[3, 4, 5], HelpBudget::tokens(2));
    assert_eq!(all_tokens(&spent), [3, 4, 2, 2]);
}

#[test]
fn the_student_writes_its_own_token_if_the_expert_declines() {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let experts = Experts::new().with(HELP, fixed_answer(vec![]));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
    let decoded = decoder.with_max_new_tokens(3).decode(&prompts(1, FULL), Seed(0)).unwrap();
    assert_eq!(all_tokens(&decoded.trajectories[0]), [2, 2, 2]);
    assert_eq!((decoded.stats.help_asked, decoded.stats.help_given), (3, 0));
}

#[test]
fn a_teacher_with_a_tolerance_corrects_only_tokens_with_more_regret() {
    for seed in 0..20 {
        let (student, teacher) = (table(1, seed), table(0, 2000 + seed));
        for tolerance_nats in [0.0, 0.5] {
            let experts = Experts::new().with(HELP, Teacher::new(&teacher).with_tolerance(tolerance_nats));
            let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
            let prompts = prompts(4, FULL);
            let decoded = decoder.with_max_new_tokens(8).decode(&prompts, Seed(seed)).unwrap();
            let helped: usize = decoded.trajectories.iter().map(|text| text.helped()).sum();
            assert_eq!(decoded.stats.help_given, helped as u64);
            assert_eq!(decoded.stats.teacher.calls, decoded.stats.tokens);
            for (prompt, text) in prompts.iter().zip(&decoded.trajectories) {
                let tokens = all_tokens(text);
                if tolerance_nats == 0.0 {
                    assert_eq!(tokens, greedy_reference(&teacher, &prompt.expert, TOKENS, 8));
                }
                for (position, step) in text.steps.iter().enumerate() {
                    let own = most_likely(&logits_after(&student, &prompt.student, &tokens[..position]), TOKENS);
                    let logits = logits_after(&teacher, &prompt.expert, &tokens[..position]);
                    let best = most_likely(&logits, TOKENS);
                    let corrected = f64::from(logits[best as usize] - logits[own as usize]) > tolerance_nats;
                    assert_eq!(step.source != Source::Student, corrected);
                    assert_eq!(step.cost, f32::from(corrected));
                }
            }
        }
    }
}

#[test]
fn each_of_two_experts_answers_to_its_own_help_token() {
    // After a 2 the student asks the second expert, and after a 3 the first one. Otherwise it writes a 2.
    let mut logits = vec![0.0; 64];
    for row in 0..8 {
        logits[row * 8 + 2] = 1.0;
    }
    logits[2 * 8 + 7] = 9.0;
    logits[3 * 8 + 6] = 9.0;
    let student = TabularLm::from_logits(8, 1, logits, &Device::flex());
    let experts = Experts::new().with(6, fixed_answer(vec![4])).with(7, fixed_answer(vec![3]));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student), experts).with_max_new_tokens(5);
    let text = texts(decoder.decode(&[prompt(&[EOS], FULL)], Seed(0))).remove(0);
    assert_eq!(all_tokens(&text), [2, 3, 4, 2, 3]);
    let (own, first, second) = (Source::Student, Source::Expert(0), Source::Expert(1));
    assert_eq!(sources(&text), [own, second, first, own, second]);
    assert_eq!(text.steps[1].action, Action::Help(7));
    assert_eq!(text.steps[2].action, Action::Help(6));
}

#[test]
fn a_log_prob_combines_the_sampler_and_the_help_rule() {
    let student = constant(&[0.5_f32.ln(), f32::NEG_INFINITY, 0.5_f32.ln(), f32::NEG_INFINITY]);
    for (sampler, budget, token_prob) in [
        (Sampler::plain(), FULL, 0.75 * 0.5),
        (Sampler::Greedy, FULL, 0.75),
        (Sampler::plain(), HelpBudget::tokens(0), 0.5),
    ] {
        let experts = Experts::new().with(4, fixed_answer(vec![2]));
        let policy = Policy::new(&student, sampler).with_help_rule(HelpRule::Random(0.25));
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(40);
        for step in &texts(decoder.decode(&[prompt(&[2], budget)], Seed(4)))[0].steps {
            let expected = if step.action == Action::Token { token_prob } else { 0.25 };
            assert!((step.log_prob.exp() - expected).abs() < 1e-6, "{step:?}, expected probability {expected}");
        }
    }
}

#[test]
fn observers_see_every_step_in_order() {
    let (student, teacher) = (table(1, 7), table(0, 8));
    let experts = Experts::new().with(HELP, Teacher::new(&teacher));
    let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Random(0.5)), experts);
    let decoder = decoder.with_max_new_tokens(LIMIT);
    let prompts = prompts(6, FULL);
    let mut seen = vec![Vec::new(); prompts.len()];
    let decoded = decoder.decode_with(&prompts, Seed(0), &mut |row: usize, step: &Step| seen[row].push(*step)).unwrap();
    let steps: Vec<_> = decoded.trajectories.into_iter().map(|trajectory| trajectory.steps).collect();
    assert_eq!(seen, steps);
}

#[test]
fn observers_see_the_distribution_before_each_decision() {
    struct Highest(f64);
    impl Observer for Highest {
        fn distribution(&mut self, _: usize, distribution: &Distribution<'_>) {
            self.0 = self.0.max(distribution.max_prob());
        }
        fn step(&mut self, _: usize, step: &Step) {
            assert!(self.0 > 0.0, "{step:?} came before its distribution");
        }
    }
    let model = constant(&[0.0, 0.0]);
    let mut highest = Highest(0.0);
    let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new()).with_max_new_tokens(2);
    decoder.decode_with(&[prompt(&[EOS], FULL)], Seed(0), &mut highest).unwrap();
    assert_eq!(highest.0, 0.5);
}

#[test]
fn no_prompts_and_a_limit_of_zero_are_allowed() {
    let model = table(0, 1);
    let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new());
    assert!(texts(decoder.decode(&[], Seed(0))).is_empty());
    let text = texts(decoder.with_max_new_tokens(0).decode(&prompts(1, FULL), Seed(0))).remove(0);
    assert_eq!((text.steps.len(), text.end), (0, End::Length));
}
