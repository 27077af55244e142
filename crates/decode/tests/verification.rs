//! Tests of verification, with models that are tables of logits, so that the right answer is known.
#![allow(clippy::unwrap_used)]

mod support;

use burn::tensor::Device;
use proptest::prelude::*;
use support::*;
use wheels_decode::{
    AcceptanceRule, BudgetedDecoder, Confidence, DecodeError, DecodeStats, Decoded, Decoder, End, Enforcement, Experts,
    HelpResponse, HelpRule, Observer, Policy, Sampler, Source, Step, Teacher, Trajectory, Verification,
};
use wheels_lm::TabularLm;
use wheels_text::{HelpBudget, Seed};

const LIMIT: usize = 12;
const LOSSLESS: Verification = Verification::LOSSLESS;

fn any_help_rule() -> impl Strategy<Value = HelpRule> {
    prop_oneof![
        Just(HelpRule::Never),
        Just(HelpRule::Always),
        Just(HelpRule::Learned),
        (0_usize..6).prop_map(HelpRule::Every),
        (0_usize..6).prop_map(HelpRule::Adaptive),
        (0.0_f64..=1.0).prop_map(HelpRule::Random),
        (0.2_f64..0.9).prop_map(|threshold| Confidence::MaxProb.below(threshold)),
    ]
}

fn any_verification() -> impl Strategy<Value = Verification> {
    let rule = prop_oneof![Just(AcceptanceRule::Regret), Just(AcceptanceRule::Surprise)];
    let tolerance = prop_oneof![Just(0.0), Just(f64::INFINITY), 0.0_f64..3.0];
    (rule, tolerance, any::<bool>()).prop_map(|(rule, tolerance_nats, verify_end)| Verification {
        rule,
        tolerance_nats,
        verify_end,
    })
}

fn any_sampler() -> impl Strategy<Value = Sampler> {
    prop_oneof![Just(Sampler::Greedy), Just(Sampler::plain())]
}

/// A verification by regret that does not verify the ends of texts.
fn tolerating(tolerance_nats: f64) -> Verification {
    Verification { rule: AcceptanceRule::Regret, tolerance_nats, verify_end: false }
}

