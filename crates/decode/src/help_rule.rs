//! The rule by which a policy asks for help.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{Confidence, DecodeError, Distribution};

/// The rule by which a policy decides at each step whether to ask for help.
///
/// All rules work with any model, except [`Learned`](Self::Learned) and a threshold on [`Confidence::HelpLogOdds`],
/// which need a help token. Every rule asks the expert with the highest help logit. If the student has no help logits,
/// it asks the first expert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelpRule {
    /// Never ask.
    Never,
    /// Ask at every step.
    Always,
    /// Ask at each step with this probability, 0 to 1.
    Random(f64),
    /// Ask when the student has written at least this many tokens since the last help or the start of the text. With
    /// lossless verification it is the draft length of speculative decoding (Hugging Face's `num_assistant_tokens`).
    Every(usize),
    /// As [`Every`](Self::Every), with a draft length that starts at this number and changes after each call. If
    /// nothing was rolled back, it grows by 2. Otherwise it shrinks by 1, but not below 1 (Hugging Face's schedule
    /// "heuristic").
    Adaptive(usize),
    /// Ask when the student's confidence is low.
    #[serde(alias = "confidence")]
    Threshold {
        /// The measure of confidence.
        #[serde(alias = "measure")]
        confidence: Confidence,
        /// The student asks when a probability is below this, or when an entropy or log-odds are above it.
        threshold: f64,
    },
    /// Ask when the help token is more likely than not: when pi(tau | s) > 1/2. With several experts, tau is the help
    /// token of any of them.
    #[default]
    Learned,
}

impl HelpRule {
    /// How strongly the rule wants help at this step. The student asks if the score is positive.
    ///
    /// For a threshold, the score is the distance past the threshold. For the learned rule, it is the log-odds of
    /// asking, nats. For a draft length, it is 1 plus the number of tokens past that length. For random help, it is the
    /// rate minus a uniform number; only this rule uses `rng`. `written` is the number of tokens that the student has
    /// written since the last help.
    pub fn score(&self, distribution: &Distribution<'_>, written: usize, rng: &mut impl Rng) -> f64 {
        match *self {
            Self::Never => f64::NEG_INFINITY,
            Self::Always => f64::INFINITY,
            Self::Random(rate) => rate - rng.random::<f64>(),
            Self::Every(tokens) | Self::Adaptive(tokens) => written as f64 + 1.0 - tokens as f64,
            Self::Threshold { confidence, threshold } => confidence.excess(distribution, threshold),
            Self::Learned => distribution.help_log_odds(),
        }
    }

    /// The rule after a call. `accepted` says that nothing was rolled back.
    pub(crate) fn after_call(self, accepted: bool) -> Self {
        match self {
            Self::Adaptive(tokens) if accepted => Self::Adaptive(tokens + 2),
            Self::Adaptive(tokens) => Self::Adaptive(tokens.saturating_sub(1).max(1)),
            rule => rule,
        }
    }

    /// The log-probability, in nats, of the decision to ask or not to ask.
    ///
    /// It is 0 for a rule without randomness, because such a decision has probability 1.
    pub(crate) fn log_prob(&self, asks: bool) -> f64 {
        match *self {
            Self::Random(rate) if asks => rate.ln(),
            Self::Random(rate) => (-rate).ln_1p(),
            _ => 0.0,
        }
    }

    /// Whether the rule reads the student's help token.
    pub(crate) fn reads_help_token(&self) -> bool {
        matches!(self, Self::Learned | Self::Threshold { confidence: Confidence::HelpLogOdds, .. })
    }

    /// # Errors
    /// [`DecodeError::HelpRule`] if a rate or a threshold is invalid.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let valid = match *self {
            Self::Random(rate) => (0.0..=1.0).contains(&rate),
            Self::Threshold { threshold, .. } => !threshold.is_nan(),
            Self::Never | Self::Always | Self::Every(_) | Self::Adaptive(_) | Self::Learned => true,
        };
        if valid { Ok(()) } else { Err(DecodeError::HelpRule { rule: *self }) }
    }
}

#[cfg(test)]
mod tests {
    use wheels_lm::ModelSpec;
    use wheels_text::Seed;

    use super::*;
    use crate::Vocabulary;

    /// Whether a rule asks if the three tokens have these weights, and the help token has the weight 1.5.
    fn asks(rule: HelpRule, probs: [f64; 3]) -> bool {
        let vocabulary = Vocabulary::new(
            &ModelSpec { vocab_size: 4, d_model: 4, pad: 0, eos: vec![1], max_positions: None },
            vec![3],
            vec![],
        );
        let [a, b, c] = probs.map(|p| p.ln() as f32);
        let mut logits = [a, b, c, 1.5_f32.ln()];
        let distribution = Distribution::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        rule.score(&distribution, 3, &mut Seed(1).rng()) > 0.0
    }

