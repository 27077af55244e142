//! Log-probs of given texts, as targets for training.

use crate::concurrently::concurrently;
use crate::spending::CallSize;
use crate::token_reply::{Expected, TokenReply};
use crate::wire::{CompletionReply, CompletionRequest, PromptInput};
use crate::{RemoteError, RemoteTeacher, TextLogProbs, TokenExchange};

/// The most likely tokens at a position with their log-probs, nats. They are distinct.
type TopTokens = Vec<(u32, f64)>;

impl RemoteTeacher {
    /// What identifies the teacher: its server and its name there.
    pub fn identity(&self) -> String {
        format!("{} {}", self.config.base_url, self.config.model)
    }

    /// The `k` most likely tokens at every position of some targets, each after its prompt, and the target's own token if it
    /// is not among them. Both are token ids. The texts are sent at the same time, up to
    /// [`RemoteConfig::concurrency`](crate::RemoteConfig) of them.
    ///
    /// If the server names tokens by their texts, those that share their text with others are left out.
    ///
    /// # Errors
    /// [`RemoteError::Unsupported`] if the server takes no token ids or gives no log-probs of given texts, and any error of
    /// a call.
    pub fn score(&self, pairs: &[(&[u32], &[u32])], k: usize) -> Result<Vec<Vec<TopTokens>>, RemoteError> {
        let missing = match (self.features.tokens, self.features.text_log_probs) {
            (TokenExchange::Text, _) => "takes no token ids",
            (_, TextLogProbs::None) => "gives no log-probs of texts that are sent to it",
            _ => "",
        };
        if !missing.is_empty() {
            return Err(RemoteError::Unsupported {
                server: self.client.server().to_owned(),
                missing,
                remedy: "use a server that does, such as vLLM, or train on texts of the teacher",
            });
        }
        let scored = concurrently(pairs, self.config.concurrency, |(prompt, target)| self.score_one(prompt, target, k));
        first_error(scored)
    }

    fn score_one(&self, prompt: &[u32], target: &[u32], k: usize) -> Result<Vec<TopTokens>, RemoteError> {
        let ids = [prompt, target].concat();
        let count = ids.len();
        let echo = self.features.text_log_probs == TextLogProbs::Echo;
        let expected =
            Expected { echoed: echo.then_some(count), prompt_log_probs: (!echo).then_some(count), max_tokens: 1 };
        let size = CallSize { prompt_tokens: count as u64, completion_tokens: 1 };
        let request = CompletionRequest {
            model: self.config.model.clone(),
            prompt: PromptInput::Ids(ids),
            max_tokens: 1,
            echo,
            logprobs: Some(if echo { k } else { 1 }),
            prompt_logprobs: (!echo).then_some(k),
            return_tokens_as_token_ids: self.features.names_ids,
            ..CompletionRequest::default()
        };
        let reply: CompletionReply = self.client.call("/completions", &request, size)?;
        let reply = TokenReply::read(reply, expected, self.names()).map_err(|why| self.client.invalid(why))?;
        let mut positions = Vec::with_capacity(target.len());
        for (token, &own) in reply.prompt.into_iter().skip(prompt.len()).zip(target) {
            let log_prob = token.log_prob_of(own);
            let mut top = token.top;
            if let Some(log_prob) = log_prob.filter(|_| top.iter().all(|(id, _)| *id != own)) {
                top.push((own, log_prob));
            }
            if top.is_empty() {
                return Err(self.client.invalid(format!("it has no log-probs at token {own} of a text")));
            }
            positions.push(top);
        }
        Ok(positions)
    }
}

/// All results, or the error that came first. While a server is not called after a failure, later errors only say so.
pub(crate) fn first_error<T>(results: Vec<Result<T, RemoteError>>) -> Result<Vec<T>, RemoteError> {
    let (mut values, mut outage) = (Vec::with_capacity(results.len()), None);
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error @ RemoteError::Outage { .. }) => outage = outage.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    outage.map_or(Ok(values), Err)
}
