//! What a server can do.

use serde::{Deserialize, Serialize};

/// What a server can do, and how it is used. [`RemoteTeacher::connect`](crate::RemoteTeacher::connect) finds it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFeatures {
    /// The requests that it takes.
    pub api: RemoteApi,
    /// How texts are sent and read.
    pub tokens: TokenExchange,
    /// Whether it gives the log-probs of the tokens that it writes.
    pub log_probs: bool,
    /// How it gives the log-probs of a text that is sent. Verification and top-k targets need them.
    pub text_log_probs: TextLogProbs,
    /// Whether it can name tokens by their ids (vLLM's `return_tokens_as_token_ids`). Otherwise their texts are looked up in
    /// the vocabulary. Then a part of a character, which has no text of its own, is never chosen by the teacher alone.
    pub names_ids: bool,
}

/// The requests of a server's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteApi {
    /// `/completions`: a text is continued.
    Completions,
    /// `/chat/completions`: a message of the assistant is continued.
    Chat(ChatContinuation),
}

/// How a chat server is asked to go on with a message that has a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatContinuation {
    /// The beginning is the last message, with vLLM's and SGLang's `continue_final_message`.
    Flags,
    /// The beginning is the last message, and nothing else says that it is to be continued. llama.cpp's own server and
    /// some paid APIs work in this way.
    LastMessage,
    /// The user asks to continue the beginning. It works with every server, but the model can repeat or rephrase the
    /// beginning.
    Instruction,
}

/// How texts are sent to a server and read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenExchange {
    /// As token ids. The server must have the student's tokenizer.
    Ids,
    /// As text. An answer is cut at the end of a word or at least of a character, and tokenised by the student's tokenizer.
    Text,
}

/// How a server gives the log-probs of a text that is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextLogProbs {
    /// Not at all.
    None,
    /// With `echo` and `logprobs`.
    Echo,
    /// With vLLM's `prompt_logprobs`.
    PromptLogprobs,
}
