//! One request for help, and what the answer means.

use wheels_decode::{Acceptance, HelpRequest, HelpResponse, Sampler, Vocabulary};
use wheels_text::{Prompt, Seed};

use crate::text_exchange::{continuation, text_of, usable, whole_characters};
use crate::token_reply::{Expected, ScoredToken, TokenReply};
use crate::wire::{
    ChatChoice, ChatMessage, ChatRequest, CompletionChoice, CompletionRequest, PromptInput, Sampling, TokenUsage,
};
use crate::{ChatContinuation, RemoteApi, RemoteError, RemotePrompt, RemoteTeacher, TextLogProbs, TokenExchange};

/// The tokens that are requested beyond a span if texts are exchanged, because the end of an answer may be left out.
const MARGIN: usize = 3;

/// A text that asks.
pub(crate) struct Question<'a> {
    pub(crate) teacher: &'a RemoteTeacher,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) prompt: &'a Prompt,
    pub(crate) seed: Seed,
    pub(crate) request: &'a HelpRequest<'a>,
}

/// The answer to a text that asks.
pub(crate) struct Help {
    pub(crate) response: HelpResponse,
    pub(crate) usage: TokenUsage,
    /// Whether the server was called.
    pub(crate) called: bool,
}

impl Help {
    fn without_call(response: HelpResponse) -> Self {
        Self { response, usage: TokenUsage::default(), called: false }
    }
}

