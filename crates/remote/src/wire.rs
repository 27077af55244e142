//! The requests and answers of the OpenAI-compatible API, as far as a teacher needs them.
//!
//! The names of fields are those of the API. Unknown fields of an answer are ignored, and fields that not every server
//! sends are optional.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::TextLogProbs;

/// The body of `POST /completions`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CompletionRequest {
    /// The name of the model.
    pub(crate) model: String,
    /// What is continued.
    pub(crate) prompt: PromptInput,
    /// The largest number of new tokens.
    pub(crate) max_tokens: usize,
    #[serde(flatten)]
    pub(crate) sampling: Sampling,
    /// The number of most likely tokens whose log-probs are wanted at each position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logprobs: Option<usize>,
    /// Whether the answer begins with the prompt.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) echo: bool,
    /// vLLM: the number of most likely tokens whose log-probs are wanted at each position of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_logprobs: Option<usize>,
    /// vLLM: write tokens as `token_id:ID` instead of as text.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) return_tokens_as_token_ids: bool,
}

/// How a server chooses tokens.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sampling {
    /// The temperature; 0 for the most likely token.
    pub(crate) temperature: f64,
    /// Nucleus sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_p: Option<f64>,
    /// Sampling from this number of most likely tokens. Not in OpenAI's own API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_k: Option<usize>,
    /// The seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
}

/// The prompt of a [`CompletionRequest`].
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum PromptInput {
    /// A text, which the server tokenises.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
}

impl Default for PromptInput {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl CompletionRequest {
    /// The same request, which also asks for log-probs of its prompt. `k` is the number of most likely tokens at each
    /// position if they come apart from the answer; in an echo, it is `logprobs`.
    pub(crate) fn with_text_log_probs(self, way: TextLogProbs, k: usize) -> Self {
        let prompt_logprobs = (way == TextLogProbs::PromptLogprobs).then_some(k);
        Self { echo: way == TextLogProbs::Echo, prompt_logprobs, ..self }
    }

    /// The most tokens that a call can use.
    pub(crate) fn size(&self) -> TokenUsage {
        let prompt_tokens = match &self.prompt {
            PromptInput::Ids(ids) => ids.len() as u64,
            // A token has at least one byte, and many models have one before the text.
            PromptInput::Text(text) => text.len() as u64 + 1,
        };
        TokenUsage { prompt_tokens, completion_tokens: self.max_tokens as u64 }
    }
}

/// The answer to a [`CompletionRequest`] or a [`ChatRequest`].
#[derive(Debug, Deserialize)]
pub(crate) struct Reply<C> {
    /// One answer for each prompt.
    pub(crate) choices: Vec<C>,
    /// The number of tokens that were read and written.
    pub(crate) usage: Option<TokenUsage>,
}

/// An answer to a [`CompletionRequest`].
#[derive(Debug, Deserialize)]
pub(crate) struct CompletionChoice {
    /// The new text, after the prompt if it is echoed.
    pub(crate) text: String,
    /// Why it ends: `stop` at its own end, `length` at the limit.
    pub(crate) finish_reason: Option<String>,
    /// The tokens with their log-probs.
    pub(crate) logprobs: Option<CompletionLogprobs>,
    /// vLLM: for each position of the prompt, log-probs by token id. There are none at the first position.
    pub(crate) prompt_logprobs: Option<Vec<Option<BTreeMap<u32, PromptLogprob>>>>,
    /// The ids of the new tokens, from servers that send them.
    pub(crate) token_ids: Option<Vec<u32>>,
}

/// The log-probs of a text. All lists have one entry for each token.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct CompletionLogprobs {
    /// The tokens.
    #[serde(default)]
    pub(crate) tokens: Vec<String>,
    /// Their log-probs, nats. There is none for the first token of an echoed prompt.
    #[serde(default)]
    pub(crate) token_logprobs: Vec<Option<f64>>,
    /// The log-probs of the most likely tokens, nats.
    pub(crate) top_logprobs: Option<Vec<Option<BTreeMap<String, f64>>>>,
}

/// The log-prob of one token at a position of the prompt.
#[derive(Debug, Deserialize)]
pub(crate) struct PromptLogprob {
    /// Nats.
    pub(crate) logprob: f64,
}

/// The number of tokens of a call.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct TokenUsage {
    /// Those of the prompt.
    #[serde(default)]
    pub(crate) prompt_tokens: u64,
    /// Those of the answer.
    #[serde(default)]
    pub(crate) completion_tokens: u64,
}

/// The body of `POST /chat/completions`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ChatRequest {
    /// The name of the model.
    pub(crate) model: String,
    /// The conversation.
    pub(crate) messages: Vec<ChatMessage>,
    /// The largest number of new tokens.
    pub(crate) max_tokens: usize,
    #[serde(flatten)]
    pub(crate) sampling: Sampling,
    /// vLLM and SGLang: go on with the last message instead of a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) continue_final_message: Option<bool>,
    /// vLLM: begin a new message of the assistant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add_generation_prompt: Option<bool>,
}

/// A message of a conversation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub(crate) role: String,
    /// The text. A message without text is empty.
    pub(crate) content: Option<String>,
}

/// An answer to a [`ChatRequest`].
#[derive(Debug, Deserialize)]
pub(crate) struct ChatChoice {
    /// The assistant's message.
    pub(crate) message: ChatMessage,
    /// Why it ends: `stop` at its own end, `length` at the limit.
    pub(crate) finish_reason: Option<String>,
}

/// The answer to `GET /models`.
#[derive(Debug, Deserialize)]
pub(crate) struct ModelList {
    /// The models.
    pub(crate) data: Vec<ModelEntry>,
}

/// A model of a [`ModelList`].
#[derive(Debug, Deserialize)]
pub(crate) struct ModelEntry {
    /// The name.
    pub(crate) id: String,
}

/// The body of an answer with an error status.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorReply {
    /// What went wrong.
    pub(crate) error: ErrorDetail,
}

/// The error of an [`ErrorReply`].
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorDetail {
    /// The message.
    #[serde(default)]
    pub(crate) message: String,
}

fn is_false(value: &bool) -> bool {
    !value
}
