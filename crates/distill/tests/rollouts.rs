//! Rollouts of a tiny student and its teacher.

#[path = "support/run.rs"]
mod run;
mod support;

use std::sync::LazyLock;

use burn::module::Module;
use burn::tensor::Device;
use wheels_decode::{BudgetedDecoder, Confidence, DecodeError, Decoder, Enforcement, Experts, Policy, Teacher};
use wheels_distill::{
    AskSample, BatchSource, ConstraintConfig, DistillError, Mixture, PriceFitConfig, PromptSource, RolloutSampler,
    Rollouts, StepReport, TeacherDistributions, TokenPair, TrainingBatch, Workers, ask_samples,
};
use wheels_lm::{T5, TokenBatch};
use wheels_student::Student;
use wheels_text::{HelpBudget, Prompt, Seed};

use run::Run;
use support::{HELP, MODELS, PAIRS, Pairs, VOCAB, model, rollout_config, rollouts, sampler};

/// Teachers whose vocabularies differ from the student's.
struct OtherTeachers {
    /// It has one more token.
    larger: T5,
    /// It lacks the help token.
    without_help: T5,
    /// It lacks the help token and one more token.
    smaller: T5,
}

static OTHER_TEACHERS: LazyLock<OtherTeachers> = LazyLock::new(|| {
    // `MODELS` is drawn first, so that these weights do not depend on the order of the tests.
    LazyLock::force(&MODELS);
    let teacher = |vocab_size| model(vocab_size, &Device::flex());
    OtherTeachers { larger: teacher(VOCAB + 1), without_help: teacher(VOCAB - 1), smaller: teacher(VOCAB - 2) }
});

#[test]
fn batches_hold_the_texts_with_valid_prices_and_teacher_log_probs() {
    let student = MODELS.student.valid();
    let workers = Workers::new(2).expect("two threads");
    let mut rollouts = rollouts(rollout_config());
    let batches = rollouts.next_batches(&student, 6, &workers).expect("rollouts");
    let head = BatchSource::<T5>::teacher_head(&rollouts).expect("rollouts have a teacher");
    let mut deployed = 0;
    for TrainingBatch { targets, teacher, .. } in &batches {
        let teacher = teacher.as_ref().expect("rollouts have a teacher");
        assert_eq!(teacher.rows.len(), targets.rows());
        assert_eq!(teacher.help_token, Some(HELP));
        let price_prompts = teacher.price_prompts.as_ref().expect("rollouts have price prompts");
        assert_eq!((price_prompts.prompts.rows(), price_prompts.prices.len()), (192, 192));
        assert!(price_prompts.prices.iter().all(|price| (0.0..=10.0).contains(price)));
        for (index, row) in teacher.rows.iter().enumerate() {
            assert_eq!(row.tokens, targets.row(index));
            assert_eq!(row.helped.len(), targets.row(index).len());
            assert_eq!(row.ended, targets.row(index).last() == Some(&1));
            assert!(!targets.row(index).contains(&HELP), "no text contains the help token");
            assert!((0.0..=10.0).contains(&row.price));
            deployed += usize::from(row.deployed);
        }
        let TeacherDistributions::Hidden(hidden) = &teacher.distributions else { panic!("not hidden states") };
        let log_probs: Vec<f32> = head.log_probs(hidden).into_data().iter::<f32>().collect();
        assert_eq!(log_probs.len(), targets.rows() * targets.width() * VOCAB as usize);
        for position in log_probs.chunks_exact(VOCAB as usize).take(targets.row(0).len()) {
            let total: f32 = position.iter().map(|log_prob| log_prob.exp()).sum();
            assert!((total - 1.0).abs() < 1e-5, "the probabilities add up to {total}");
            assert!(position[HELP as usize] <= -29.0);
        }
    }
    assert!(deployed > 0);
}