impl Question<'_> {
    /// Asks the server.
    ///
    /// # Errors
    /// If the call fails or the answer cannot be used.
    pub(crate) fn ask(&self) -> Result<Help, RemoteError> {
        let HelpRequest { text, review_from, at_end, .. } = *self.request;
        if let Some(token) = self.vocabulary.forced(text).filter(|_| !at_end) {
            return Ok(Help::without_call(HelpResponse { tokens: vec![token], cost: 1.0, ..HelpResponse::default() }));
        }
        let (mut response, usage) = match self.teacher.features.tokens {
            TokenExchange::Ids => self.ask_by_ids()?,
            TokenExchange::Text => match text_of(&self.teacher.tokenizer, text)? {
                Some(written) => self.ask_by_text(&written)?,
                // The text ends within a character, which only the student can finish.
                None => return Ok(Help::without_call(HelpResponse::default())),
            },
        };
        if !response.tokens.is_empty() || at_end && review_from < text.len() {
            response.cost = 1.0;
        }
        Ok(Help { response, usage, called: true })
    }

    /// The largest number of tokens of the answer.
    fn span(&self) -> usize {
        self.teacher.config.span.min(self.request.room).max(1)
    }

    fn ask_by_ids(&self) -> Result<(HelpResponse, TokenUsage), RemoteError> {
        let RemoteTeacher { client, config, features, .. } = self.teacher;
        let HelpRequest { text, review_from, .. } = *self.request;
        let ids = [&self.prompt.expert, text].concat();
        let way = if review_from < text.len() { features.text_log_probs } else { TextLogProbs::None };
        let expected = Expected { way, prompt: ids.len(), max_tokens: self.span() };
        let request = CompletionRequest {
            prompt: PromptInput::Ids(ids),
            max_tokens: expected.max_tokens,
            logprobs: features.log_probs.then_some(config.top_log_probs),
            return_tokens_as_token_ids: features.names_ids,
            ..self.teacher.completion(self.seed_here())
        };
        let request = request.with_text_log_probs(way, config.top_log_probs);
        client.call("/completions", &request, request.size(), |choice| {
            let reply = TokenReply::read(choice, expected, self.teacher.names()).map_err(|why| client.invalid(why))?;
            match self.rejection(&reply)? {
                Some(rejection) => Ok(rejection),
                None if self.request.at_end => Ok(HelpResponse::default()),
                None => self.continued(&reply),
            }
        })
    }

    /// The answer at the first position that the teacher does not accept.
    fn rejection(&self, reply: &TokenReply) -> Result<Option<HelpResponse>, RemoteError> {
        let HelpRequest { text, review_from, acceptance, .. } = *self.request;
        for (position, &token) in text.iter().enumerate().skip(review_from) {
            let Some(scored) = reply.prompt.get(self.prompt.expert.len() + position) else { return Ok(None) };
            let missing = || self.teacher.client.invalid(format!("it has no log-prob of token {token} of the text"));
            if scored.id.is_some_and(|id| id != token) {
                let reason = format!("token {token} of the text is echoed as another one: the tokenizers differ");
                return Err(self.teacher.client.invalid(reason));
            }
            let own = scored.log_prob_of(token).ok_or_else(missing)?;
            let best = self.best_allowed(scored, &text[..position]);
            let accepted = match acceptance {
                // Without a better token that the student may write, its own is the best one.
                Acceptance::Regret(tolerance) => best.is_none_or(|(_, best)| best - own <= tolerance),
                Acceptance::Surprise(tolerance) => -own <= tolerance,
                Acceptance::Sampling(_) => true,
            };
            if let (false, Some((best, _))) = (accepted, best) {
                let rollback = text.len() - position;
                return Ok(Some(HelpResponse { rollback, tokens: vec![best], ..HelpResponse::default() }));
            }
        }
        Ok(None)
    }

    /// The answer after the text.
    fn continued(&self, reply: &TokenReply) -> Result<HelpResponse, RemoteError> {
        // A server that gives no ids, or a token whose text several tokens have.
        if reply.answer.iter().any(|token| token.id.is_none()) || reply.answer.is_empty() && !reply.text.is_empty() {
            let Some(written) = text_of(&self.teacher.tokenizer, self.request.text)? else {
                return Ok(HelpResponse::default());
            };
            return self.continued_by_text(&written, &reply.text, reply.has_ended);
        }
        let mut text = self.request.text.to_vec();
        let start = text.len();
        for (index, token) in reply.answer.iter().enumerate() {
            let is_last = index + 1 == reply.answer.len();
            let id = token.id.filter(|&id| self.vocabulary.allows(&text, id));
            match id {
                Some(id) => text.push(id),
                // The server's own end-of-text token may be another one than the student's.
                None if is_last && reply.has_ended => break,
                None => {
                    let best = self.best_allowed(token, &text).filter(|_| self.teacher.sampler == Sampler::Greedy);
                    text.extend(best.map(|best| best.0));
                    return Ok(answer(text.split_off(start)));
                }
            }
            if id.is_some_and(|id| self.vocabulary.ends(id)) {
                return Ok(answer(text.split_off(start)));
            }
        }
        if reply.has_ended {
            text.extend(self.end(&text));
        }
        Ok(answer(text.split_off(start)))
    }

    fn ask_by_text(&self, written: &str) -> Result<(HelpResponse, TokenUsage), RemoteError> {
        let teacher = self.teacher;
        let prompt = match &teacher.prompts {
            Some(make) => make(self.prompt),
            None => RemotePrompt::Text(teacher.tokenizer.decode(&self.prompt.expert)?),
        };
        let request = TextRequest { prompt, written, max_tokens: self.span() + MARGIN, seed: self.seed_here() };
        teacher.continue_text(request, |text, has_ended| self.continued_by_text(written, text, has_ended))
    }

    /// The student's tokens for a text that follows `written`.
    fn continued_by_text(&self, written: &str, answered: &str, has_ended: bool) -> Result<HelpResponse, RemoteError> {
        let (tokenizer, text) = (&self.teacher.tokenizer, self.request.text);
        let usable = usable(answered, has_ended);
        let Some(ids) = continuation(tokenizer, text, written, usable)? else {
            log::debug!("the student's vocabulary cannot spell {usable:?}");
            return Ok(HelpResponse::default());
        };
        let most = self.span();
        let mut text = text.to_vec();
        let start = text.len();
        for id in &ids[..whole_characters(tokenizer, &ids, most)?] {
            if !self.vocabulary.allows(&text, *id) {
                return Ok(answer(text.split_off(start)));
            }
            text.push(*id);
        }
        let is_whole = text.len() - start == ids.len() && usable.len() == answered.len();
        if has_ended && is_whole && text.len() - start < most {
            text.extend(self.end(&text));
        }
        Ok(answer(text.split_off(start)))
    }

    /// The most likely token after `text` that the student may write, with its log-prob.
    fn best_allowed(&self, token: &ScoredToken, text: &[u32]) -> Option<(u32, f64)> {
        token.top.iter().copied().find(|&(id, _)| self.vocabulary.allows(text, id))
    }

    /// The student's end-of-text token, if it may follow.
    fn end(&self, text: &[u32]) -> Option<u32> {
        self.vocabulary.eos().iter().copied().find(|&end| self.vocabulary.allows(text, end))
    }

    /// Each position of a text has a seed of its own.
    fn seed_here(&self) -> Seed {
        self.seed.nth(self.request.text.len() as u64)
    }
}

fn answer(tokens: Vec<u32>) -> HelpResponse {
    HelpResponse { tokens, ..HelpResponse::default() }
}

/// A text that a server is asked to go on with, if texts are exchanged.
pub(crate) struct TextRequest<'a> {
    pub(crate) prompt: RemotePrompt,
    /// The text after the prompt.
    pub(crate) written: &'a str,
    /// The largest number of new tokens.
    pub(crate) max_tokens: usize,
    pub(crate) seed: Seed,
}

