//! The JSON of answers, whole or in parts.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use training_wheels::text::HelpBudget;

use super::answer::{Answer, Text};
use super::{App, unix_time};
use crate::budget;
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

/// The format of one answer.
pub(crate) struct Format {
    pub(crate) shape: Shape,
    pub(crate) app: Arc<App>,
    pub(crate) id: String,
    /// Unix time, seconds.
    pub(crate) created: u64,
    /// None without a teacher.
    pub(crate) budget: Option<HelpBudget>,
}

impl Format {
    pub(crate) fn new(shape: Shape, app: Arc<App>, budget: HelpBudget) -> Self {
        let kind = if shape == Shape::Chat { "chatcmpl" } else { "cmpl" };
        let id = format!("{kind}-{:016x}", app.random());
        Self { shape, id, created: unix_time(), budget: app.has_teacher.then_some(budget), app }
    }

    /// A whole answer.
    pub(crate) fn whole(&self, answer: &Answer) -> Value {
        let choices = answer.texts.iter().enumerate().map(|(index, text)| self.choice(index, text)).collect();
        let object = if self.shape == Shape::Chat { "chat.completion" } else { "text_completion" };
        let mut value = self.object(object, choices);
        value["usage"] = self.usage(&answer.usage);
        value
    }

    fn choice(&self, index: usize, text: &Text) -> Value {
        let mut choice = json!({
            "index": index,
            "logprobs": self.log_probs(&text.tokens),
            "finish_reason": text.end,
            "spans": text.spans,
        });
        match self.shape {
            Shape::Completion { .. } => choice["text"] = text.text.as_str().into(),
            Shape::Chat => choice["message"] = json!({ "role": "assistant", "content": text.text, "refusal": null }),
        }
        choice
    }

    /// A part of a text by one author. None stands for the client, who wrote the prompt.
    pub(crate) fn part(&self, index: usize, author: Option<Author>, piece: &Piece) -> Value {
        let mut choice = json!({ "index": index, "logprobs": self.log_probs(&piece.tokens), "finish_reason": null });
        if let Some(author) = author {
            choice["author"] = json!(author);
        }
        match self.shape {
            Shape::Completion { .. } => choice["text"] = piece.text.as_str().into(),
            Shape::Chat => choice["delta"] = json!({ "content": piece.text }),
        }
        self.chunk(vec![choice])
    }

    /// The part before the first one of a chat.
    pub(crate) fn beginning(&self, index: usize) -> Value {
        let delta = json!({ "role": "assistant", "content": "" });
        self.chunk(vec![json!({ "index": index, "logprobs": null, "finish_reason": null, "delta": delta })])
    }

    /// The last part of a text.
    pub(crate) fn end(&self, index: usize, end: End) -> Value {
        let mut choice = json!({ "index": index, "logprobs": null, "finish_reason": end });
        match self.shape {
            Shape::Completion { .. } => choice["text"] = "".into(),
            Shape::Chat => choice["delta"] = json!({}),
        }
        self.chunk(vec![choice])
    }

    /// The part after the last text, with the usage.
    pub(crate) fn usage_part(&self, total: &Usage) -> Value {
        let mut value = self.chunk(vec![]);
        value["usage"] = self.usage(total);
        value
    }

    fn chunk(&self, choices: Vec<Value>) -> Value {
        self.object(if self.shape == Shape::Chat { "chat.completion.chunk" } else { "text_completion" }, choices)
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        let (id, created, model) = (&self.id, self.created, &self.app.config.model_name);
        json!({ "id": id, "object": object, "created": created, "model": model, "choices": choices })
    }

    /// The usage, with the tokens of the student and of the teacher apart.
    fn usage(&self, total: &Usage) -> Value {
        let &Usage { prompt_tokens, teacher_prompt_tokens, student_tokens, teacher_tokens, .. } = total;
        let completion_tokens = student_tokens + teacher_tokens;
        json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "student_tokens": student_tokens,
            "teacher_tokens": teacher_tokens,
            "teacher_calls": total.teacher_calls,
            "teacher_failures": total.teacher_failures,
            "teacher_prompt_tokens": teacher_prompt_tokens,
            "budget": self.budget.map(|budget| budget::shown(budget, self.app.counted)),
        })
    }

    /// Null if no log-probs are wanted.
    fn log_probs(&self, tokens: &[ScoredToken]) -> Value {
        match self.shape {
            _ if tokens.is_empty() => Value::Null,
            Shape::Completion { tokens_as_ids } => self.lists(tokens, tokens_as_ids),
            Shape::Chat => {
                let mut content = Vec::with_capacity(tokens.len());
                for token in tokens {
                    let mut value = self.chat_token(token.id, token.log_prob);
                    let top: Vec<Value> = token.top.iter().map(|&(id, nats)| self.chat_token(id, Some(nats))).collect();
                    value["top_logprobs"] = top.into();
                    content.push(value);
                }
                json!({ "content": content, "refusal": null })
            }
        }
    }

    /// Log-probs as a completion has them.
    fn lists(&self, tokens: &[ScoredToken], as_ids: bool) -> Value {
        let name = |id: u32| if as_ids { format!("token_id:{id}") } else { self.text_of(id) };
        let (mut names, mut nats, mut alternatives, mut offsets) = (vec![], vec![], vec![], vec![]);
        for token in tokens {
            let mut top = Map::new();
            // The token itself is among its alternatives, as in OpenAI's API.
            let own = token.log_prob.map(|log_prob| (token.id, log_prob));
            for (id, log_prob) in token.top.iter().copied().chain(own) {
                top.entry(name(id)).or_insert(log_prob.into());
            }
            names.push(name(token.id));
            nats.push(token.log_prob);
            alternatives.push(token.log_prob.map(|_| top));
            offsets.push(token.offset);
        }
        json!({ "tokens": names, "token_logprobs": nats, "top_logprobs": alternatives, "text_offset": offsets })
    }

    fn chat_token(&self, id: u32, log_prob: Option<f64>) -> Value {
        let token = self.text_of(id);
        json!({ "token": token, "bytes": token.as_bytes(), "logprob": log_prob.unwrap_or(IMPOSSIBLE) })
    }

    /// The text of a token; the name of a special one.
    fn text_of(&self, id: u32) -> String {
        let tokenizer = &self.app.prompter.tokenizer;
        match tokenizer.decode(&[id]) {
            Ok(text) if !tokenizer.is_special(id) => text,
            _ => tokenizer.token(id).unwrap_or_default(),
        }
    }
}
