//! When to ask for help.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Law};

/// A rule that says where a policy asks for help.
///
/// All but [`Learned`](Self::Learned) work with any model, and ask the first expert at the desk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asking {
    /// Nowhere.
    Never,
    /// Everywhere.
    Always,
    /// At each step with this probability, 0 to 1.
    Random(f64),
    /// Wherever it has written so many tokens since the last help, or since its text began.
    Every(usize),
    /// As [`Every`](Self::Every), beginning with so many tokens: two more after a call that took nothing back, one less, and
    /// at least one, after a call that did.
    Adaptive(usize),
    /// Where the student is unsure of its next word.
    Confidence {
        /// What is measured.
        measure: Measure,
        /// Where a probability lies below this, or an entropy or log-odds above it, the student asks.
        threshold: f64,
    },
    /// Where the student's own help column says so: pi(tau | s) > 1/2. With several experts tau is any of theirs, and
    /// the likeliest is asked.
    #[default]
    Learned,
}

/// A measure of how much a student needs help with its next word. Help columns are no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The probability of the likeliest word, 0 to 1.
    MaxProb,
    /// The probability of the likeliest word minus that of the second, 0 to 1.
    Margin,
    /// The entropy of the distribution over words, in nats.
    Entropy,
    /// The log-odds of asking that the student's own help column gives, in nats: [`Asking::Learned`] with a threshold
    /// other than 0.
    HelpLogOdds,
}

impl Asking {
    /// How much the rule wants help here: it asks where this is positive.
    ///
    /// For confidence, the distance past the threshold; for the learned rule, the log-odds of asking in nats; for
    /// chance, the rate minus a uniform number, the only use of `rng`. `written` is the number of tokens that the
    /// student has written since the last help.
    pub fn score(&self, law: &Law<'_>, written: usize, rng: &mut impl Rng) -> f64 {
        match *self {
            Self::Never => f64::NEG_INFINITY,
            Self::Always => f64::INFINITY,
            Self::Random(rate) => rate - rng.random::<f64>(),
            Self::Every(tokens) | Self::Adaptive(tokens) => written as f64 + 1.0 - tokens as f64,
            Self::Confidence { measure, threshold } => measure.need(law) - measure.orient(threshold),
            Self::Learned => law.help_log_odds(),
        }
    }

    /// The rule after a call that let all stand, or did not.
    pub(crate) fn after_review(self, stood: bool) -> Self {
        match self {
            Self::Adaptive(tokens) if stood => Self::Adaptive(tokens + 2),
            Self::Adaptive(tokens) => Self::Adaptive(tokens.saturating_sub(1).max(1)),
            rule => rule,
        }
    }

    /// The log-probability, in nats, of asking or of not asking, given that the rule did so.
    ///
    /// It is 0 for rules without chance: they could not have done otherwise.
    pub(crate) fn log_prob(&self, asks: bool) -> f64 {
        match *self {
            Self::Random(rate) if asks => rate.ln(),
            Self::Random(rate) => (-rate).ln_1p(),
            _ => 0.0,
        }
    }

    /// # Errors
    /// [`DecodeError::Asking`] where a rate or threshold is no sensible number.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let fine = match *self {
            Self::Random(rate) => (0.0..=1.0).contains(&rate),
            Self::Confidence { threshold, .. } => !threshold.is_nan(),
            Self::Never | Self::Always | Self::Every(_) | Self::Adaptive(_) | Self::Learned => true,
        };
        if fine { Ok(()) } else { Err(DecodeError::Asking { rule: *self }) }
    }
}

impl Measure {
    /// The measure of a distribution, in its own unit.
    pub fn of(self, law: &Law<'_>) -> f64 {
        match self {
            Self::MaxProb => law.max_prob(),
            Self::Margin => law.margin(),
            Self::Entropy => law.entropy(),
            Self::HelpLogOdds => law.help_log_odds(),
        }
    }

    /// The measure turned so that more means more need of help: a probability is negated.
    pub fn need(self, law: &Law<'_>) -> f64 {
        self.orient(self.of(law))
    }

    /// The rule that asks where the [`need`](Self::need) exceeds this one.
    pub fn beyond(self, need: f64) -> Asking {
        Asking::Confidence { measure: self, threshold: self.orient(need) }
    }