    #[test]
    fn a_threshold_asks_below_a_probability_and_above_an_entropy() {
        let probs = [0.6, 0.3, 0.1];
        let rule = |confidence, threshold| HelpRule::Threshold { confidence, threshold };
        assert!(asks(rule(Confidence::MaxProb, 0.61), probs));
        assert!(!asks(rule(Confidence::MaxProb, 0.59), probs));
        assert!(asks(rule(Confidence::Margin, 0.31), probs));
        assert!(!asks(rule(Confidence::Margin, 0.29), probs));
        assert!(asks(rule(Confidence::Entropy, 0.89), probs));
        assert!(!asks(rule(Confidence::Entropy, 0.90), probs));
        // The tokens have a total weight of 1, and the help token has 1.5.
        assert!(asks(rule(Confidence::HelpLogOdds, 0.40), probs));
        assert!(!asks(rule(Confidence::HelpLogOdds, 0.41), probs));
    }

    #[test]
    fn the_learned_rule_asks_if_the_help_token_is_more_likely_than_not() {
        // The help token has a weight of 1.5, and the tokens have a total weight of 1 and of 2.
        assert!(asks(HelpRule::Learned, [0.6, 0.3, 0.1]));
        assert!(!asks(HelpRule::Learned, [1.2, 0.6, 0.2]));
    }

    #[test]
    fn the_rule_never_does_not_ask_and_the_rule_always_asks() {
        assert!(!asks(HelpRule::Never, [0.6, 0.3, 0.1]));
        assert!(asks(HelpRule::Always, [0.6, 0.3, 0.1]));
    }

    #[test]
    fn a_fixed_draft_length_asks_once_the_draft_is_complete() {
        // Three tokens have been written.
        assert!([0, 2, 3].iter().all(|&tokens| asks(HelpRule::Every(tokens), [0.6, 0.3, 0.1])));
        assert!(!asks(HelpRule::Every(4), [0.6, 0.3, 0.1]));
    }

    #[test]
    fn an_adaptive_draft_grows_after_acceptance_and_shrinks_after_rollback() {
        let accepted = [true, true, false, false, false, false, false, false];
        let drafts = accepted.iter().scan(HelpRule::Adaptive(2), |rule, &accepted| {
            *rule = rule.after_call(accepted);
            Some(*rule)
        });
        assert_eq!(drafts.collect::<Vec<_>>(), [4, 6, 5, 4, 3, 2, 1, 1].map(HelpRule::Adaptive));
        assert_eq!(HelpRule::Every(4).after_call(true), HelpRule::Every(4));
    }

    #[test]
    fn random_help_asks_at_its_rate_and_reports_its_log_prob() {
        let vocabulary = Vocabulary::new(
            &ModelSpec { vocab_size: 2, d_model: 2, pad: 0, eos: vec![1], max_positions: None },
            vec![2],
            vec![],
        );
        let mut logits = [0.0, 0.0];
        let distribution = Distribution::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        let mut rng = Seed(5).rng();
        let mut count =
            |rate| (0..20_000).filter(|_| HelpRule::Random(rate).score(&distribution, 0, &mut rng) > 0.0).count();
        assert_eq!((count(0.0), count(1.0)), (0, 20_000));
        // Four standard deviations of a binomial count are 226.
        assert!(count(0.2).abs_diff(4_000) < 226);
        let rule = HelpRule::Random(0.2);
        assert!((rule.log_prob(true).exp() - 0.2).abs() < 1e-12);
        assert!((rule.log_prob(false).exp() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn rules_round_trip_through_json_and_old_files_still_open() {
        let threshold = Confidence::MaxProb.below(0.5);
        for (rule, json) in [
            (HelpRule::Learned, r#""learned""#),
            (HelpRule::Random(0.2), r#"{"random":0.2}"#),
            (HelpRule::Every(4), r#"{"every":4}"#),
            (HelpRule::Adaptive(4), r#"{"adaptive":4}"#),
            (threshold, r#"{"threshold":{"confidence":"max_prob","threshold":0.5}}"#),
        ] {
            assert_eq!(serde_json::to_string(&rule).expect("a rule is JSON"), json);
            assert_eq!(serde_json::from_str::<HelpRule>(json).expect("JSON is a rule"), rule);
        }
        let old = r#"{"confidence":{"measure":"max_prob","threshold":0.5}}"#;
        assert_eq!(serde_json::from_str::<HelpRule>(old).expect("the names of earlier versions"), threshold);
    }

    #[test]
    fn invalid_rates_and_thresholds_are_rejected() {
        for rule in [HelpRule::Random(1.5), HelpRule::Random(f64::NAN), Confidence::Entropy.below(f64::NAN)] {
            assert!(matches!(rule.check(), Err(DecodeError::HelpRule { .. })), "{rule:?}");
        }
        assert!(HelpRule::Random(1.0).check().is_ok());
    }
}
