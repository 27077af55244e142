//! Finding out what a server can do.

use wheels_text::Tokenizer;

use crate::client::Client;
use crate::spending::CallSize;
use crate::token_names::{TokenNames, id_in};
use crate::token_reply::{Expected, TokenReply};
use crate::wire::{
    ChatMessage, ChatReply, ChatRequest, CompletionChoice, CompletionLogprobs, CompletionReply, CompletionRequest,
    ModelList, PromptInput,
};
use crate::{ChatContinuation, RemoteApi, RemoteConfig, RemoteError, ServerFeatures, TextLogProbs, TokenExchange};

/// What is sent. Tokenizers differ in how they cut names, numbers, accents and spaces.
const PROMPT: &str = "Naïve café №12345:  tokenizers";
const BEGINNING: &str = "differ, e.g. \"Übergrößenträger\" (3.14159)";
/// The largest difference between two log-probs of one token, nats. Servers compute them in other batches with other
/// rounding.
const LOG_PROB_TOLERANCE: f64 = 0.2;

/// Finds out what a server can do, by requests for one token each: the first kinds of requests need most, and the first one
/// that the server accepts counts.
///
/// # Errors
/// If the server does not have the model, refuses the key, cannot be reached, or accepts none of the requests.
pub(crate) fn probe(
    client: &Client,
    config: &RemoteConfig,
    tokenizer: &Tokenizer,
) -> Result<ServerFeatures, RemoteError> {
    check_model(client, config)?;
    let probe = Probe { client, config, tokenizer };
    let mut refused = None;
    for exchange in [TokenExchange::Ids, TokenExchange::Text] {
        let found = match exchange {
            TokenExchange::Ids => probe.ids(),
            TokenExchange::Text => probe.text().map(Some),
        };
        match found {
            Ok(Some(features)) => return Ok(features),
            Ok(None) => {}
            Err(error @ RemoteError::NotFound { .. }) => {
                refused = Some(error);
                break;
            }
            Err(error) if is_refusal(&error) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match (probe.chat(), refused) {
        // A model that is missing for one kind of request is missing for the other.
        (Err(RemoteError::NotFound { .. }), Some(refused)) => Err(refused),
        (result, _) => result,
    }
}

/// Checks that the server lists the model, if it has a list.
fn check_model(client: &Client, config: &RemoteConfig) -> Result<(), RemoteError> {
    let list: ModelList = match client.get("/models") {
        Ok(list) => list,
        Err(error @ (RemoteError::NotFound { .. } | RemoteError::Rejected { .. } | RemoteError::Reply { .. })) => {
            log::debug!("{} has no list of its models: {error}", client.server());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let available: Vec<String> = list.data.into_iter().map(|model| model.id).collect();
    if available.is_empty() || available.contains(&config.model) {
        return Ok(());
    }
    Err(RemoteError::NoModel { server: client.server().to_owned(), model: config.model.clone(), available })
}

/// Whether an error may be about the kind of request.
fn is_refusal(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Rejected { .. } | RemoteError::Reply { .. } | RemoteError::Server { .. })
}

struct Probe<'a> {
    client: &'a Client,
    config: &'a RemoteConfig,
    tokenizer: &'a Tokenizer,
}

impl Probe<'_> {
    /// With token ids. None if the server's tokenizer is another one.
    fn ids(&self) -> Result<Option<ServerFeatures>, RemoteError> {
        let prompt = self.tokenizer.encode_prompt(PROMPT)?;
        let beginning = self.tokenizer.encode(BEGINNING)?;
        let ids = [&*prompt, &beginning].concat();
        let plain = CompletionRequest { logprobs: None, ..self.request(&ids) };
        self.complete(&plain)?;
        // The server takes ids. What else can it do?
        let full = CompletionRequest { echo: true, return_tokens_as_token_ids: true, ..self.request(&ids) };
        let requests = [
            full.clone(),
            CompletionRequest { return_tokens_as_token_ids: false, ..full.clone() },
            CompletionRequest { echo: false, prompt_logprobs: Some(1), ..full },
            self.request(&ids),
            plain,
        ];
        let (request, choice) = self.first_accepted(requests)?;
        let logprobs = choice.logprobs.clone().unwrap_or_default();
        let has_echo = request.echo && logprobs.tokens.len() == ids.len() + 1;
        let mut features = ServerFeatures {
            api: RemoteApi::Completions,
            tokens: TokenExchange::Ids,
            log_probs: !logprobs.tokens.is_empty(),
            text_log_probs: TextLogProbs::None,
            names_ids: logprobs.tokens.last().is_some_and(|name| id_in(name).is_some()),
        };
        let server = self.client.server();
        if has_echo {
            let ours = self.tokenizer.decode(&beginning)?;
            if !choice.text.contains(ours.trim()) {
                log::warn!("{server} has another tokenizer than the student: texts are exchanged instead of token ids");
                return Ok(None);
            }
        } else {
            log::warn!(
                "{server} does not echo prompts, so that nothing shows whether it has the student's tokenizer: if it has \
                 another one, set `RemoteConfig::features` with `TokenExchange::Text`"
            );
        }
        let ways = [(has_echo, TextLogProbs::Echo), (true, TextLogProbs::PromptLogprobs)];
        for (_, way) in ways.into_iter().filter(|way| way.0) {
            if self.has_text_log_probs(&ids, &logprobs, features.names_ids, way) {
                features.text_log_probs = way;
                break;
            }
        }
        Ok(Some(features))
    }

    /// Whether the server gives the log-probs of a text in this way, and they are right: a token has the log-prob with which
    /// the server has written it. Some servers give those of the position after it.
    fn has_text_log_probs(
        &self,
        ids: &[u32],
        written: &CompletionLogprobs,
        names_ids: bool,
        way: TextLogProbs,
    ) -> bool {
        let names = TokenNames::new(self.tokenizer);
        let last = written.tokens.last().and_then(|name| names.id(name)).zip(written.token_logprobs.last());
        let Some((token, Some(expected))) = last else { return false };
        let longer = [ids, &[token]].concat();
        let is_echo = way == TextLogProbs::Echo;
        let request = CompletionRequest {
            echo: is_echo,
            prompt_logprobs: (!is_echo).then_some(1),
            return_tokens_as_token_ids: names_ids,
            ..self.request(&longer)
        };
        let count = longer.len();
        let expected_reply =
            Expected { echoed: is_echo.then_some(count), prompt_log_probs: (!is_echo).then_some(count), max_tokens: 1 };
        let reply = self.complete(&request).map(|choice| CompletionReply { choices: vec![choice], usage: None });
        let reply = reply.ok().and_then(|reply| TokenReply::read(reply, expected_reply, &names).ok());
        let found = reply.and_then(|reply| reply.prompt.get(ids.len())?.log_prob_of(token));
        if found.is_some_and(|found| (found - expected).abs() > LOG_PROB_TOLERANCE) {
            log::warn!(
                "{} gives wrong log-probs of texts that are sent to it ({found:?} instead of {expected} nats): they are \
                 not used",
                self.client.server()
            );
        }
        found.is_some_and(|found| (found - expected).abs() <= LOG_PROB_TOLERANCE)
    }

    /// With texts.
    fn text(&self) -> Result<ServerFeatures, RemoteError> {
        let prompt = PromptInput::Text(format!("{PROMPT} {BEGINNING}"));
        let request = CompletionRequest { prompt, logprobs: None, ..self.request(&[]) };
        self.complete(&request)?;
        Ok(ServerFeatures {
            api: RemoteApi::Completions,
            tokens: TokenExchange::Text,
            log_probs: false,
            text_log_probs: TextLogProbs::None,
            names_ids: false,
        })
    }

    /// With messages.
    fn chat(&self) -> Result<ServerFeatures, RemoteError> {
        let features = |continuation| ServerFeatures {
            api: RemoteApi::Chat(continuation),
            tokens: TokenExchange::Text,
            log_probs: false,
            text_log_probs: TextLogProbs::None,
            names_ids: false,
        };
        // A server that goes on with the last message reads no beginning of another one.
        let [continued, begun] = [Some(true), None].map(|flag| self.converse(Some("Tokenizers"), flag));
        if matches!((continued, begun), (Ok(Some(continued)), Ok(Some(begun))) if continued < begun) {
            return Ok(features(ChatContinuation::Flags));
        }
        self.converse(None, None)?;
        Ok(features(ChatContinuation::Instruction))
    }

    /// Sends a conversation, with the beginning of the assistant's message. Returns the number of tokens that the server
    /// has read, if it says so.
    fn converse(&self, beginning: Option<&str>, continues: Option<bool>) -> Result<Option<u64>, RemoteError> {
        let message = |role: &str, content: &str| ChatMessage { role: role.into(), content: Some(content.into()) };
        let mut messages = vec![message("user", PROMPT)];
        messages.extend(beginning.map(|beginning| message("assistant", beginning)));
        let request = ChatRequest {
            model: self.config.model.clone(),
            messages,
            max_tokens: 1,
            continue_final_message: continues,
            add_generation_prompt: continues.map(|continues| !continues),
            ..ChatRequest::default()
        };
        let size = CallSize { prompt_tokens: 100, completion_tokens: 1 };
        let reply: ChatReply = self.client.post("/chat/completions", &request, size, self.client.deadline())?;
        Ok(reply.usage.map(|usage| usage.prompt_tokens))
    }

    /// A request for one token with its log-prob.
    fn request(&self, ids: &[u32]) -> CompletionRequest {
        CompletionRequest {
            model: self.config.model.clone(),
            prompt: PromptInput::Ids(ids.to_vec()),
            max_tokens: 1,
            logprobs: Some(1),
            ..CompletionRequest::default()
        }
    }

    /// The first request that the server accepts, with the answer.
    ///
    /// # Errors
    /// The error of the last request, or the first one that is not about the kind of request.
    fn first_accepted<const N: usize>(
        &self,
        requests: [CompletionRequest; N],
    ) -> Result<(CompletionRequest, CompletionChoice), RemoteError> {
        let mut refusal = self.client.invalid("it has no choices");
        for request in requests {
            match self.complete(&request) {
                Ok(choice) => return Ok((request, choice)),
                Err(error) if is_refusal(&error) => refusal = error,
                Err(error) => return Err(error),
            }
        }
        Err(refusal)
    }

    fn complete(&self, request: &CompletionRequest) -> Result<CompletionChoice, RemoteError> {
        let prompt_tokens = match &request.prompt {
            PromptInput::Ids(ids) => ids.len() as u64,
            PromptInput::Text(text) => text.len() as u64 + 1,
        };
        let size = CallSize { prompt_tokens, completion_tokens: 1 };
        let reply: CompletionReply = self.client.post("/completions", request, size, self.client.deadline())?;
        reply.choices.into_iter().next().ok_or_else(|| self.client.invalid("it has no choices"))
    }
}