    /// From the measure's own unit to a need, and back.
    fn orient(self, value: f64) -> f64 {
        match self {
            Self::MaxProb | Self::Margin => -value,
            Self::Entropy | Self::HelpLogOdds => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use wheels_lm::ModelSpec;
    use wheels_text::Seed;

    use super::*;
    use crate::Vocabulary;

    /// Whether a rule asks where words have these probabilities and the help column has odds of 3 to 2 against them.
    fn asks(rule: Asking, probs: [f64; 3]) -> bool {
        let vocabulary = Vocabulary::new(&ModelSpec { vocab_size: 4, pad: 0, eos: 1 }, vec![3], vec![]);
        let [a, b, c] = probs.map(|p| p.ln() as f32);
        let mut logits = [a, b, c, 1.5_f32.ln()];
        let law = Law::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        rule.score(&law, 3, &mut Seed(1).rng()) > 0.0
    }

    #[test]
    fn confidence_asks_below_a_probability_and_above_an_entropy() {
        let probs = [0.6, 0.3, 0.1];
        let rule = |measure, threshold| Asking::Confidence { measure, threshold };
        assert!(asks(rule(Measure::MaxProb, 0.61), probs));
        assert!(!asks(rule(Measure::MaxProb, 0.59), probs));
        assert!(asks(rule(Measure::Margin, 0.31), probs));
        assert!(!asks(rule(Measure::Margin, 0.29), probs));
        assert!(asks(rule(Measure::Entropy, 0.89), probs));
        assert!(!asks(rule(Measure::Entropy, 0.90), probs));
        // The words weigh 1 in all, the help column 1.5.
        assert!(asks(rule(Measure::HelpLogOdds, 0.40), probs));
        assert!(!asks(rule(Measure::HelpLogOdds, 0.41), probs));
    }

    #[test]
    fn the_learned_rule_asks_past_one_half() {
        // 1.5 against words of total weight 1 and 2.
        assert!(asks(Asking::Learned, [0.6, 0.3, 0.1]));
        assert!(!asks(Asking::Learned, [1.2, 0.6, 0.2]));
    }

    #[test]
    fn never_and_always_mean_it() {
        assert!(!asks(Asking::Never, [0.6, 0.3, 0.1]));
        assert!(asks(Asking::Always, [0.6, 0.3, 0.1]));
    }

    #[test]
    fn a_fixed_draft_asks_once_it_is_written() {
        // Three tokens have been written.
        assert!([0, 2, 3].iter().all(|&tokens| asks(Asking::Every(tokens), [0.6, 0.3, 0.1])));
        assert!(!asks(Asking::Every(4), [0.6, 0.3, 0.1]));
    }

    #[test]
    fn an_adaptive_draft_grows_by_what_stands() {
        let stood = [true, true, false, false, false, false, false, false];
        let drafts = stood.iter().scan(Asking::Adaptive(2), |rule, &stood| {
            *rule = rule.after_review(stood);
            Some(*rule)
        });
        assert_eq!(drafts.collect::<Vec<_>>(), [4, 6, 5, 4, 3, 2, 1, 1].map(Asking::Adaptive));
        assert_eq!(Asking::Every(4).after_review(true), Asking::Every(4));
    }

    #[test]
    fn chance_asks_at_its_rate_and_knows_it() {
        let vocabulary = Vocabulary::new(&ModelSpec { vocab_size: 2, pad: 0, eos: 1 }, vec![2], vec![]);
        let mut logits = [0.0, 0.0];
        let law = Law::read(&mut logits, &vocabulary, &[]).expect("finite logits");
        let mut rng = Seed(5).rng();
        let mut count = |rate| (0..20_000).filter(|_| Asking::Random(rate).score(&law, 0, &mut rng) > 0.0).count();
        assert_eq!((count(0.0), count(1.0)), (0, 20_000));
        // Four standard deviations of a binomial count are 226.
        assert!(count(0.2).abs_diff(4_000) < 226);
        let rule = Asking::Random(0.2);
        assert!((rule.log_prob(true).exp() - 0.2).abs() < 1e-12);
        assert!((rule.log_prob(false).exp() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn rules_are_written_in_words() {
        let confidence = Asking::Confidence { measure: Measure::MaxProb, threshold: 0.5 };
        for (rule, json) in [
            (Asking::Learned, r#""learned""#),
            (Asking::Random(0.2), r#"{"random":0.2}"#),
            (Asking::Every(4), r#"{"every":4}"#),
            (Asking::Adaptive(4), r#"{"adaptive":4}"#),
            (confidence, r#"{"confidence":{"measure":"max_prob","threshold":0.5}}"#),
        ] {
            assert_eq!(serde_json::to_string(&rule).expect("a rule is JSON"), json);
            assert_eq!(serde_json::from_str::<Asking>(json).expect("JSON is a rule"), rule);
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for rule in [Asking::Random(1.5), Asking::Random(f64::NAN), Measure::Entropy.beyond(f64::NAN)] {
            assert!(matches!(rule.check(), Err(DecodeError::Asking { .. })), "{rule:?}");
        }
        assert!(Asking::Random(1.0).check().is_ok());
    }
}
