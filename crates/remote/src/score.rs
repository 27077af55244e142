//! Log-probs of given texts, as targets for training.

use crate::concurrently::try_concurrently;
use crate::token_reply::{Expected, TokenReply};
use crate::wire::{CompletionChoice, CompletionRequest, PromptInput};
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
    /// [`RemoteConfig::concurrency`](crate::RemoteConfig) of them, and none after an error.
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
        try_concurrently(pairs, self.config.concurrency, |(prompt, target)| self.score_one(prompt, target, k))
    }

    fn score_one(&self, prompt: &[u32], target: &[u32], k: usize) -> Result<Vec<TopTokens>, RemoteError> {
        let ids = [prompt, target].concat();
        let way = self.features.text_log_probs;
        let expected = Expected { way, prompt: ids.len(), max_tokens: 1 };
        let request = CompletionRequest {
            model: self.config.model.clone(),
            prompt: PromptInput::Ids(ids),
            max_tokens: 1,
            logprobs: Some(if way == TextLogProbs::Echo { k } else { 1 }),
            return_tokens_as_token_ids: self.features.names_ids,
            ..CompletionRequest::default()
        };
        let request = request.with_text_log_probs(way, k);
        let read = |choice| self.top_tokens(choice, expected, target);
        Ok(self.client.call("/completions", &request, request.size(), read)?.0)
    }

    /// The most likely tokens at the positions of a target, with which the prompt of an answer ends.
    fn top_tokens(
        &self,
        choice: CompletionChoice,
        expected: Expected,
        target: &[u32],
    ) -> Result<Vec<TopTokens>, RemoteError> {
        let reply = TokenReply::read(choice, expected, self.names()).map_err(|why| self.client.invalid(why))?;
        let mut positions = Vec::with_capacity(target.len());
        for (token, &own) in reply.prompt.into_iter().skip(expected.prompt - target.len()).zip(target) {
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
