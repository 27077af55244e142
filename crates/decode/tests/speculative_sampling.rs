//! Tests of speculative sampling: its texts must have the distribution of the teacher's texts.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use support::*;
use wheels_decode::{
    AcceptanceRule, BudgetedDecoder, Decoder, Experts, HelpRule, Policy, Sampler, Teacher, Verification,
};
use wheels_lm::TabularLm;
use wheels_text::Seed;

/// The number of sampled texts for each help rule.
const DRAWS: usize = 20_000;

/// The probability of each text of at most `length` tokens after a prompt, by its definition. Only ended texts are
/// shorter.
fn text_distribution(model: &TabularLm, prompt: &[u32], length: usize) -> HashMap<Vec<u32>, f64> {
    let mut distribution = HashMap::from([(vec![], 1.0)]);
    for _ in 0..length {
        let mut longer = HashMap::new();
        for (text, prob) in distribution {
            if text.last() == Some(&EOS) {
                longer.insert(text, prob);
                continue;
            }
            let logits = &logits_after(model, prompt, &text)[..TOKENS];
            let total: f64 = logits.iter().map(|logit| f64::from(logit.exp())).sum();
            for (token, logit) in (0..).zip(logits) {
                longer.insert([&text[..], &[token]].concat(), prob * f64::from(logit.exp()) / total);
            }
        }
        distribution = longer;
    }
    distribution
}

/// Pearson's chi-squared statistic and its degrees of freedom. Texts that are expected fewer than five times share one
/// cell.
fn chi_squared(expected: &HashMap<Vec<u32>, f64>, counts: &HashMap<Vec<u32>, f64>) -> (f64, f64) {
    let (mut sum, mut cells, mut rare) = (0.0_f64, 0, (0.0_f64, 0.0_f64));
    for (text, prob) in expected {
        let (wanted, found) = (prob * DRAWS as f64, counts.get(text).copied().unwrap_or(0.0));
        if wanted < 5.0 {
            rare = (rare.0 + wanted, rare.1 + found);
        } else {
            sum += (found - wanted).powi(2) / wanted;
            cells += 1;
        }
    }
    if rare.0 >= 5.0 {
        sum += (rare.1 - rare.0).powi(2) / rare.0;
        cells += 1;
    }
    (sum, f64::from(cells - 1))
}

#[test]
fn speculative_sampling_draws_texts_from_the_teachers_distribution() {
    let (student, teacher) = (table(1, 3), table(0, 4));
    let expected = text_distribution(&teacher, &[2, EOS], 3);
    for rule in [HelpRule::Every(1), HelpRule::Every(2), HelpRule::Every(5), HelpRule::Random(0.3)] {
        let experts = Experts::new().with(HELP, Teacher::new(&teacher).with_sampler(Sampler::plain()));
        let policy = Policy::new(&student, Sampler::plain()).with_help_rule(rule);
        let decoder = BudgetedDecoder::new(policy, experts)
            .with_verification(Verification { rule: AcceptanceRule::Sampling, ..Verification::LOSSLESS })
            .with_max_new_tokens(3)
            .with_batch_size(500);
        let decoded = decoder.decode(&vec![prompt(&[2, EOS], FULL); DRAWS], Seed(11)).unwrap();
        let mut counts: HashMap<Vec<u32>, f64> = HashMap::new();
        for text in &decoded.trajectories {
            *counts.entry(all_tokens(text)).or_default() += 1.0;
        }
        assert!(counts.keys().all(|text| expected.contains_key(text)));
        assert!(decoded.stats.rolled_back > 1000, "the student's tokens are often rolled back");
        // The statistic has mean `freedom` and variance `2 * freedom`. It exceeds its mean by four standard deviations
        // about once in ten thousand seeds.
        let (statistic, freedom) = chi_squared(&expected, &counts);
        assert!(statistic < freedom + 4.0 * (2.0 * freedom).sqrt(), "{rule:?}: {statistic} over {freedom}");
    }
}