#[test]
fn around_the_searched_prices_the_student_uses_each_budget() {
    let (_, student) = Run::new().train_to(30, tempfile::tempdir().expect("a folder").path());
    let budgets = [0.2, 0.4, 0.6];
    let levels = [&[0.0], budgets.as_slice(), &[1.0]].concat();
    // References of equal length give the same length limit in every batch.
    let pairs: Vec<TokenPair> = PAIRS.0.iter().filter(|pair| pair.target.len() == 7).cloned().collect();
    let constraint = ConstraintConfig::new().with_levels(levels).with_frozen_steps(12).with_search_texts(pairs.len());
    let pairs = Pairs(pairs);
    let config = rollout_config().with_constraint(constraint);
    let sampler = RolloutSampler::new(config, &pairs, &MODELS.teacher, Some(HELP), vec![0, HELP]);
    let mut rollouts = Rollouts::new(sampler).expect("the pairs fit");
    let workers = Workers::new(2).expect("two threads");
    rollouts.next_batches(&student, 2, &workers).expect("rollouts");
    let prices = rollouts.prices().expect("the first rollouts set the prices").clone();
    rollouts.next_batches(&student, 2, &workers).expect("rollouts");
    assert_eq!(rollouts.prices(), Some(&prices), "frozen prices do not change");

    assert!(prices.price(budgets[0]) > 0.0, "the smallest budget binds: {prices:?}");
    for budget in budgets {
        let stated = HelpBudget::percent((100.0 * budget) as u8);
        let prompts: Vec<Prompt> =
            (0..pairs.0.len()).map(|index| pairs.prompt(index, stated, 0).expect("a prompt")).collect();
        let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
        let read = student.prices(&TokenBatch::new(&rows, 0)).expect("heads").mean().into_scalar::<f64>();
        let used_at = |price: f64| {
            let rule = Confidence::HelpLogOdds.below(price - read);
            let experts = Experts::new().with(HELP, Teacher::new(&MODELS.teacher));
            let decoder = BudgetedDecoder::new(Policy::greedy(&student).with_help_rule(rule), experts)
                .with_enforcement(Enforcement::Off)
                .with_max_new_tokens(2 * 7 + 8);
            decoder.decode(&prompts, Seed(7)).expect("texts").stats.help_rate()
        };
        // The few states of so small a model ask together, so the help used can jump at the price. At the price 0 a
        // budget does not bind: the student uses no more, whatever it may.
        let price = prices.price(budget);
        let [less, more] = [used_at(price + 0.05), used_at(price - 0.05)];
        assert!(
            less <= budget + 0.05 && (more >= budget - 0.05 || price == 0.0),
            "around the price {price}, {less} to {more} of the tokens are helped under a budget of {budget}"
        );
    }
}

#[test]
fn ask_samples_cover_every_token_that_the_student_writes() {
    let student = MODELS.student.valid();
    let sampler = sampler(rollout_config(), &MODELS.teacher);
    let indices: Vec<u32> = (0..40).collect();
    let rollout = sampler.greedy(&student, &indices, HelpBudget::percent(30), 0).expect("texts");
    let samples = ask_samples(&sampler, &student, &rollout);
    let tokens = samples.iter().flatten().count();
    assert!(tokens >= 40, "{tokens} tokens");
    assert_eq!(
        samples.iter().map(Vec::len).collect::<Vec<_>>(),
        rollout.rows.iter().map(|row| row.tokens.len()).collect::<Vec<_>>()
    );
    for sample in samples.iter().flatten() {
        // New heads give log-odds of 0, at which a student does not ask. Rewards are clipped at -10.
        assert!(sample.log_odds.abs() < 1e-3 && (0.0..=10.0).contains(&sample.divergence), "{sample:?}");
        // A student that is sure has no entropy, and none has more than that of equally likely tokens.
        let AskSample { max_log_prob, entropy, regret, .. } = *sample;
        assert!(regret >= 0.0 && -max_log_prob <= entropy + 1e-4 && entropy <= (VOCAB as f64).ln(), "{sample:?}");
    }
}

#[test]
fn a_teacher_that_lacks_a_token_of_the_student_is_rejected() {
    let mut rollouts = Rollouts::new(sampler(rollout_config(), &OTHER_TEACHERS.smaller)).expect("the pairs fit");
    let workers = Workers::new(1).expect("a thread");
    let refused = rollouts.next_batches(&MODELS.student, 1, &workers).expect_err("two vocabularies");
    assert!(matches!(refused, DistillError::Vocabularies { student: 24, teacher: 22 }), "{refused}");
}

#[test]
fn a_teacher_may_lack_the_help_token_or_have_more_tokens() {
    let workers = Workers::new(1).expect("a thread");
    for teacher in [&OTHER_TEACHERS.without_help, &OTHER_TEACHERS.larger] {
        let sampler = sampler(rollout_config(), teacher);
        let rollout = sampler.greedy(&MODELS.student.valid(), &[0, 1], HelpBudget::percent(30), 0).expect("texts");
        let samples = ask_samples(&sampler, &MODELS.student.valid(), &rollout);
        assert!(samples.iter().flatten().all(|sample| (0.0..=10.0).contains(&sample.divergence)), "{samples:?}");
        let mut rollouts = Rollouts::new(sampler).expect("the pairs fit");
        assert_eq!(rollouts.next_batches(&MODELS.student.valid(), 1, &workers).expect("rollouts").len(), 1);
    }
}