fn helped_decoder<'a>(
    student: &'a TabularLm,
    teacher: &'a TabularLm,
    rule: HelpRule,
    sampler: Sampler,
) -> BudgetedDecoder<'a> {
    let experts = Experts::new().with(HELP, Teacher::new(teacher));
    let policy = Policy::new(student, sampler).with_help_rule(rule);
    BudgetedDecoder::new(policy, experts).with_max_new_tokens(LIMIT)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_infinite_tolerance_changes_nothing(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        sampler in any_sampler(),
        budgets in prop::collection::vec(any_budget(), 1..6),
        verify_end in any::<bool>(),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let decode = |verification| {
            let decoder = helped_decoder(&student, &teacher, rule, sampler).with_verification(verification);
            let decoded = decoder.decode(&prompts, Seed(tables)).unwrap();
            // The elapsed time of two runs differs.
            (decoded.trajectories, DecodeStats { elapsed: Default::default(), ..decoded.stats })
        };
        let tolerant = decode(Verification { tolerance_nats: f64::INFINITY, verify_end, ..LOSSLESS });
        prop_assert_eq!(tolerant, decode(Verification::default()));
    }

    #[test]
    fn lossless_verification_gives_the_teachers_text(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        sampler in any_sampler(),
        count in 1_usize..6,
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts(count, FULL);
        let decoder = helped_decoder(&student, &teacher, rule, sampler).with_verification(LOSSLESS);
        let decoded = decoder.decode(&prompts, Seed(tables)).unwrap();
        for (prompt, trajectory) in prompts.iter().zip(&decoded.trajectories) {
            prop_assert_eq!(all_tokens(trajectory), greedy_reference(&teacher, &prompt.expert, TOKENS, LIMIT));
        }
        // Every call gives a token or accepts the end of a text.
        prop_assert_eq!(decoded.stats.help_given, decoded.stats.teacher.calls);
    }

    #[test]
    fn every_text_ends_and_no_prefix_has_more_calls_than_its_budget(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        sampler in any_sampler(),
        verification in any_verification(),
        budget in any_budget(),
        length in 1_usize..7,
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = vec![prompt(&[vec![3; length], vec![EOS]].concat(), budget)];
        let decode = |enforcement| {
            let decoder = helped_decoder(&student, &teacher, rule, sampler).with_verification(verification);
            decoder.with_enforcement(enforcement).decode(&prompts, Seed(tables)).unwrap()
        };
        let Decoded { trajectories, stats } = decode(Enforcement::On);
        let trajectory = &trajectories[0];
        let mut calls = 0;
        for (position, step) in trajectory.steps.iter().enumerate() {
            calls += usize::from(step.source != Source::Student);
            prop_assert!(calls <= allowed(budget, position + 1), "{budget} at {position}: {calls}");
        }
        let accepted_ends = stats.help_given as usize - calls;
        prop_assert!(accepted_ends <= 1, "only a call that accepts the end gives no token");
        prop_assert!(calls + accepted_ends <= allowed(budget, trajectory.steps.len()));
        prop_assert_eq!(stats.help_given, stats.teacher.calls);
        prop_assert_eq!(f64::from(trajectory.cost()), stats.help_given as f64);

        let free = decode(Enforcement::Off);
        let end = free.trajectories[0].end;
        prop_assert!(end == End::Eos || free.stats.tokens == LIMIT as u64);
    }

    #[test]
    fn every_token_is_what_its_source_would_write_there(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        verification in any_verification(),
        budgets in prop::collection::vec(any_budget(), 1..6),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let decoder = helped_decoder(&student, &teacher, rule, Sampler::Greedy).with_verification(verification);
        for (prompt, text) in prompts.iter().zip(texts(decoder.decode(&prompts, Seed(tables)))) {
            let tokens = all_tokens(&text);
            for (position, step) in text.steps.iter().enumerate() {
                let logits = match step.source {
                    Source::Student => logits_after(&student, &prompt.student, &tokens[..position]),
                    Source::Expert(_) => logits_after(&teacher, &prompt.expert, &tokens[..position]),
                };
                prop_assert_eq!(step.token, most_likely(&logits, TOKENS));
            }
        }
    }

    #[test]
    fn a_budget_of_zero_gives_the_students_text_without_a_call(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        sampler in any_sampler(),
        verification in any_verification(),
        percent in any::<bool>(),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts(4, if percent { HelpBudget::percent(0) } else { HelpBudget::tokens(0) });
        let helped = helped_decoder(&student, &teacher, rule, sampler).with_verification(verification);
        let helped = helped.decode(&prompts, Seed(tables)).unwrap();
        let alone = BudgetedDecoder::new(Policy::new(&student, sampler), Experts::new().with_closed_token(HELP));
        let alone = texts(alone.with_max_new_tokens(LIMIT).decode(&prompts, Seed(tables)));
        prop_assert_eq!(helped.stats.teacher, Default::default());
        prop_assert_eq!((helped.stats.help_given, helped.stats.rolled_back), (0, 0));
        for (helped, alone) in helped.trajectories.iter().zip(&alone) {
            prop_assert_eq!(all_tokens(helped), all_tokens(alone));
        }
    }

    #[test]
    fn a_row_of_a_batch_equals_that_row_alone(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        verification in any_verification(),
        budgets in prop::collection::vec(any_budget(), 2..9),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts_with(&budgets);
        let decode = |batch_size| {
            let experts = Experts::new().with(HELP, Teacher::new(&teacher).with_sampler(Sampler::plain()));
            let policy = Policy::new(&student, Sampler::plain()).with_help_rule(rule);
            let decoder = BudgetedDecoder::new(policy, experts)
                .with_max_new_tokens(LIMIT)
                .with_verification(verification)
                .with_batch_size(batch_size);
            let decoded = decoder.decode(&prompts, Seed(tables)).unwrap();
            (decoded.trajectories, decoded.stats.rolled_back, decoded.stats.teacher.tokens_processed)
        };
        let alone = decode(1);
        prop_assert_eq!(&decode(3), &alone);
        prop_assert_eq!(&decode(32), &alone);
    }

    #[test]
    fn observers_that_follow_rollbacks_see_the_final_text(
        tables in 0_u64..1000,
        rule in any_help_rule(),
        verification in any_verification(),
    ) {
        struct Screen(Vec<Vec<Step>>);
        impl Observer for Screen {
            fn rolled_back(&mut self, row: usize, length: usize) {
                assert!(length < self.0[row].len());
                self.0[row].truncate(length);
            }
            fn step(&mut self, row: usize, step: &Step) {
                self.0[row].push(*step);
            }
        }
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let prompts = prompts(5, FULL);
        let mut screen = Screen(vec![Vec::new(); prompts.len()]);
        let decoder = helped_decoder(&student, &teacher, rule, Sampler::Greedy).with_verification(verification);
        let decoded = decoder.decode_with(&prompts, Seed(tables), &mut screen).unwrap();
        let steps: Vec<_> = decoded.trajectories.into_iter().map(|trajectory| trajectory.steps).collect();
        prop_assert_eq!(screen.0, steps);
    }
}

