//! A server's answer as tokens with their log-probs.

use std::collections::BTreeMap;

use crate::TextLogProbs;
use crate::token_names::{TokenNames, id_in};
use crate::wire::{CompletionChoice, CompletionLogprobs, PromptLogprob};

/// A log-prob above 0 by more than this, nats, is not one. Servers compute in single precision.
const ABOVE_ZERO: f64 = 1e-3;

/// A server's answer as tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TokenReply {
    /// The tokens of the prompt, if their log-probs were requested.
    pub(crate) prompt: Vec<ScoredToken>,
    /// The new tokens. Empty if the server gives neither ids nor log-probs.
    pub(crate) answer: Vec<ScoredToken>,
    /// The new text.
    pub(crate) text: String,
    /// Whether the text ends after the new tokens.
    pub(crate) has_ended: bool,
}

/// A token with what a server says about its position.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ScoredToken {
    /// None if the vocabulary has no token, or several, with the text that the server gives.
    pub(crate) id: Option<u32>,
    /// Nats.
    pub(crate) log_prob: Option<f64>,
    /// The most likely tokens with their log-probs, nats, the most likely one first. Of equal ones, the lower id is first.
    pub(crate) top: Vec<(u32, f64)>,
}

/// What was requested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// How the log-probs of the prompt come.
    pub(crate) way: TextLogProbs,
    /// The number of tokens of the prompt.
    pub(crate) prompt: usize,
    /// The largest number of new tokens.
    pub(crate) max_tokens: usize,
}

impl TokenReply {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(choice: CompletionChoice, expected: Expected, names: &TokenNames) -> Result<Self, String> {
        let Expected { way, prompt, max_tokens } = expected;
        let mut read =
            Self { has_ended: choice.finish_reason.as_deref() == Some("stop"), text: choice.text, ..Self::default() };
        let mut tokens = Vec::new();
        let mut texts = Vec::new();
        if let Some(logprobs) = choice.logprobs.filter(|logprobs| !logprobs.tokens.is_empty()) {
            tokens = scored(&logprobs, names)?;
            texts = logprobs.tokens;
        }
        if way == TextLogProbs::Echo {
            if tokens.len() < prompt {
                return Err(format!("it has log-probs of {} tokens, and the prompt has {prompt}", tokens.len()));
            }
            read.answer = tokens.split_off(prompt);
            read.prompt = tokens;
            // An id is no text. A caller that asks for ids does not need it.
            read.text = texts[prompt..].iter().filter(|text| id_in(text).is_none()).map(String::as_str).collect();
        } else {
            read.answer = tokens;
        }
        if way == TextLogProbs::PromptLogprobs {
            let positions = choice.prompt_logprobs.unwrap_or_default();
            if positions.len() != prompt {
                return Err(format!("it has log-probs of {} tokens, and the prompt has {prompt}", positions.len()));
            }
            for position in positions {
                read.prompt.push(prompt_token(&position.unwrap_or_default())?);
            }
        }
        if let Some(ids) = choice.token_ids.filter(|ids| !ids.is_empty()) {
            if read.answer.is_empty() {
                read.answer = vec![ScoredToken::default(); ids.len()];
            }
            if ids.len() != read.answer.len() {
                return Err(format!("it has {} ids for {} tokens", ids.len(), read.answer.len()));
            }
            for (token, id) in read.answer.iter_mut().zip(ids) {
                token.id = Some(id);
            }
        }
        if read.answer.len() > max_tokens {
            return Err(format!("it has {} new tokens instead of at most {max_tokens}", read.answer.len()));
        }
        if !read.has_ended && read.answer.is_empty() && read.text.is_empty() {
            return Err("it has no new tokens, and the text has not ended".into());
        }
        Ok(read)
    }
}

impl ScoredToken {
    /// The log-prob of the token that is known to be at this position, if the server gives it.
    pub(crate) fn log_prob_of(&self, id: u32) -> Option<f64> {
        self.log_prob.or_else(|| self.top.iter().find(|(top, _)| *top == id).map(|top| top.1))
    }
}

