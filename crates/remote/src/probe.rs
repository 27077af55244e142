//! Finding out what a server can do.

use std::sync::OnceLock;

use wheels_text::Tokenizer;

use crate::client::Client;
use crate::text_exchange::usable;
use crate::token_names::{TokenNames, id_in};
use crate::token_reply::{Expected, ScoredToken, TokenReply};
use crate::wire::{
    ChatChoice, ChatMessage, ChatRequest, CompletionChoice, CompletionRequest, ModelList, PromptInput, Reply,
    TokenUsage,
};
use crate::{ChatContinuation, RemoteApi, RemoteConfig, RemoteError, ServerFeatures, TextLogProbs, TokenExchange};

/// What is sent. Tokenizers differ in how they cut names, numbers, accents and spaces.
const PROMPT: &str = "Naïve café №12345:  tokenizers";
const BEGINNING: &str = "differ, e.g. \"Übergrößenträger\" (3.14159)";
/// The largest difference between two log-probs of one token, nats. Servers compute them in other batches with other
/// rounding.
const TOLERANCE: f64 = 0.2;

/// Finds out what a server can do, by requests for a few tokens: with token ids, or else with texts, or else with messages.
/// What it says it can do is checked. `names` is filled if it is needed.
///
/// # Errors
/// If the server does not have the model, refuses the key, cannot be reached, or accepts none of the requests.
pub(crate) fn probe(
    client: &Client,
    config: &RemoteConfig,
    tokenizer: &Tokenizer,
    names: &OnceLock<TokenNames>,
) -> Result<ServerFeatures, RemoteError> {
    check_model(client, config)?;
    let probe = Probe { client, config, tokenizer, names };
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

/// A text with a token that the server has written after it.
struct Written {
    ids: Vec<u32>,
    /// The log-prob of that token, nats.
    log_prob: f64,
    /// The token that the server has written next.
    next: Option<ScoredToken>,
}

struct Probe<'a> {
    client: &'a Client,
    config: &'a RemoteConfig,
    tokenizer: &'a Tokenizer,
    names: &'a OnceLock<TokenNames>,
}

