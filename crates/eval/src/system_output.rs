//! The texts that one decoder wrote for a dataset.

use serde::{Deserialize, Serialize};
use wheels_decode::{DecodeStats, Source, Trajectory};

/// The texts that one decoder wrote for a dataset, and its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemOutput {
    /// The texts, in the order of the data.
    pub texts: Vec<DecodedText>,
    /// The work of the decoder for all texts together.
    pub stats: DecodeStats,
}

/// A decoded text with its tokens, and for each token whether an expert chose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodedText {
    /// The text.
    pub text: String,
    /// The tokens of the text. They include the end-of-text token unless the text is truncated.
    pub tokens: Vec<u32>,
    /// Whether an expert chose each token.
    #[serde(rename = "authors", with = "authors")]
    helped: Vec<bool>,
    /// Whether the text was cut at the decoder's length limit. False if a file of an earlier version does not say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl SystemOutput {
    /// The texts without tokens, in the order of the data.
    pub fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        self.texts.iter().map(|decoded| decoded.text.as_str())
    }

    /// The number of texts that were cut at the decoder's length limit.
    pub fn truncated(&self) -> usize {
        self.texts.iter().filter(|decoded| decoded.truncated).count()
    }

    /// The number of texts of two outputs that differ in a token or in who chose it.
    ///
    /// # Panics
    /// If the outputs have different numbers of texts.
    pub fn count_differing(&self, other: &Self) -> u64 {
        let (left, right) = (&self.texts, &other.texts);
        assert_eq!(left.len(), right.len(), "the outputs have {} and {} texts", left.len(), right.len());
        let mut differing = 0;
        for (left, right) in left.iter().zip(right) {
            differing += u64::from(left.tokens != right.tokens || left.helped != right.helped);
        }
        differing
    }
}

impl DecodedText {
    /// A trajectory with its text.
    pub(crate) fn new(text: String, trajectory: &Trajectory) -> Self {
        let steps = &trajectory.steps;
        Self {
            text,
            tokens: steps.iter().map(|step| step.token).collect(),
            helped: steps.iter().map(|step| step.source != Source::Student).collect(),
            truncated: trajectory.is_truncated(),
        }
    }

    /// For each token, whether an expert chose it.
    pub fn helped(&self) -> impl Iterator<Item = bool> {
        self.helped.iter().copied()
    }
}

/// The authors of the tokens in JSON: a text with one character per token, `s` for the student and `t` for an expert.
///
/// A file of outputs holds tens of thousands of tokens, and a list of booleans would take six times the space.
mod authors {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(helped: &[bool], serializer: S) -> Result<S::Ok, S::Error> {
        let authors: String = helped.iter().map(|&helped| if helped { 't' } else { 's' }).collect();
        serializer.serialize_str(&authors)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<bool>, D::Error> {
        let authors = String::deserialize(deserializer)?;
        let mut helped = Vec::with_capacity(authors.len());
        for author in authors.chars() {
            match author {
                's' => helped.push(false),
                't' => helped.push(true),
                _ => return Err(D::Error::custom(format!("a token's author is {author:?}; it must be 's' or 't'"))),
            }
        }
        Ok(helped)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use wheels_decode::{Action, End, Step};

    use super::*;

    /// An output in which `t` stands for a token from an expert, and any other character for one of the student's.
    pub(crate) fn output(texts: &[&str], end: End) -> SystemOutput {
        let mut decoded = Vec::new();
        for authors in texts {
            let mut steps = Vec::new();
            for author in authors.chars() {
                let source = if author == 't' { Source::Expert(0) } else { Source::Student };
                steps.push(Step { action: Action::Token, token: 0, source, log_prob: 0.0, cost: 0.0 });
            }
            decoded.push(DecodedText::new(String::new(), &Trajectory { steps, end, failures: vec![] }));
        }
        SystemOutput { texts: decoded, stats: DecodeStats::default() }
    }

    #[test]
    fn texts_differ_if_other_tokens_are_helped() {
        let (left, right) = (output(&["st", "ss", "tt"], End::Eos), output(&["st", "st", "tt"], End::Eos));
        assert_eq!(left.count_differing(&right), 1);
        assert_eq!(left.count_differing(&left), 0);
    }

    #[test]
    #[should_panic(expected = "1 and 2 texts")]
    fn outputs_of_different_lengths_are_not_compared() {
        output(&["s"], End::Eos).count_differing(&output(&["s", "s"], End::Eos));
    }

    #[test]
    fn texts_cut_at_the_length_limit_are_counted() {
        let mut both = output(&["ss", "s"], End::Eos);
        assert_eq!(both.truncated(), 0);
        both.texts.extend(output(&["sss"], End::Length).texts);
        assert_eq!(both.truncated(), 1);
    }

    #[test]
    fn files_from_before_truncation_was_stored_still_open() {
        let old = r#"{"text":"un editor","tokens":[5,6,1],"authors":"sts"}"#;
        let decoded: DecodedText = serde_json::from_str(old).expect("an old text");
        assert_eq!(decoded.helped().collect::<Vec<_>>(), [false, true, false]);
        assert!(!decoded.truncated);
        assert_eq!(serde_json::to_string(&decoded).expect("plain data"), old);
    }

    #[test]
    fn a_truncated_text_survives_json() {
        let output = output(&["stt"], End::Length);
        let json = serde_json::to_string(&output).expect("plain data");
        assert!(json.contains(r#""authors":"stt","truncated":true"#), "{json}");
        assert_eq!(serde_json::from_str::<SystemOutput>(&json).expect("the same data"), output);
    }

    #[test]
    fn an_unknown_author_is_an_error_that_names_it() {
        let error = serde_json::from_str::<DecodedText>(r#"{"text":"","tokens":[5],"authors":"x"}"#);
        let message = error.expect_err("x is neither s nor t").to_string();
        assert!(message.contains("'x'"), "{message}");
    }
}
