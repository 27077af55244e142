//! A decoded text, with its parts by author.

use serde::Serialize;
use wheels_decode::{HelpFailure, Source, Trajectory};
use wheels_text::Tokenizer;

use crate::Error;

/// A decoded text that says which parts the student wrote and which an expert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The number of tokens, including the end-of-text token.
    pub tokens: usize,
    /// The number of tokens that an expert chose.
    pub helped: usize,
    /// Whether the text was cut at the length limit.
    pub truncated: bool,
    /// The parts of the text, each by one author. Joined, they are equal to `text`.
    pub spans: Vec<AnswerSpan>,
    /// The experts that failed while the text was written. The student finished it without them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<HelpFailure>,
}

/// A part of a text that one author wrote: the student or an expert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerSpan {
    /// The text of the part.
    pub text: String,
    /// Whether an expert wrote it.
    pub helped: bool,
}

impl Answer {
    /// # Errors
    /// [`Error::Text`] if a token is not in the tokenizer's vocabulary.
    pub(crate) fn new(tokenizer: &Tokenizer, trajectory: &Trajectory) -> Result<Self, Error> {
        let mut stream = tokenizer.stream();
        let mut spans: Vec<AnswerSpan> = Vec::new();
        let mut push = |text: Option<String>, helped: Option<bool>| {
            let Some(text) = text.filter(|text| !text.is_empty()) else { return };
            match spans.last_mut() {
                Some(last) if helped.is_none_or(|helped| last.helped == helped) => last.text.push_str(&text),
                _ => spans.push(AnswerSpan { text, helped: helped.unwrap_or(false) }),
            }
        };
        for step in &trajectory.steps {
            push(stream.push(step.token)?, Some(step.source != Source::Student));
        }
        push(stream.finish()?, None);
        Ok(Self {
            text: spans.iter().map(|span| span.text.as_str()).collect(),
            tokens: trajectory.steps.len(),
            helped: trajectory.helped(),
            truncated: trajectory.is_truncated(),
            spans,
            failures: trajectory.failures.clone(),
        })
    }

    /// The text with `open` and `close` around each part by an expert. Whitespace at the ends of a part stays outside.
    pub fn marked(&self, open: &str, close: &str) -> String {
        let mut marked = String::new();
        for AnswerSpan { text, helped } in &self.spans {
            let inner = text.trim();
            if !*helped || inner.is_empty() {
                marked.push_str(text);
                continue;
            }
            let start = text.len() - text.trim_start().len();
            marked.push_str(&text[..start]);
            marked.push_str(open);
            marked.push_str(inner);
            marked.push_str(close);
            marked.push_str(&text[start + inner.len()..]);
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_around_words_and_not_around_spaces() {
        let span = |text: &str, helped| AnswerSpan { text: text.into(), helped };
        let spans = vec![span("un", false), span(" editor di ", true), span("testo", false), span(" ", true)];
        let answer = Answer { text: String::new(), tokens: 6, helped: 3, truncated: false, spans, failures: vec![] };
        assert_eq!(answer.marked("[", "]"), "un [editor di] testo ");
    }
}