#[test]
fn a_student_without_the_help_token_is_rejected() {
    let student = Student::new(OTHER_TEACHERS.without_help.clone());
    let mut rollouts = rollouts(rollout_config());
    let workers = Workers::new(1).expect("a thread");
    let refused = rollouts.next_batches(&student, 1, &workers).expect_err("the student cannot ask");
    let expected = matches!(&refused, DistillError::Decode(DecodeError::HelpToken { token: HELP, vocab_size: 23 }));
    assert!(expected, "{refused}");
}

#[test]
fn without_a_help_token_the_student_writes_alone() {
    let student = Student::new(MODELS.student.valid().model);
    let sampler = || RolloutSampler::new(rollout_config(), &*PAIRS, &MODELS.teacher, None, vec![0, HELP]);
    let rollout = sampler().greedy(&student, &[0, 1, 2], HelpBudget::percent(100), 0).expect("texts");
    assert!(rollout.rows.iter().all(|row| !row.helped.contains(&true)));
    let samples = ask_samples(&sampler(), &student, &rollout);
    assert!(
        samples.iter().flatten().all(|sample| sample.log_odds == f64::NEG_INFINITY && sample.divergence.is_finite())
    );

    let mut rollouts = Rollouts::new(sampler()).expect("the pairs fit");
    let batches = rollouts.next_batches(&student, 1, &Workers::new(1).expect("a thread")).expect("rollouts");
    assert_eq!(batches[0].teacher.as_ref().expect("rollouts have a teacher").help_token, None);
    assert!(!BatchSource::<T5>::provides(&rollouts).help_token);
    let json = r#"{"step":1,"loss":0,"nll":0,"grad_norm":0,"learning_rate":0,"tokens":1,"seconds":0}"#;
    let mut report: StepReport = serde_json::from_str(json).expect("a report");
    BatchSource::<T5>::report(&rollouts, &mut report);
    assert!(report.parts.is_empty(), "a student that cannot ask has no prices: {report:?}");
}

#[test]
fn the_same_seed_gives_the_same_rollout() {
    let student = MODELS.student.valid();
    let sampler = sampler(rollout_config(), &MODELS.teacher);
    let sample = |seed| sampler.sample(&student, &[0, 1, 2, 3, 4, 5, 6, 7], seed).expect("texts");
    assert_eq!(sample(Seed(1)), sample(Seed(1)));
    assert_ne!(sample(Seed(1)), sample(Seed(2)));
}

#[test]
fn budget_levels_that_do_not_rise_from_0_to_1_are_rejected() {
    for levels in [vec![0.1, 1.0], vec![0.0, 0.5], vec![0.0, 0.5, 0.5, 1.0], vec![0.0, 0.6, 0.3, 1.0], vec![]] {
        let config = rollout_config().with_constraint(ConstraintConfig::new().with_levels(levels.clone()));
        match Rollouts::new(sampler(config, &MODELS.teacher)) {
            Err(error @ DistillError::Levels { .. }) => {
                assert!(error.to_string().contains(&format!("{levels:?}")), "{error}");
            }
            Err(error) => panic!("{levels:?}: {error}"),
            Ok(_) => panic!("{levels:?} are accepted"),
        }
    }
}

#[test]
fn a_config_that_leaves_no_budget_to_state_is_rejected() {
    let configs = [
        rollout_config().with_held_out((0..=100).collect()),
        rollout_config().with_wordings(vec![]),
        rollout_config().with_wordings(vec![99]),
    ];
    for config in configs {
        assert!(matches!(Rollouts::new(sampler(config, &MODELS.teacher)), Err(DistillError::NoBudget { .. })));
    }
}

#[test]
fn fractions_out_of_range_are_rejected() {
    let mixtures = [
        (Mixture::new().with_teacher_fraction(-0.1), "`Mixture::teacher_fraction` is -0.1: it must be 0 or larger"),
        (Mixture::new().with_on_policy_fraction(f64::NAN), "`Mixture::on_policy_fraction` is NaN"),
        (Mixture::new().with_greedy_fraction(1.5), "`Mixture::greedy_fraction` is 1.5: it must be from 0 to 1"),
        (Mixture::references().with_reference_fraction(0.0), "or one of the other weights of the mixture must be"),
    ];
    let configs = mixtures.map(|(mixture, message)| (rollout_config().with_mixture(mixture), message));
    let tokens = rollout_config().with_token_budget_fraction(2.0);
    for (config, message) in configs.into_iter().chain([(tokens, "`RolloutConfig::token_budget_fraction` is 2")]) {
        match Rollouts::new(sampler(config, &MODELS.teacher)) {
            Err(error) => assert!(error.to_string().contains(message), "{error}"),
            Ok(_) => panic!("accepted, without {message:?}"),
        }
    }
    assert!(PriceFitConfig::new().with_token_budget_fraction(-1.0).check().is_err());
}
