//! Texts of a remote teacher, as data for training.

use wheels_text::{Dataset, Example, GenerationConfig, HelpBudget, Message, PromptTemplate, Role, Seed};

use crate::concurrently::concurrently;
use crate::score::first_error;
use crate::spending::CallSize;
use crate::wire::{CompletionReply, CompletionRequest, PromptInput};
use crate::{RemoteApi, RemoteError, RemotePrompt, RemoteTeacher, TokenExchange};

impl RemoteTeacher {
    /// The texts that the teacher writes for the sources of a dataset, with those sources: the data of sequence-level
    /// distillation (Kim and Rush 2016, arXiv 1606.07947). The student may have another tokenizer.
    ///
    /// The template makes the prompts, and the generation config limits the lengths; the sampler is that of
    /// [`with_sampler`](Self::with_sampler). A source for which the teacher writes nothing is left out. Give a part of the
    /// data at a time and save the texts in between: an error loses those of its call.
    ///
    /// # Errors
    /// [`RemoteError::Prompt`] if a source is empty or too long, and any error of a call.
    pub fn write_texts(
        &self,
        template: &PromptTemplate,
        generation: &GenerationConfig,
        dataset: &[Example],
        seed: Seed,
    ) -> Result<Dataset, RemoteError> {
        let indexed: Vec<(usize, &Example)> = dataset.iter().enumerate().collect();
        let written = concurrently(&indexed, self.config.concurrency, |(index, example)| {
            let prompt = template.prompt_of(&self.tokenizer, example, HelpBudget::percent(0));
            let prompt = prompt.map_err(|source| RemoteError::Prompt { index: index + 1, source })?;
            let (max_tokens, seed) = (generation.limit(prompt.expert.len()), seed.nth(*index as u64));
            match (self.features.tokens, &self.prompts) {
                (TokenExchange::Ids, _) => self.write_by_ids(prompt.expert, max_tokens, seed),
                (TokenExchange::Text, Some(make)) => self.write_by_text(make(&prompt), max_tokens, seed),
                (TokenExchange::Text, None) => self.write_by_text(self.prompt_of(template, example), max_tokens, seed),
            }
        });
        let mut examples = Vec::with_capacity(dataset.len());
        for (example, target) in dataset.iter().zip(first_error(written)?) {
            if !target.trim().is_empty() {
                examples.push(Example { target, ..example.clone() });
            }
        }
        Ok(examples.into_iter().collect())
    }

    fn write_by_ids(&self, ids: Vec<u32>, max_tokens: usize, seed: Seed) -> Result<String, RemoteError> {
        let size = CallSize { prompt_tokens: ids.len() as u64, completion_tokens: max_tokens as u64 };
        let request = CompletionRequest {
            prompt: PromptInput::Ids(ids),
            max_tokens,
            logprobs: None,
            return_tokens_as_token_ids: false,
            ..self.completion(seed)
        };
        let reply: CompletionReply = self.client.call("/completions", &request, size)?;
        let choice = reply.choices.into_iter().next().ok_or_else(|| self.client.invalid("it has no choices"))?;
        Ok(whole(choice.text))
    }

    fn write_by_text(&self, prompt: RemotePrompt, max_tokens: usize, seed: Seed) -> Result<String, RemoteError> {
        Ok(whole(self.continue_text(prompt, "", max_tokens, seed)?.0))
    }

    /// The prompt of an example as text, or as the messages of its conversation for a chat server.
    fn prompt_of(&self, template: &PromptTemplate, example: &Example) -> RemotePrompt {
        let text = format!("{}{}{}", template.prefix, example.source.trim(), template.suffix);
        if self.features.api == RemoteApi::Completions {
            return RemotePrompt::Text(text);
        }
        let mut messages = example.turns.clone();
        let has_system = messages.first().is_some_and(|first| first.role == Role::System);
        if let Some(system) = template.chat.as_ref().and_then(|chat| chat.system.as_ref()).filter(|_| !has_system) {
            messages.insert(0, Message::new(Role::System, system.clone()));
        }
        messages.push(Message::new(Role::User, text));
        RemotePrompt::Messages(messages)
    }
}

/// A text without a part of a character at its end, where a length limit can leave one.
fn whole(text: String) -> String {
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned()
}
