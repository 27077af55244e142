//! Tests of budgets: no text exceeds its budget, and the texts of a batch do not share one.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use support::*;
use wheels_decode::{
    BudgetedDecoder, Calibration, CalibrationPoint, Confidence, Decoder, Enforcement, Experts, HelpRule, Policy,
    Sampler, Source, Teacher, Verification,
};
use wheels_student::{LagrangeMultiplier, Prices};
use wheels_text::{HelpBudget, Prompt, Seed};

const LIMIT: usize = 12;

#[test]
fn the_student_writes_its_own_token_while_the_ledger_is_closed() {
    let student = constant(&[0.0, -9.0, 1.0, 0.0, 0.0, 0.0, -9.0]);
    let teacher = constant(&[0.0, -9.0, 0.0, 1.0, 0.0, 0.0]);
    let decode = |enforcement| {
        let experts = Experts::new().with(HELP, Teacher::new(&teacher));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(HelpRule::Always), experts);
        let decoder = decoder.with_max_new_tokens(7).with_enforcement(enforcement);
        decoder.decode(&prompts(1, HelpBudget::percent(20)), Seed(0)).unwrap()
    };
    let enforced = decode(Enforcement::On);
    assert_eq!(all_tokens(&enforced.trajectories[0]), [3, 2, 2, 2, 2, 3, 2]);
    assert_eq!((enforced.stats.help_asked, enforced.stats.help_given), (7, 2));
    assert_eq!(enforced.trajectories[0].cost(), 2.0);
    let free = decode(Enforcement::Off);
    assert_eq!(all_tokens(&free.trajectories[0]), [3; 7]);
    assert_eq!((free.stats.help_asked, free.stats.help_given), (7, 7));
}

#[test]
fn each_budget_of_a_batch_has_its_own_rate_of_help() {
    let (student, teacher) = (table(1, 21), table(0, 22));
    let calibration =
        Calibration::new(Confidence::MaxProb, vec![CalibrationPoint::new(0.1, 0.3), CalibrationPoint::new(0.6, 0.5)])
            .unwrap();
    let budgets = [0, 10, 60, 100].map(HelpBudget::percent);
    let prompts = prompts_with(&budgets.repeat(50));
    let experts = Experts::new().with(HELP, Teacher::new(&teacher).with_sampler(Sampler::plain()));
    let policy = Policy::new(&student, Sampler::plain()).with_calibration(Some(&calibration));
    let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(LIMIT);
    let texts = texts(decoder.with_enforcement(Enforcement::Off).decode(&prompts, Seed(0)));
    let mut rates = Vec::new();
    for first in 0..budgets.len() {
        let own = || texts.iter().skip(first).step_by(budgets.len());
        let steps: usize = own().map(|text| text.steps.len()).sum();
        rates.push(own().map(|text| text.helped()).sum::<usize>() as f64 / steps as f64);
    }
    assert_eq!((rates[0], rates[3]), (0.0, 1.0));
    assert!(0.05 < rates[1] && rates[1] + 0.2 < rates[2] && rates[2] < 0.95, "{rates:?}");
}

/// A calibration on one of two measures, with thresholds at which the random tables sometimes ask, and verifications that
/// sometimes roll back.
fn any_calibration() -> impl Strategy<Value = Calibration> {
    let max_prob = (Just(Confidence::MaxProb), prop::collection::vec(0.2_f64..0.8, 3));
    let log_odds = (Just(Confidence::HelpLogOdds), prop::collection::vec(-4.0_f64..0.0, 3));
    let strict = (0.0_f64..2.0).prop_map(Verification::regret);
    let verifications = prop::collection::vec(prop_oneof![Just(Verification::default()), strict], 3);
    (prop_oneof![max_prob, log_odds], verifications).prop_map(|((confidence, thresholds), verifications)| {
        let mut points = Vec::new();
        for ((rate, threshold), verification) in [0.1, 0.3, 0.7].into_iter().zip(thresholds).zip(verifications) {
            points.push(CalibrationPoint { rate, threshold, verification });
        }
        Calibration::new(confidence, points).unwrap()
    })
}

fn any_prices() -> impl Strategy<Value = Prices> {
    prop::collection::vec(-3.0_f64..3.0, 4).prop_map(|prices| {
        let budgets = [0.0, 0.2, 0.5, 1.0].into_iter();
        let levels = budgets.zip(prices).map(|(budget, price)| LagrangeMultiplier { budget, price }).collect();
        Prices::new(levels).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn budget_is_never_exceeded_at_any_prefix(
        budgets in prop::collection::vec(any_budget(), 1..5),
        rate in 0.0_f64..=1.0,
        answer in prop::collection::vec(2_u32..TOKENS as u32, 1..4),
        tables in 0_u64..1000,
    ) {
        let student = table(1, tables);
        let prompts = prompts_with(&budgets);
        let experts = Experts::new().with(HELP, fixed_answer(answer));
        let policy = Policy::new(&student, Sampler::plain()).with_help_rule(HelpRule::Random(rate));
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(30);
        let decoded = decoder.decode(&prompts, Seed(tables)).unwrap();
        for (trajectory, budget) in decoded.trajectories.iter().zip(budgets) {
            let mut spent = 0;
            for (position, step) in trajectory.steps.iter().enumerate() {
                spent += usize::from(step.source != Source::Student);
                prop_assert!(spent <= allowed(budget, position + 1), "{budget} at {position}: {spent}");
            }
        }
        let helped: usize = decoded.trajectories.iter().map(|trajectory| trajectory.helped()).sum();
        prop_assert_eq!(helped as u64, decoded.stats.help_given);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_row_of_a_batch_of_mixed_budgets_equals_that_row_alone(
        tables in 0_u64..1000,
        budgets in prop::collection::vec(any_budget(), 2..8),
        calibration in prop::option::of(any_calibration()),
        prices in any_prices(),
        stated in prop::option::of(any_budget()),
        sampler in prop_oneof![Just(Sampler::Greedy), Just(Sampler::plain())],
        enforced in any::<bool>(),
    ) {
        let (student, teacher) = (table(1, tables), table(0, 2000 + tables));
        let decode = |prompts: &[Prompt], batch_size| {
            let mut policy = Policy::new(&student, sampler).with_calibration(calibration.as_ref());
            if let Some(stated) = stated {
                policy = policy.with_stated_budget(stated, &prices);
            }
            let experts = Experts::new().with(HELP, Teacher::new(&teacher).with_sampler(sampler));
            let decoder = BudgetedDecoder::new(policy, experts)
                .with_max_new_tokens(LIMIT)
                .with_batch_size(batch_size)
                .with_enforcement(if enforced { Enforcement::On } else { Enforcement::Off });
            texts(decoder.decode(prompts, Seed(tables)))
        };
        let prompts = prompts_with(&budgets);
        let batch = decode(&prompts, 32);
        prop_assert_eq!(&decode(&prompts, 3), &batch);
        for (row, prompt) in prompts.iter().enumerate() {
            // The index of a row decides its seed. Copies of the prompt before it give it the same index, and a batch
            // size of 1 gives it a batch of its own.
            let alone = decode(&vec![prompt.clone(); row + 1], 1);
            prop_assert_eq!(&alone[row], &batch[row], "{} in row {}", prompt.budget, row);
        }
    }
}
