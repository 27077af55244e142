//! Where the student asks: its log-odds of asking beside the divergence and the regret that help would save.

use serde::{Deserialize, Serialize};
use training_wheels::prelude::*;
use wheels_distill::AskSample;
use wheels_eval::RegretCaught;

/// The budget that the prompts of the texts have, percent.
pub(crate) const PERCENT: u8 = 20;

/// The largest number of texts.
const TEXTS: usize = 1000;
/// The largest number of tokens in the figure of the log-odds.
const DRAWN: usize = 5000;
/// The fractions of the tokens at which rules ask.
const FRACTIONS: [f64; 4] = [0.05, 0.1, 0.2, 0.3];

/// A rule's score of a token. It asks first at the tokens with the highest scores.
type Score = fn(&AskSample) -> f64;

const RULES: [(&str, Score); 4] = [
    ("learned", |sample| sample.log_odds),
    (RegretCaught::MAX_PROB, |sample| -sample.max_log_prob),
    ("entropy", |sample| sample.entropy),
    ("oracle", |sample| sample.regret),
];

/// Where the student asks, on texts that it writes under one budget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Pairs of the log-odds of asking and the divergence from the teacher, nats.
    pub(crate) log_odds: Vec<[f64; 2]>,
    /// The share of the regret that each rule catches.
    pub(crate) regret_caught: Vec<RegretCaught>,
}

impl Asked {
    pub(crate) fn measure(pair: &Pair, data: &Dataset) -> Result<Self, Box<dyn std::error::Error>> {
        let texts = pair.ask_samples(&data.clone().take(TEXTS), HelpBudget::percent(PERCENT))?;
        let numbers =
            |score: Score| -> Vec<Vec<f64>> { texts.iter().map(|text| text.iter().map(score).collect()).collect() };
        let rules = RULES.map(|(name, score)| (name, numbers(score)));
        let regrets = numbers(|sample| sample.regret);
        let mut regret_caught = Vec::new();
        for tokens in FRACTIONS {
            regret_caught.extend(RegretCaught::measure(&regrets, &rules, tokens));
        }
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let drawn = texts.iter().flatten().step_by(tokens.div_ceil(DRAWN).max(1));
        Ok(Self { log_odds: drawn.map(|sample| [sample.log_odds, sample.divergence]).collect(), regret_caught })
    }
}