impl Probe<'_> {
    /// With token ids. None if the server's tokenizer is another one.
    fn ids(&self) -> Result<Option<ServerFeatures>, RemoteError> {
        let prompt = self.tokenizer.encode_prompt(PROMPT)?;
        let beginning = self.tokenizer.encode(BEGINNING)?;
        let ids = [&*prompt, &beginning].concat();
        let plain = CompletionRequest { logprobs: None, ..self.request(&ids) };
        let accepted = self.complete(&plain)?;
        // The server takes ids. What else can it do?
        let two = CompletionRequest { max_tokens: 2, ..self.request(&ids) };
        let full = CompletionRequest { echo: true, return_tokens_as_token_ids: true, ..two.clone() };
        let requests = [
            full.clone(),
            CompletionRequest { return_tokens_as_token_ids: false, ..full.clone() },
            CompletionRequest { echo: false, prompt_logprobs: Some(1), ..full.clone() },
            CompletionRequest { echo: false, ..full },
            two,
        ];
        let (request, choice) = self.first_accepted(requests)?.unwrap_or((plain, accepted));
        let logprobs = choice.logprobs.clone().unwrap_or_default();
        let has_echo = request.echo && logprobs.tokens.len() > ids.len();
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
        let names = self.names.get_or_init(|| TokenNames::new(self.tokenizer));
        let way = if has_echo { TextLogProbs::Echo } else { TextLogProbs::None };
        let answered = Expected { way, prompt: ids.len(), max_tokens: 2 };
        let written = TokenReply::read(choice, answered, names).map_err(|why| self.client.invalid(why))?.answer;
        let Some((token, log_prob)) = written.first().and_then(|first| first.id.zip(first.log_prob)) else {
            log::warn!("{server} gives no log-probs, so that nothing shows whether it goes on with a text");
            return Ok(Some(features));
        };
        let written = Written { ids: [&*ids, &[token]].concat(), log_prob, next: written.get(1).cloned() };
        let ways: &[_] =
            if has_echo { &[TextLogProbs::Echo] } else { &[TextLogProbs::PromptLogprobs, TextLogProbs::None] };
        for &way in ways {
            if self.agrees(&written, ServerFeatures { text_log_probs: way, ..features }, names)? {
                features.text_log_probs = way;
                break;
            }
        }
        Ok(Some(features))
    }

    /// Sends a text with the first token that the server has written, and checks that it goes on with its second token.
    /// Returns whether it gives log-probs of the text in the way of `features`, and whether they are right: a token has the
    /// log-prob with which it was written. Some servers give those of the position after it.
    ///
    /// # Errors
    /// [`RemoteError::Unsupported`] if the server does not go on with the text, but reads it as another one.
    fn agrees(&self, written: &Written, features: ServerFeatures, names: &TokenNames) -> Result<bool, RemoteError> {
        let ServerFeatures { text_log_probs: way, names_ids, .. } = features;
        let count = written.ids.len();
        let request = CompletionRequest { return_tokens_as_token_ids: names_ids, ..self.request(&written.ids) };
        let choice = match self.complete(&request.with_text_log_probs(way, 1)) {
            Ok(choice) => choice,
            Err(error) if is_refusal(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let expected = Expected { way, prompt: count, max_tokens: 1 };
        let Ok(reply) = TokenReply::read(choice, expected, names) else { return Ok(false) };
        if let (Some(expected), Some(found)) = (&written.next, reply.answer.first()) {
            // Two tokens can be almost equally likely.
            let tie = |id| expected.top.iter().any(|top| top.0 == id && top.1 >= expected.top[0].1 - TOLERANCE);
            if expected.id != found.id && !found.id.is_some_and(tie) {
                return Err(RemoteError::Unsupported {
                    server: self.client.server().to_owned(),
                    missing: "does not go on with a text that is sent to it",
                    remedy: "serve a decoder-only model: an encoder-decoder reads the text as another source",
                });
            }
        }
        let token = written.ids[count - 1];
        match reply.prompt.get(count - 1).and_then(|last| last.log_prob_of(token)) {
            None => Ok(way == TextLogProbs::None),
            Some(found) if (found - written.log_prob).abs() <= TOLERANCE => Ok(true),
            Some(found) => {
                log::warn!(
                    "{} gives wrong log-probs of texts that are sent to it ({found} instead of {} nats): they are not used",
                    self.client.server(),
                    written.log_prob
                );
                Ok(false)
            }
        }
    }

    /// With texts.
    fn text(&self) -> Result<ServerFeatures, RemoteError> {
        let prompt = PromptInput::Text(format!("{PROMPT} {BEGINNING}"));
        let request = CompletionRequest { prompt, logprobs: None, max_tokens: 12, ..self.request(&[]) };
        let whole = self.complete(&request)?.text;
        let middle = whole.floor_char_boundary(whole.len() / 2);
        let first = usable(&whole[..middle], false);
        let prompt = PromptInput::Text(format!("{PROMPT} {BEGINNING}{first}"));
        let rest = self.complete(&CompletionRequest { prompt, ..request })?.text;
        if !first.trim().is_empty() && rest.trim().chars().next() != whole[first.len()..].trim().chars().next() {
            log::warn!(
                "{} does not go on with a text as it did before: if its model is an encoder-decoder, it reads the text as \
                 another source and cannot help",
                self.client.server()
            );
        }
        Ok(of_texts(RemoteApi::Completions))
    }

    /// With messages.
    fn chat(&self) -> Result<ServerFeatures, RemoteError> {
        // A server that goes on with the last message reads no beginning of another one.
        let [continued, begun] = [Some(true), None].map(|flag| self.converse(Some("Tokenizers"), flag));
        if matches!((continued, begun), (Ok(Some(continued)), Ok(Some(begun))) if continued < begun) {
            return Ok(of_texts(RemoteApi::Chat(ChatContinuation::Flags)));
        }
        self.converse(None, None)?;
        Ok(of_texts(RemoteApi::Chat(ChatContinuation::Instruction)))
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
        let size = TokenUsage { prompt_tokens: 100, completion_tokens: 1 };
        let reply: Reply<ChatChoice> = self.client.post("/chat/completions", &request, size)?;
        Ok(reply.usage.map(|usage| usage.prompt_tokens))
    }

    /// A request for one token, with the log-probs of the two most likely ones.
    fn request(&self, ids: &[u32]) -> CompletionRequest {
        CompletionRequest {
            model: self.config.model.clone(),
            prompt: PromptInput::Ids(ids.to_vec()),
            max_tokens: 1,
            logprobs: Some(2),
            ..CompletionRequest::default()
        }
    }

    /// The first request that the server accepts, with the answer. None if it refuses all.
    ///
    /// # Errors
    /// The first error that is not about the kind of request.
    fn first_accepted<const N: usize>(
        &self,
        requests: [CompletionRequest; N],
    ) -> Result<Option<(CompletionRequest, CompletionChoice)>, RemoteError> {
        for request in requests {
            match self.complete(&request) {
                Ok(choice) => return Ok(Some((request, choice))),
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn complete(&self, request: &CompletionRequest) -> Result<CompletionChoice, RemoteError> {
        self.client.first(self.client.post("/completions", request, request.size())?)
    }
}

/// What a server can do that exchanges texts.
fn of_texts(api: RemoteApi) -> ServerFeatures {
    ServerFeatures {
        api,
        tokens: TokenExchange::Text,
        log_probs: false,
        text_log_probs: TextLogProbs::None,
        names_ids: false,
    }
}