/// The tokens of a list of log-probs.
fn scored(logprobs: &CompletionLogprobs, names: &TokenNames) -> Result<Vec<ScoredToken>, String> {
    let CompletionLogprobs { tokens, token_logprobs, top_logprobs } = logprobs;
    let top_logprobs = top_logprobs.as_deref().unwrap_or_default();
    let wrong = |count: usize| format!("it has {} tokens and {count} log-probs", tokens.len());
    if token_logprobs.len() != tokens.len() {
        return Err(wrong(token_logprobs.len()));
    }
    if !top_logprobs.is_empty() && top_logprobs.len() != tokens.len() {
        return Err(wrong(top_logprobs.len()));
    }
    let mut scored = Vec::with_capacity(tokens.len());
    for (index, (name, log_prob)) in tokens.iter().zip(token_logprobs).enumerate() {
        let mut top = Vec::new();
        for (name, log_prob) in top_logprobs.get(index).into_iter().flatten().flatten() {
            check(*log_prob)?;
            top.extend(names.id(name).map(|id| (id, *log_prob)));
        }
        sort(&mut top);
        log_prob.map_or(Ok(()), check)?;
        scored.push(ScoredToken { id: names.id(name), log_prob: *log_prob, top });
    }
    Ok(scored)
}

/// A position of vLLM's `prompt_logprobs`, which has the prompt's own token among the most likely ones.
fn prompt_token(position: &BTreeMap<u32, PromptLogprob>) -> Result<ScoredToken, String> {
    let mut top = Vec::with_capacity(position.len());
    for (&id, token) in position {
        check(token.logprob)?;
        top.push((id, token.logprob));
    }
    sort(&mut top);
    Ok(ScoredToken { top, ..ScoredToken::default() })
}

fn sort(top: &mut [(u32, f64)]) {
    top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
}

fn check(log_prob: f64) -> Result<(), String> {
    match log_prob <= ABOVE_ZERO {
        true => Ok(()),
        false => Err(format!("a log-prob of {log_prob} nats is above 0 or not a number")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wheels_text::{Tokenizer, TokenizerConfig};

    use super::*;
    use crate::wire::Reply;

    fn names() -> (Tokenizer, TokenNames) {
        let lines = ["The capital of France is Paris. The capital of Paris.\n".to_owned()];
        let config = TokenizerConfig::default().with_vocab_size(400).with_min_frequency(1);
        let tokenizer = Tokenizer::train(config, lines).unwrap();
        let names = TokenNames::new(&tokenizer);
        (tokenizer, names)
    }

    fn first(reply: &str) -> CompletionChoice {
        let mut reply: Reply<CompletionChoice> = serde_json::from_str(reply).unwrap();
        reply.choices.remove(0)
    }

    #[test]
    fn an_answer_of_llama_cpp_python_is_read() {
        // Of version 0.3.36, for the prompt " of France" and two new tokens.
        let reply = r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"text":" of France is Paris",
            "index":0,"logprobs":{"text_offset":[0,3,10,13],"token_logprobs":[null,-2.5,-0.43,-0.26],
            "tokens":[" of"," France"," is"," Paris"],"top_logprobs":[null,{" France":-2.5},{" is":-0.43,"?!":-2.4},
            {" Paris":-0.26}]},"finish_reason":"length"}],"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4}}"#;
        let (tokenizer, names) = names();
        let id = |text: &str| tokenizer.encode(text).unwrap()[0];
        let expected = Expected { way: TextLogProbs::Echo, prompt: 2, max_tokens: 2 };
        let read = TokenReply::read(first(reply), expected, &names).unwrap();
        assert_eq!((read.prompt.len(), read.text.as_str(), read.has_ended), (2, " is Paris", false));
        assert_eq!(read.prompt[1].log_prob_of(id(" France")), Some(-2.5));
        assert_eq!(
            (read.answer[0].id, read.answer[0].top.len()),
            (Some(id(" is")), 1),
            "a text of no token is left out"
        );
    }

    #[test]
    fn an_answer_of_vllm_is_read() {
        let reply = r#"{"choices":[{"index":0,"text":"</s>","finish_reason":"stop","stop_reason":null,
            "logprobs":{"text_offset":[0],"token_logprobs":[-0.5],"tokens":["token_id:1"],"top_logprobs":[{"token_id:1":-0.5,
            "token_id:7":-1.5}]},"prompt_logprobs":[null,{"9":{"logprob":-3.0,"rank":40,"decoded_token":"x"},
            "4":{"logprob":-0.1,"rank":1,"decoded_token":"y"}}]}],"usage":null}"#;
        let expected = Expected { way: TextLogProbs::PromptLogprobs, prompt: 2, max_tokens: 1 };
        let read = TokenReply::read(first(reply), expected, &names().1).unwrap();
        assert_eq!(read.prompt[1].top, [(4, -0.1), (9, -3.0)]);
        assert_eq!(read.prompt[1].log_prob_of(9), Some(-3.0));
        let answer = ScoredToken { id: Some(1), log_prob: Some(-0.5), top: vec![(1, -0.5), (7, -1.5)] };
        assert_eq!((read.answer, read.has_ended), (vec![answer], true));
    }
}
