//! Rollouts as data on the host: token ids and the teacher's distributions.

use serde::{Deserialize, Serialize};
use wheels_lm::TokenBatch;
use wheels_text::Prompt;

use crate::TeacherDistributions;

/// A micro-batch of texts, with the teacher's distributions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The texts.
    pub rows: Vec<RolloutRow>,
    /// The index of the training pair of each text. Empty in checkpoints of earlier versions.
    #[serde(default)]
    pub pairs: Vec<u32>,
    /// The teacher's distributions at every position of `[batch, time]`, padding included. A checkpoint omits them,
    /// because the teacher can compute them again, or its cache still has them.
    #[serde(skip)]
    pub teacher: Option<TeacherDistributions>,
}

/// One text of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutRow {
    /// The prompt, with its budget.
    pub prompt: Prompt,
    /// The tokens of the text, including the end-of-text token if it has one.
    #[serde(alias = "target")]
    pub tokens: Vec<u32>,
    /// For each token, whether the teacher chose it.
    pub helped: Vec<bool>,
    /// The budget as a fraction of the tokens, 0 to 1.
    #[serde(alias = "share")]
    pub budget: f64,
    /// The price of help under this budget, nats. It is set each time the row becomes part of a batch.
    #[serde(default)]
    pub price: f32,
    /// Whether the student wrote the text greedily, as it will be deployed.
    pub deployed: bool,
    /// Whether the text ends with the end-of-text token.
    pub ended: bool,
}

impl Rollout {
    /// Texts that the teacher has not read yet.
    pub(crate) fn new(rows: Vec<RolloutRow>, pairs: Vec<u32>) -> Self {
        Self { rows, pairs, teacher: None }
    }

    /// One kind of token ids of all rows, such as the tokens of their texts.
    pub(crate) fn ids(&self, pad: u32, of: fn(&RolloutRow) -> &Vec<u32>) -> TokenBatch {
        TokenBatch::new(&self.rows.iter().map(of).collect::<Vec<_>>(), pad)
    }

    pub(crate) fn tokens(&self, pad: u32) -> TokenBatch {
        self.ids(pad, |row| &row.tokens)
    }

    /// The size in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let length = |row: &RolloutRow| row.prompt.student.len() + row.prompt.expert.len() + row.tokens.len();
        let ids: usize = self.rows.iter().map(length).sum();
        4 * ids + self.teacher.as_ref().map_or(0, TeacherDistributions::bytes)
    }
}

#[cfg(test)]
mod tests {
    use wheels_text::HelpBudget;

    use super::*;

    #[test]
    fn rows_of_an_earlier_version_can_be_read() {
        let json = r#"{
            "prompt": {"student": [5, 3, 1], "expert": [3, 1], "budget": "20%"},
            "target": [7, 1], "helped": [true, false], "share": 0.2, "deployed": true, "ended": true
        }"#;
        let row: RolloutRow = serde_json::from_str(json).expect("a row");
        let expected = RolloutRow {
            prompt: Prompt { student: vec![5, 3, 1], expert: vec![3, 1], budget: HelpBudget::percent(20) },
            tokens: vec![7, 1],
            helped: vec![true, false],
            budget: 0.2,
            price: 0.0,
            deployed: true,
            ended: true,
        };
        assert_eq!(row, expected);
        let json = serde_json::to_string(&row).expect("ids and numbers are JSON");
        assert!(json.contains("\"tokens\"") && json.contains("\"budget\":0.2"), "new rows have the new names: {json}");
        assert_eq!(serde_json::from_str::<RolloutRow>(&json).expect("a row"), expected);
    }
}
