//! How a decoder uses a budget that is a number of tokens.

use serde::{Deserialize, Serialize};

use crate::{Scores, SystemOutput};

/// How a decoder uses a budget of a number of tokens in each text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenBudgetUse {
    /// The name of the decoder.
    pub decoder: String,
    /// The budget that the prompts state, tokens.
    pub budget: u32,
    /// The mean number of tokens that an expert chose in a text.
    pub used: f64,
    /// The fraction of the texts in which an expert chose more tokens than the budget, 0 to 1.
    pub exceeded: f64,
    /// The scores of the texts.
    pub scores: Scores,
}

impl TokenBudgetUse {
    /// Counts the tokens of the experts in the texts of a decoder under a budget.
    ///
    /// # Panics
    /// If there are no texts.
    pub fn measure(decoder: &str, budget: u32, output: &SystemOutput, scores: Scores) -> Self {
        assert!(!output.texts.is_empty(), "there are no texts to measure");
        let helped = output.texts.iter().map(|text| text.helped().filter(|&helped| helped).count());
        let exceeded = helped.clone().filter(|&helped| helped > budget as usize).count();
        let texts = output.texts.len() as f64;
        let used = helped.sum::<usize>() as f64 / texts;
        Self { decoder: decoder.to_owned(), budget, used, exceeded: exceeded as f64 / texts, scores }
    }
}

#[cfg(test)]
mod tests {
    use wheels_decode::DecodeStats;

    use super::*;
    use crate::CorpusStats;

    #[test]
    fn the_tokens_of_the_teacher_are_counted_in_each_text() {
        let texts = r#"[
            {"text": "a b", "tokens": [5, 6, 7, 1], "authors": "tsst"},
            {"text": "c", "tokens": [8, 1], "authors": "ss"},
            {"text": "d", "tokens": [9, 1], "authors": "ts"}
        ]"#;
        let texts = serde_json::from_str(texts).expect("texts");
        let output = SystemOutput { texts, stats: DecodeStats::default() };
        let scores = CorpusStats::new(output.texts(), ["a b", "c", "d"]).scores();
        let found = TokenBudgetUse::measure("enforced", 1, &output, scores);
        assert_eq!((found.used, found.exceeded), (1.0, 1.0 / 3.0));
        assert_eq!((found.decoder.as_str(), found.budget, found.scores.chrf), ("enforced", 1, 100.0));
    }
}