impl RemoteTeacher {
    /// A request without a prompt and a length.
    pub(crate) fn completion(&self, seed: Seed) -> CompletionRequest {
        CompletionRequest {
            model: self.config.model.clone(),
            sampling: self.sampling(seed),
            ..CompletionRequest::default()
        }
    }

    /// The sampler, as the server gets it. Some servers read the seed as a signed number of 32 bits.
    fn sampling(&self, seed: Seed) -> Sampling {
        match self.sampler {
            Sampler::Greedy => Sampling::default(),
            Sampler::Sample { temperature, top_k, top_p } => {
                Sampling { temperature, top_k, top_p, seed: Some(seed.0 & 0x7fff_ffff) }
            }
        }
    }

    /// Asks the server to go on with a text. `read` gets its continuation, and whether the text ends there.
    pub(crate) fn continue_text<R>(
        &self,
        request: TextRequest<'_>,
        read: impl FnOnce(&str, bool) -> Result<R, RemoteError>,
    ) -> Result<(R, TokenUsage), RemoteError> {
        let TextRequest { prompt, written, max_tokens, seed } = request;
        let RemoteApi::Chat(continuation) = self.features.api else {
            let RemotePrompt::Text(prompt) = prompt else {
                return Err(RemoteError::Unsupported {
                    server: self.client.server().to_owned(),
                    missing: "has no chat API",
                    remedy: "make a prompt with `RemotePrompt::Text`",
                });
            };
            let prompt = PromptInput::Text(prompt + written);
            let request = CompletionRequest { prompt, max_tokens, ..self.completion(seed) };
            return self.client.call("/completions", &request, request.size(), |choice: CompletionChoice| {
                let has_ended = self.has_ended(&choice.text, choice.finish_reason.as_deref())?;
                read(&choice.text, has_ended)
            });
        };
        let messages = conversation(prompt, written, continuation);
        // A token has at least one byte, and the template of a conversation writes a few tokens for each message.
        let bytes: usize = messages.iter().map(|message| 16 + message.content.as_deref().map_or(0, str::len)).sum();
        let size = TokenUsage { prompt_tokens: bytes as u64, completion_tokens: max_tokens as u64 };
        let continues = (continuation == ChatContinuation::Flags && !written.is_empty()).then_some(true);
        let request = ChatRequest {
            model: self.config.model.clone(),
            messages,
            max_tokens,
            sampling: self.sampling(seed),
            continue_final_message: continues,
            add_generation_prompt: continues.map(|continues| !continues),
        };
        self.client.call("/chat/completions", &request, size, |choice: ChatChoice| {
            let mut text = choice.message.content.unwrap_or_default();
            // Some servers repeat the beginning.
            if let Some(rest) = text.strip_prefix(written) {
                text = rest.to_owned();
            }
            let joins = |end: Option<char>| end.is_some_and(char::is_alphanumeric);
            if continuation == ChatContinuation::Instruction
                && joins(written.chars().next_back())
                && joins(text.chars().next())
            {
                // A new message does not begin with the space that was between two words.
                text.insert(0, ' ');
            }
            let has_ended = self.has_ended(&text, choice.finish_reason.as_deref())?;
            read(&text, has_ended)
        })
    }

    /// Whether a text ends after an answer.
    ///
    /// # Errors
    /// [`RemoteError::Reply`] if it does not, and the answer is empty.
    fn has_ended(&self, answer: &str, finish_reason: Option<&str>) -> Result<bool, RemoteError> {
        let has_ended = finish_reason == Some("stop");
        match answer.is_empty() && !has_ended {
            true => Err(self.client.invalid("it has no text, and the text has not ended")),
            false => Ok(has_ended),
        }
    }
}

/// The messages that ask to go on after `written`.
fn conversation(prompt: RemotePrompt, written: &str, continuation: ChatContinuation) -> Vec<ChatMessage> {
    let message = |role: &str, content: String| ChatMessage { role: role.to_owned(), content: Some(content) };
    let mut messages: Vec<ChatMessage> = match prompt {
        RemotePrompt::Text(text) => vec![message("user", text)],
        RemotePrompt::Messages(messages) => {
            messages.into_iter().map(|turn| message(&turn.role.to_string(), turn.content)).collect()
        }
    };
    if written.is_empty() {
        return messages;
    }
    match continuation {
        ChatContinuation::Flags | ChatContinuation::LastMessage => messages.push(message("assistant", written.into())),
        ChatContinuation::Instruction => messages.push(message(
            "user",
            format!(
                "Your answer was cut off. Go on exactly where it stops. Write only what comes next: repeat nothing, and \
                 add no remarks. The answer so far:\n{written}"
            ),
        )),
    }
    messages
}