/// A student that always writes 2, and a teacher. After a 2, the teacher prefers 3 to 2 by one nat. After any other
/// token, it prefers 2 to 3 by one nat.
fn rivals() -> (TabularLm, TabularLm) {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let mut logits = vec![-9.0; TOKENS * TOKENS];
    for row in 0..TOKENS {
        logits[row * TOKENS + 2] = 1.0;
        logits[row * TOKENS + 3] = if row == 2 { 2.0 } else { 0.0 };
    }
    (student, TabularLm::from_logits(TOKENS, 1, logits, &Device::flex()))
}

/// The positions that an expert chose.
fn helped_positions(text: &Trajectory) -> Vec<usize> {
    (0..text.steps.len()).filter(|&position| text.steps[position].source != Source::Student).collect()
}

/// The tokens that the rivals write, the positions that the teacher chose, and the work.
fn decode_rivals(
    rule: HelpRule,
    verification: Verification,
    budget: HelpBudget,
    limit: usize,
) -> (Vec<u32>, Vec<usize>, DecodeStats) {
    let (student, teacher) = rivals();
    let decoder = helped_decoder(&student, &teacher, rule, Sampler::Greedy).with_verification(verification);
    let decoded = decoder.with_max_new_tokens(limit).decode(&[prompt(&[EOS], budget)], Seed(0)).unwrap();
    let text = &decoded.trajectories[0];
    (all_tokens(text), helped_positions(text), decoded.stats)
}

#[test]
fn the_first_token_with_too_much_regret_is_replaced_and_later_ones_are_rolled_back() {
    // The call at position 3 finds a regret of one nat at position 1, where the teacher prefers 3.
    let (text, helped, stats) = decode_rivals(HelpRule::Every(3), tolerating(0.9), FULL, 4);
    assert_eq!((text, helped), (vec![2, 3, 2, 2], vec![1]));
    assert_eq!((stats.help_asked, stats.help_given, stats.rolled_back), (1, 1, 2));
    assert_eq!(stats.student.calls, 4 + 2);
    // A larger tolerance accepts this regret, so the answer comes at the position of the call.
    let (text, helped, stats) = decode_rivals(HelpRule::Every(3), tolerating(1.1), FULL, 4);
    assert_eq!((text, helped), (vec![2, 2, 2, 3], vec![3]));
    assert_eq!((stats.help_asked, stats.help_given, stats.rolled_back), (1, 1, 0));
}

