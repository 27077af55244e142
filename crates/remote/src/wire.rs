//! The requests and answers of the OpenAI-compatible API, as far as a teacher needs them.
//!
//! The names of fields are those of the API. Unknown fields of an answer are ignored, and fields that not every server
//! sends are optional. Nothing here calls a server, so that a server can use the same types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of `POST /completions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionRequest {
    /// The name of the model.
    pub model: String,
    /// What is continued.
    pub prompt: PromptInput,
    /// The largest number of new tokens.
    pub max_tokens: usize,
    /// The temperature of the sampler; 0 for the most likely token.
    pub temperature: f64,
    /// Nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sampling from this number of most likely tokens. Not in OpenAI's own API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// The seed of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The number of most likely tokens whose log-probs are wanted at each position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<usize>,
    /// Whether the answer begins with the prompt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo: bool,
    /// vLLM: the number of most likely tokens whose log-probs are wanted at each position of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_logprobs: Option<usize>,
    /// vLLM: write tokens as `token_id:ID` instead of as text.
    #[serde(default, skip_serializing_if = "is_false")]
    pub return_tokens_as_token_ids: bool,
}

/// The prompt of a [`CompletionRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PromptInput {
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

/// The answer to a [`CompletionRequest`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionReply {
    /// One answer for each prompt.
    pub choices: Vec<CompletionChoice>,
    /// The number of tokens that were read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
}

/// A text of a [`CompletionReply`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionChoice {
    /// The new text, after the prompt if it is echoed.
    pub text: String,
    /// Why it ends: `stop` at its own end, `length` at the limit.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// The tokens with their log-probs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<CompletionLogprobs>,
    /// vLLM: for each position of the prompt, log-probs by token id. There are none at the first position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_logprobs: Option<Vec<Option<BTreeMap<u32, PromptLogprob>>>>,
    /// The ids of the new tokens, from servers that send them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// The log-probs of a text. All lists have one entry for each token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionLogprobs {
    /// The tokens.
    #[serde(default)]
    pub tokens: Vec<String>,
    /// Their log-probs, nats. There is none for the first token of an echoed prompt.
    #[serde(default)]
    pub token_logprobs: Vec<Option<f64>>,
    /// The log-probs of the most likely tokens, nats.
    #[serde(default)]
    pub top_logprobs: Option<Vec<Option<BTreeMap<String, f64>>>>,
    /// Where each token begins in the text, characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_offset: Option<Vec<usize>>,
}

/// The log-prob of one token at a position of the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptLogprob {
    /// Nats.
    pub logprob: f64,
    /// The text of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded_token: Option<String>,
}

/// The number of tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Those of the prompt.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Those of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
    /// Both.
    #[serde(default)]
    pub total_tokens: u64,
}

/// The body of `POST /chat/completions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The name of the model.
    pub model: String,
    /// The conversation.
    pub messages: Vec<ChatMessage>,
    /// The largest number of new tokens.
    pub max_tokens: usize,
    /// The temperature of the sampler; 0 for the most likely token.
    pub temperature: f64,
    /// Nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sampling from this number of most likely tokens. Not in OpenAI's own API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// The seed of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// vLLM and SGLang: go on with the last message instead of a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_final_message: Option<bool>,
    /// vLLM: begin a new message of the assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_generation_prompt: Option<bool>,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text. A message without text is empty.
    #[serde(default)]
    pub content: Option<String>,
}

/// The answer to a [`ChatRequest`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatReply {
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// The number of tokens that were read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
}

/// An answer of a [`ChatReply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatChoice {
    /// The assistant's message.
    pub message: ChatMessage,
    /// Why it ends: `stop` at its own end, `length` at the limit.
    #[serde(default)]
    pub finish_reason: Option<String>,
}

/// The answer to `GET /models`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelList {
    /// The models.
    pub data: Vec<ModelEntry>,
}

/// A model of a [`ModelList`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The name.
    pub id: String,
}

/// The body of an answer with an error status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// The error of an [`ErrorReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The message.
    #[serde(default)]
    pub message: String,
}

/// An answer that reports the number of its tokens.
pub(crate) trait Metered {
    fn usage(&self) -> Option<&TokenUsage>;
}

impl Metered for CompletionReply {
    fn usage(&self) -> Option<&TokenUsage> {
        self.usage.as_ref()
    }
}

impl Metered for ChatReply {
    fn usage(&self) -> Option<&TokenUsage> {
        self.usage.as_ref()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
