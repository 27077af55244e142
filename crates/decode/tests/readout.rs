//! Decisions on a device equal those on the host. Here the device is the CPU too, with the operations that a GPU gets.
#![allow(clippy::unwrap_used)]

mod support;

use burn::tensor::Device;
use rand::RngExt;
use wheels_decode::{
    AcceptanceRule, Action, BudgetedDecoder, Confidence, DecodeError, Decoder, Distribution, Experts, HelpRule,
    NewText, Observer, Policy, Readout, Sampler, Source, Step, Teacher, Verification,
};
use wheels_lm::{LanguageModel, TabularLm};
use wheels_text::{HelpBudget, Prompt, Seed};

/// The number of words, which is not a product of two similar numbers: the last block of a row is not full.
const WORDS: u32 = 37;
/// The help token of the student.
const HELP: u32 = WORDS;

/// A model whose random logits depend on the last two tokens.
fn model(vocab: u32, seed: u64) -> TabularLm {
    let mut rng = Seed(seed).rng();
    let logits = (0..vocab.pow(3)).map(|_| rng.random_range(-3.0..3.0)).collect();
    TabularLm::from_logits(vocab as usize, 2, logits, &Device::flex())
}

fn prompts(budget: HelpBudget) -> Vec<Prompt> {
    let ids = |row: u32| vec![2 + row % (WORDS - 2), 2 + row * 7 % (WORDS - 2), support::EOS];
    (0..24).map(|row| support::prompt(&ids(row), budget)).collect()
}

/// A setting of a decoder and of its teacher.
#[derive(Clone, Copy, Debug)]
struct Case {
    sampler: Sampler,
    teacher_sampler: Sampler,
    rule: HelpRule,
    verification: Verification,
    no_repeat_ngram_size: usize,
    forced_bos: Option<u32>,
}

const GREEDY: Case = Case {
    sampler: Sampler::Greedy,
    teacher_sampler: Sampler::Greedy,
    rule: HelpRule::Threshold { confidence: Confidence::HelpLogOdds, threshold: -3.5 },
    verification: Verification { rule: AcceptanceRule::Regret, tolerance_nats: f64::INFINITY, verify_end: false },
    no_repeat_ngram_size: 0,
    forced_bos: None,
};

