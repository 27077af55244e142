//! The JSON of answers, whole or in parts.

use serde_json::{Map, Value, json};
use training_wheels::text::{HelpBudget, Tokenizer};

use super::answer::{Answer, Head, Text};
use crate::engine::{Author, End, Piece, ScoredToken, Usage};

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Completion {
        /// Whether log-probs name tokens as "token_id:7", which is exact.
        tokens_as_ids: bool,
    },
    Chat,
}

/// What OpenAI's API says for the log-prob of a token that cannot be written, nats.
const IMPOSSIBLE: f64 = -9999.0;

impl Shape {
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Self::Completion { .. } => "cmpl",
            Self::Chat => "chatcmpl",
        }
    }

    /// A whole answer.
    pub(crate) fn whole(self, head: &Head, tokenizer: &Tokenizer, answer: &Answer) -> Value {
        let choices: Vec<Value> =
            (0..).zip(&answer.texts).map(|(index, text)| self.choice(index, tokenizer, text)).collect();
        let object = if self == Self::Chat { "chat.completion" } else { "text_completion" };
        let mut value = self.head(head, object, choices);
        value["usage"] = usage(&answer.usage, head.budget);
        value
    }

    fn choice(self, index: usize, tokenizer: &Tokenizer, text: &Text) -> Value {
        let mut choice = json!({
            "index": index,
            "logprobs": self.log_probs(tokenizer, &text.tokens),
            "finish_reason": text.end,
            "spans": text.spans,
        });
        match self {
            Self::Completion { .. } => choice["text"] = text.text.as_str().into(),
            Self::Chat => {
                choice["message"] = json!({ "role": "assistant", "content": text.text, "refusal": null });
            }
        }
        choice
    }

    /// A part of an answer: the first one of a text if `author` is None.
    pub(crate) fn part(
        self,
        head: &Head,
        tokenizer: &Tokenizer,
        index: usize,
        (author, piece): (Option<Author>, &Piece),
    ) -> Value {
        let mut choice = json!({
            "index": index,
            "logprobs": self.log_probs(tokenizer, &piece.tokens),
            "finish_reason": null,
        });
        if let Some(author) = author {
            choice["author"] = json!(author);
        }
        match self {
            Self::Completion { .. } => choice["text"] = piece.text.as_str().into(),
            Self::Chat if author.is_none() => choice["delta"] = json!({ "role": "assistant", "content": "" }),
            Self::Chat => choice["delta"] = json!({ "content": piece.text }),
        }
        self.head(head, self.part_object(), vec![choice])
    }

    /// The last part of a text.
    pub(crate) fn end(self, head: &Head, index: usize, end: End) -> Value {
        let mut choice = json!({ "index": index, "logprobs": null, "finish_reason": end });
        match self {
            Self::Completion { .. } => choice["text"] = "".into(),
            Self::Chat => choice["delta"] = json!({}),
        }
        self.head(head, self.part_object(), vec![choice])
    }

    /// The part after the last text, with the usage.
    pub(crate) fn usage(self, head: &Head, total: &Usage) -> Value {
        let mut value = self.head(head, self.part_object(), vec![]);
        value["usage"] = usage(total, head.budget);
        value
    }

    fn part_object(self) -> &'static str {
        if self == Self::Chat { "chat.completion.chunk" } else { "text_completion" }
    }

    fn head(self, Head { id, created, model, .. }: &Head, object: &str, choices: Vec<Value>) -> Value {
        json!({ "id": id, "object": object, "created": created, "model": model, "choices": choices })
    }

    /// Null if no log-probs are wanted.
    fn log_probs(self, tokenizer: &Tokenizer, tokens: &[ScoredToken]) -> Value {
        if tokens.is_empty() {
            return Value::Null;
        }
        match self {
            Self::Completion { tokens_as_ids } => {
                let name = |id: u32| if tokens_as_ids { format!("token_id:{id}") } else { text_of(tokenizer, id) };
                let mut lists: [Vec<Value>; 4] = Default::default();
                for token in tokens {
                    let mut top = Map::new();
                    // The token itself is among its alternatives, as in OpenAI's API.
                    let own = token.log_prob.map(|log_prob| (token.id, log_prob));
                    for (id, log_prob) in token.top.iter().copied().chain(own) {
                        top.entry(name(id)).or_insert(log_prob.into());
                    }
                    lists[0].push(name(token.id).into());
                    lists[1].push(token.log_prob.into());
                    lists[2].push(if token.log_prob.is_some() { Value::Object(top) } else { Value::Null });
                    lists[3].push(token.offset.into());
                }
                let [tokens, token_logprobs, top_logprobs, text_offset] = lists;
                json!({
                    "tokens": tokens,
                    "token_logprobs": token_logprobs,
                    "top_logprobs": top_logprobs,
                    "text_offset": text_offset,
                })
            }
            Self::Chat => {
                let entry = |id: u32, log_prob: Option<f64>| {
                    let token = text_of(tokenizer, id);
                    json!({ "token": token, "bytes": token.as_bytes(), "logprob": log_prob.unwrap_or(IMPOSSIBLE) })
                };
                let mut content = Vec::with_capacity(tokens.len());
                for token in tokens {
                    let mut value = entry(token.id, token.log_prob);
                    let top: Vec<Value> = token.top.iter().map(|&(id, log_prob)| entry(id, Some(log_prob))).collect();
                    value["top_logprobs"] = top.into();
                    content.push(value);
                }
                json!({ "content": content, "refusal": null })
            }
        }
    }
}

/// The text of a token; the name of a special one.
fn text_of(tokenizer: &Tokenizer, id: u32) -> String {
    match tokenizer.decode(&[id]) {
        Ok(text) if !tokenizer.is_special(id) => text,
        _ => tokenizer.token(id).unwrap_or_default(),
    }
}

/// The usage, with the tokens of the student and of the teacher apart.
fn usage(total: &Usage, budget: Option<HelpBudget>) -> Value {
    let &Usage { prompt_tokens, teacher_prompt_tokens, student_tokens, teacher_tokens, teacher_calls } = total;
    let completion_tokens = student_tokens + teacher_tokens;
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "student_tokens": student_tokens,
        "teacher_tokens": teacher_tokens,
        "teacher_calls": teacher_calls,
        "teacher_prompt_tokens": teacher_prompt_tokens,
        "budget": budget,
    })
}