#[test]
fn surprise_can_reject_even_the_most_likely_token() {
    let surprise = |nats| Verification { rule: AcceptanceRule::Surprise, ..tolerating(nats) };
    // After the start, 2 is the teacher's most likely token, with a surprise of ln(1 + 1/e) = 0.31 nats.
    let (text, helped, _) = decode_rivals(HelpRule::Every(3), surprise(0.3), FULL, 4);
    assert_eq!((text, helped), (vec![2, 2, 2, 2], vec![0]));
    // After a 2, 2 has a surprise of 1.31 nats.
    let (text, helped, _) = decode_rivals(HelpRule::Every(3), surprise(0.4), FULL, 4);
    assert_eq!((text, helped), (vec![2, 3, 2, 2], vec![1]));
    let (text, helped, _) = decode_rivals(HelpRule::Every(3), surprise(1.4), FULL, 4);
    assert_eq!((text, helped), (vec![2, 2, 2, 3], vec![3]));
}

#[test]
fn adaptive_drafts_grow_after_acceptance_and_shrink_after_rollback() {
    let model = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decoder = helped_decoder(&model, &model, HelpRule::Adaptive(1), Sampler::Greedy).with_verification(LOSSLESS);
    let texts = texts(decoder.with_max_new_tokens(12).decode(&[prompt(&[EOS], FULL)], Seed(0)));
    // Drafts of 1, 3 and 5 tokens, each followed by a token of the teacher.
    assert_eq!(helped_positions(&texts[0]), [1, 5, 11]);
    // The rivals' teacher rejects drafts of 3 and of 2 tokens. It then accepts a draft of 1, so that the next draft has
    // 3 tokens.
    let (text, helped, _) = decode_rivals(HelpRule::Adaptive(3), tolerating(0.0), FULL, 8);
    assert_eq!((text, helped), (vec![2, 3, 2, 3, 2, 3, 2, 2], vec![1, 3, 5]));
}

#[test]
fn an_accepted_draft_of_fixed_length_is_answered_at_its_end() {
    let model = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decoder = helped_decoder(&model, &model, HelpRule::Every(2), Sampler::Greedy).with_verification(LOSSLESS);
    let decoded = decoder.with_max_new_tokens(8).decode(&[prompt(&[EOS], FULL)], Seed(0)).unwrap();
    let (own, help) = (Source::Student, Source::Expert(0));
    assert_eq!(sources(&decoded.trajectories[0]), [own, own, help, own, own, help, own, own]);
    // Two answers and one call that accepted the end are three calls for eight tokens.
    assert_eq!((decoded.stats.help_given, decoded.stats.teacher.calls, decoded.stats.rolled_back), (3, 3, 0));
    // The teacher reads its start token, and every token but the last one, once.
    assert_eq!(decoded.stats.teacher.tokens_processed, 8);
    assert_eq!(decoded.trajectories[0].cost(), 3.0);
}

#[test]
fn a_rollback_goes_back_no_further_than_the_budget_allows() {
    // At 20%, the first call may answer anywhere, the second from position 5 on, and the third from position 10 on.
    let budget = HelpBudget::percent(20);
    let (text, helped, _) = decode_rivals(HelpRule::Always, LOSSLESS, budget, 11);
    assert_eq!((text, helped), (vec![2, 2, 2, 2, 2, 3, 2, 2, 2, 2, 3], vec![0, 5, 10]));
    // The first call, at position 6, rolls back to position 1. The second call, at position 8, finds its first regret
    // at position 3, but may not answer before position 5.
    let (text, helped, stats) = decode_rivals(HelpRule::Every(6), tolerating(0.5), budget, 11);
    assert_eq!((text, helped), (vec![2, 3, 2, 2, 2, 3, 2, 2, 2, 2, 2], vec![1, 5]));
    assert_eq!(stats.rolled_back, 5 + 3);
    // A budget of 100% allows every rollback.
    assert_eq!(decode_rivals(HelpRule::Every(6), tolerating(0.5), FULL, 11).1, [1, 3, 5]);
}