fn sample(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampler {
    Sampler::Sample { temperature, top_k, top_p }
}

/// What must be equal in each text.
type Text = Vec<(u32, Source, Action)>;

fn texts(case: Case, readout: Readout) -> (Vec<Text>, Vec<f32>) {
    let (student, teacher) = (model(WORDS + 1, 3), model(WORDS, 4));
    let policy = Policy::new(&student, case.sampler).with_help_rule(case.rule);
    let teacher = Teacher::new(&teacher).with_sampler(case.teacher_sampler).with_readout(readout);
    let decoder = BudgetedDecoder::new(policy, Experts::new().with(HELP, teacher))
        .with_readout(readout)
        .with_verification(case.verification)
        .with_no_repeat_ngram_size(case.no_repeat_ngram_size)
        .with_forced_bos_token_id(case.forced_bos)
        .with_max_new_tokens(20)
        .with_batch_size(7);
    let decoded = decoder.decode(&prompts(HelpBudget::percent(50)), Seed(5)).unwrap();
    let steps = |text: &wheels_decode::Trajectory| text.steps.iter().map(|s| (s.token, s.source, s.action)).collect();
    let log_probs = decoded.trajectories.iter().flat_map(|text| text.steps.iter().map(|step| step.log_prob));
    (decoded.trajectories.iter().map(steps).collect(), log_probs.collect())
}

#[test]
fn every_setting_decodes_the_same_texts_on_the_host_and_on_a_device() {
    let threshold = |confidence: Confidence, threshold| Case { rule: confidence.below(threshold), ..GREEDY };
    let verified = |rule, tolerance_nats| Verification { rule, tolerance_nats, verify_end: true };
    let plain = Case { sampler: Sampler::plain(), teacher_sampler: Sampler::plain(), ..GREEDY };
    let drafts = HelpRule::Every(3);
    let cases = [
        GREEDY,
        threshold(Confidence::MaxProb, 0.25),
        threshold(Confidence::Margin, 0.05),
        threshold(Confidence::Entropy, 2.6),
        threshold(Confidence::HelpLogOdds, -5.0),
        Case { no_repeat_ngram_size: 2, forced_bos: Some(9), ..threshold(Confidence::HelpLogOdds, -6.0) },
        Case { rule: drafts, verification: Verification::LOSSLESS, ..GREEDY },
        Case { rule: drafts, verification: verified(AcceptanceRule::Surprise, 2.5), ..GREEDY },
        plain,
        Case { sampler: sample(0.7, None, None), forced_bos: Some(9), no_repeat_ngram_size: 1, ..plain },
        Case { sampler: sample(1.3, Some(5), None), ..plain },
        Case { sampler: sample(1.0, Some(9), Some(0.8)), ..plain },
        Case { sampler: sample(1.0, None, Some(0.8)), teacher_sampler: sample(1.0, Some(100), None), ..plain },
        Case { rule: drafts, verification: verified(AcceptanceRule::Sampling, 0.0), ..plain },
        Case {
            sampler: sample(1.0, Some(4), None),
            rule: drafts,
            verification: verified(AcceptanceRule::Sampling, 0.0),
            ..plain
        },
    ];
    for case in cases {
        let (on_host, on_device) = (texts(case, Readout::Host), texts(case, Readout::Device));
        assert!(on_host.0.iter().flatten().any(|step| step.1 != Source::Student), "{case:?}: the teacher is asked");
        assert!(on_host.0.iter().flatten().any(|step| step.1 == Source::Student), "{case:?}: the student writes");
        assert_eq!(on_host.0, on_device.0, "{case:?}");
        for (host, device) in on_host.1.iter().zip(&on_device.1) {
            assert!((host - device).abs() < 1e-4, "{case:?}: log-probs {host} and {device}");
        }
    }
}

#[test]
fn texts_with_different_samplers_are_the_same_on_the_host_and_on_a_device() {
    let model = model(WORDS, 4);
    let samplers = [sample(0.7, None, None), Sampler::Greedy, Sampler::plain(), sample(1.3, Some(5), None)];
    let prompts = prompts(HelpBudget::percent(0));
    let mut texts = Vec::with_capacity(prompts.len());
    for (prompt, (row, &sampler)) in prompts.iter().zip(samplers.iter().cycle().enumerate()) {
        texts.push(NewText::new(prompt, Seed(row as u64)).with_sampler(sampler));
    }
    let tokens = |readout: Readout| -> Vec<Vec<u32>> {
        let decoder = BudgetedDecoder::new(Policy::greedy(&model), Experts::new()).with_readout(readout);
        let decoded =
            decoder.with_max_new_tokens(20).with_batch_size(9).decode_texts(&texts, &mut |_: usize, _: &Step| {});
        decoded.unwrap().trajectories.iter().map(|text| text.tokens()).collect()
    };
    assert_eq!(tokens(Readout::Device), tokens(Readout::Host));
}

#[test]
fn a_device_sends_less_than_a_kilobyte_per_token_whatever_the_vocabulary() {
    for words in [100_u32, 151_936] {
        let mut rng = Seed(8).rng();
        let logits: Vec<f32> = (0..=words).map(|_| rng.random_range(-3.0..3.0)).collect();
        let (student, teacher) = (support::constant(&logits), support::constant(&logits[1..]));
        let used = |sampler, rule, verification, readout| {
            let policy = Policy::new(&student, sampler).with_help_rule(rule);
            let teacher = Teacher::new(&teacher).with_sampler(sampler).with_readout(readout);
            let decoder = BudgetedDecoder::new(policy, Experts::new().with(words, teacher))
                .with_readout(readout)
                .with_verification(verification)
                .with_max_new_tokens(6);
            let prompts: Vec<Prompt> = (0..3).map(|_| support::prompt(&[2, 1], support::FULL)).collect();
            let stats = decoder.decode(&prompts, Seed(1)).unwrap().stats;
            let positions = stats.student.tokens_processed + stats.teacher.tokens_processed;
            ((stats.student.bytes_read + stats.teacher.bytes_read) as f64 / positions as f64, stats)
        };
        let default = Verification::default();
        let sampling = Verification { rule: AcceptanceRule::Sampling, tolerance_nats: 0.0, verify_end: true };
        for (sampler, rule, verification) in [
            (Sampler::Greedy, HelpRule::Random(0.5), default),
            (Sampler::Greedy, HelpRule::Every(2), Verification::LOSSLESS),
            (Sampler::plain(), Confidence::Entropy.below(1.0), default),
            (sample(0.8, Some(50), Some(0.9)), HelpRule::Random(0.5), default),
            (Sampler::plain(), HelpRule::Every(3), sampling),
        ] {
            let (bytes, stats) = used(sampler, rule, verification, Readout::Device);
            assert!(stats.teacher.bytes_read > 0 && stats.student.bytes_read > 0, "{stats:?}");
            assert!(bytes < 1000.0, "{bytes} bytes per token for {sampler:?}, {rule:?} and {words} words");
        }
        let (bytes, _) = used(Sampler::Greedy, HelpRule::Random(0.5), default, Readout::Host);
        assert!(bytes > 2.0 * f64::from(words), "the host reads whole rows: {bytes} bytes");
    }
}

#[test]
fn an_observer_reads_the_same_logits() {
    struct Rows(Vec<Vec<f32>>);
    impl Observer for Rows {
        fn distribution(&mut self, _: usize, distribution: &Distribution<'_>) {
            self.0.push(distribution.logits().to_vec());
        }
        fn step(&mut self, _: usize, _: &Step) {}
    }
    let student = model(WORDS + 1, 3);
    let rows = |readout| {
        let policy = Policy::greedy(&student).with_help_rule(HelpRule::Never);
        let decoder = BudgetedDecoder::new(policy, Experts::new().with_closed_token(HELP)).with_readout(readout);
        let mut rows = Rows(vec![]);
        decoder.with_max_new_tokens(4).decode_with(&prompts(support::FULL), Seed(1), &mut rows).unwrap();
        rows.0
    };
    let on_host = rows(Readout::Host);
    assert!(on_host.iter().all(|row| row[HELP as usize] == f32::NEG_INFINITY));
    assert_eq!(on_host, rows(Readout::Device));
}

#[test]
fn damaged_logits_are_an_error_on_a_device_too() {
    for bad in [f32::NAN, f32::INFINITY] {
        let model = support::constant(&[0.0, 1.0, bad, 0.5, 0.25]);
        let policy = Policy::greedy(&model).with_help_rule(HelpRule::Never);
        let decoder = BudgetedDecoder::new(policy, Experts::new()).with_readout(Readout::Device);
        let failed = decoder.decode(&[support::prompt(&[2, 1], support::FULL)], Seed(1)).unwrap_err();
        assert!(matches!(failed, DecodeError::Logits { row: 0, step: 0, .. }), "{failed}");
    }
    let nothing = support::constant(&[f32::NEG_INFINITY; 5]);
    assert_eq!(nothing.spec().vocab_size, 5);
    let policy = Policy::greedy(&nothing).with_help_rule(HelpRule::Never);
    let decoder = BudgetedDecoder::new(policy, Experts::new()).with_readout(Readout::Device);
    assert!(decoder.decode(&[support::prompt(&[2, 1], support::FULL)], Seed(1)).is_err());
}
