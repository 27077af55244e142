//! How much of the regret lies at the tokens where a rule asks first.

use std::iter::Sum;

use serde::{Deserialize, Serialize};

use crate::corpus_stats::RESAMPLES;
use crate::statistics::{Comparison, Interval, bootstrap, paired_bootstrap};

const SEED: u64 = 7;

/// The share of the regret at the tokens where a rule for help asks first.
///
/// The regret of a token is what the student's own choice loses: the teacher's log-prob of its most likely token, minus
/// its log-prob of the student's most likely token, nats. Help at the token saves it. Of two rules that ask equally
/// often, the one that catches more of the regret knows better where to ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegretCaught {
    /// The name of the rule.
    pub rule: String,
    /// The fraction of the tokens at which the rule asks, 0 to 1.
    pub tokens: f64,
    /// The fraction of the whole regret at these tokens, 0 to 1, with its interval over resampled texts. The tokens are chosen
    /// once, from all texts.
    pub caught: Interval,
    /// [`caught`](Self::caught) minus that of the rule named [`MAX_PROB`](Self::MAX_PROB). None for that rule itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versus_max_prob: Option<Comparison>,
}

/// The regret of one text: what a rule catches, and all of it, nats.
#[derive(Clone, Copy)]
struct TextRegret {
    caught: f64,
    whole: f64,
}

impl RegretCaught {
    /// The name of the rule with which the others are compared: to ask where the largest probability is low.
    pub const MAX_PROB: &str = "max-prob";

    /// Measures rules that ask at a fraction `tokens` of all tokens, those with their highest scores. `regrets` holds the
    /// regret of each token, nats, text by text, and a rule has a name and one score for each token.
    ///
    /// Empty if there is no regret.
    ///
    /// # Panics
    /// If a rule does not score the same tokens.
    pub fn measure(regrets: &[Vec<f64>], rules: &[(&str, Vec<Vec<f64>>)], tokens: f64) -> Vec<Self> {
        if regrets.iter().flatten().sum::<f64>() <= 0.0 {
            return vec![];
        }
        let texts: Vec<Vec<TextRegret>> = rules.iter().map(|(_, scores)| by_text(regrets, scores, tokens)).collect();
        let max_prob = rules.iter().position(|(rule, _)| *rule == Self::MAX_PROB);
        let rules = rules.iter().enumerate().map(|(index, (rule, _))| Self {
            rule: (*rule).to_owned(),
            tokens,
            caught: bootstrap(&[&texts[index]], TextRegret::share, |shares| shares[0], RESAMPLES, SEED),
            versus_max_prob: max_prob
                .filter(|&other| other != index)
                .map(|other| paired_bootstrap(&texts[index], &texts[other], TextRegret::share, RESAMPLES, SEED)),
        });
        rules.collect()
    }
}

impl TextRegret {
    fn share(&self) -> f64 {
        // A resample can have texts without regret only.
        if self.whole > 0.0 { self.caught / self.whole } else { 0.0 }
    }
}

impl Sum for TextRegret {
    fn sum<I: Iterator<Item = Self>>(texts: I) -> Self {
        texts.fold(Self { caught: 0.0, whole: 0.0 }, |sum, text| Self {
            caught: sum.caught + text.caught,
            whole: sum.whole + text.whole,
        })
    }
}

/// The regret of each text, if a rule asks at the tokens with the highest scores.
fn by_text(regrets: &[Vec<f64>], scores: &[Vec<f64>], tokens: f64) -> Vec<TextRegret> {
    let lengths = |lists: &[Vec<f64>]| lists.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(regrets), lengths(scores), "a rule has one score for each token");
    let mut ranked: Vec<(usize, f64, f64)> = Vec::new();
    for (text, (regrets, scores)) in regrets.iter().zip(scores).enumerate() {
        ranked.extend(regrets.iter().zip(scores).map(|(&regret, &score)| (text, regret, score)));
    }
    ranked.sort_by(|(_, _, one), (_, _, other)| other.total_cmp(one));
    ranked.truncate((tokens * ranked.len() as f64).round() as usize);
    let mut texts: Vec<TextRegret> =
        regrets.iter().map(|regrets| TextRegret { caught: 0.0, whole: regrets.iter().sum() }).collect();
    for (text, regret, _) in ranked {
        texts[text].caught += regret;
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGRETS: [&[f64]; 3] = [&[0.0, 3.0], &[1.0], &[0.0, 0.0, 4.0]];

    fn regrets() -> Vec<Vec<f64>> {
        REGRETS.map(<[f64]>::to_vec).to_vec()
    }

    #[test]
    fn the_oracle_catches_the_largest_regrets_and_the_worst_rule_none() {
        let worst = REGRETS.map(|text| text.iter().map(|regret| -regret).collect()).to_vec();
        let rules = [("oracle", regrets()), (RegretCaught::MAX_PROB, worst)];
        let half = RegretCaught::measure(&regrets(), &rules, 0.5);
        let found: Vec<(&str, f64)> = half.iter().map(|row| (row.rule.as_str(), row.caught.value)).collect();
        assert_eq!(found, [("oracle", 1.0), (RegretCaught::MAX_PROB, 0.0)]);
        let lead = half[0].versus_max_prob.expect("the oracle is compared with max-prob");
        assert!(lead.difference == 1.0 && lead.is_significant(), "{lead:?}");
        assert!(half[1].versus_max_prob.is_none());
        assert_eq!(RegretCaught::measure(&regrets(), &rules, 1.0 / 6.0)[0].caught.value, 0.5);
    }

    #[test]
    fn every_rule_catches_all_regret_at_all_tokens_and_none_at_none() {
        let rules = [("first", regrets().iter().map(|text| vec![0.0; text.len()]).collect())];
        for all in [0.0, 1.0] {
            let found = RegretCaught::measure(&regrets(), &rules, all);
            assert_eq!((found[0].caught.value, found[0].caught.low, found[0].caught.high), (all, all, all));
            assert!(found[0].versus_max_prob.is_none(), "max-prob was not measured");
        }
    }

    #[test]
    fn resamples_without_regret_have_numbers() {
        let regrets = vec![vec![2.0], vec![0.0], vec![0.0], vec![0.0]];
        let caught = RegretCaught::measure(&regrets, &[("oracle", regrets.clone())], 0.25)[0].caught;
        assert_eq!((caught.value, caught.low, caught.high), (1.0, 0.0, 1.0));
    }

    #[test]
    fn without_regret_nothing_can_be_caught() {
        assert!(RegretCaught::measure(&[vec![0.0, 0.0]], &[("oracle", vec![vec![0.0, 0.0]])], 0.5).is_empty());
    }

    #[test]
    #[should_panic = "one score for each token"]
    fn missing_scores_panic() {
        RegretCaught::measure(&regrets(), &[("oracle", vec![vec![0.0, 0.0], vec![1.0], vec![0.0]])], 0.5);
    }
}