#[test]
fn the_end_of_a_text_is_verified_also_at_the_limit() {
    // The student ends its text at once. The teacher writes a 2 before it ends.
    let student = constant(&[0.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
    let mut logits = [0.0, 9.0, 0.0, 0.0, 0.0, 0.0].repeat(TOKENS);
    logits[TOKENS..2 * TOKENS].copy_from_slice(&[0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    let teacher = TabularLm::from_logits(TOKENS, 1, logits, &Device::flex());
    let decode = |verification| {
        let decoder = helped_decoder(&student, &teacher, HelpRule::Never, Sampler::Greedy);
        decoder.with_verification(verification).decode(&[prompt(&[EOS], FULL)], Seed(0)).unwrap()
    };
    let verified = decode(LOSSLESS);
    assert_eq!((all_tokens(&verified.trajectories[0]), verified.trajectories[0].end), (vec![2, EOS], End::Eos));
    // One call rolls the end back, and the next one accepts it.
    assert_eq!((verified.stats.help_asked, verified.stats.help_given, verified.stats.rolled_back), (2, 2, 1));
    assert_eq!(all_tokens(&decode(tolerating(0.0)).trajectories[0]), [EOS]);
    let (text, helped, _) = decode_rivals(HelpRule::Never, LOSSLESS, FULL, 4);
    assert_eq!((text, helped), (vec![2, 3, 2, 3], vec![1, 3]));
}

#[test]
fn any_expert_can_roll_back_tokens_that_are_not_verified_and_no_others() {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0]);
    let decode = |rollback, verification| {
        let response = HelpResponse { rollback, tokens: vec![4], cost: 1.0, failure: None };
        let experts = Experts::new().with(HELP, FixedResponse(response));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Every(3)), experts);
        let decoder = decoder.with_verification(verification).with_max_new_tokens(5);
        decoder.decode(&[prompt(&[EOS], FULL)], Seed(0))
    };
    assert_eq!(all_tokens(&texts(decode(2, tolerating(0.0)))[0]), [2, 4, 2, 2, 2]);
    assert_eq!(all_tokens(&texts(decode(0, tolerating(0.0)))[0]), [2, 2, 2, 4, 2]);
    let error = decode(4, tolerating(0.0)).unwrap_err();
    assert!(matches!(error, DecodeError::RollbackTooFar { expert: 0, row: 0, rollback: 4, open: 3 }), "{error}");
    // Without verification nothing may be rolled back.
    let error = decode(1, Verification::default()).unwrap_err();
    assert!(matches!(error, DecodeError::RollbackTooFar { rollback: 1, open: 0, .. }), "{error}");
}

#[test]
fn verification_does_not_change_experts_that_never_roll_back() {
    let student = table(1, 11);
    let decode = |verification| {
        let experts = Experts::new().with(HELP, fixed_answer(vec![2, 3, 4]));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Random(0.3)), experts);
        let decoder = decoder.with_max_new_tokens(LIMIT).with_verification(verification);
        texts(decoder.decode(&prompts(12, FULL), Seed(3)))
    };
    assert_eq!(decode(tolerating(0.0)), decode(Verification::default()));
}

#[test]
fn a_negative_or_nan_tolerance_is_rejected() {
    let (student, teacher) = rivals();
    for nats in [-0.1, f64::NAN] {
        let decoder = helped_decoder(&student, &teacher, HelpRule::Never, Sampler::Greedy);
        let error = decoder.with_verification(tolerating(nats)).decode(&prompts(1, FULL), Seed(0)).unwrap_err();
        assert!(matches!(error, DecodeError::Tolerance { .. }), "{error}");
    }
}
