//! Texts of a remote teacher, as data for training.

use wheels_text::{Dataset, Example, GenerationConfig, HelpBudget, Message, PromptTemplate, Role, Seed};

use crate::ask::TextRequest;
use crate::concurrently::try_concurrently;
use crate::text_exchange::usable;
use crate::wire::{CompletionChoice, CompletionRequest, PromptInput};
use crate::{RemoteApi, RemoteError, RemotePrompt, RemoteTeacher, TokenExchange};

impl RemoteTeacher {
    /// The texts that the teacher writes for the sources of a dataset, with those sources: the data of sequence-level
    /// distillation (Kim and Rush 2016, arXiv 1606.07947). The student may have another tokenizer.
    ///
    /// The template makes the prompts, and the generation config limits the lengths; the sampler is that of
    /// [`with_sampler`](Self::with_sampler). A source for which the teacher writes nothing is left out. Give a part of the
    /// data at a time and save the texts in between: an error loses those of its call, and no further text is requested.
    ///
    /// # Errors
    /// [`RemoteError::Prompt`] if a source is empty or too long, before any text is requested, and any error of a call.
    pub fn write_texts(
        &self,
        template: &PromptTemplate,
        generation: &GenerationConfig,
        dataset: &[Example],
        seed: Seed,
    ) -> Result<Dataset, RemoteError> {
        let mut texts = Vec::with_capacity(dataset.len());
        for (index, example) in dataset.iter().enumerate() {
            let prompt = template.prompt_of(&self.tokenizer, example, HelpBudget::percent(0));
            let prompt = prompt.map_err(|source| RemoteError::Prompt { index: index + 1, source })?;
            texts.push((example, prompt, seed.nth(index as u64)));
        }
        let written = try_concurrently(&texts, self.config.concurrency, |(example, prompt, seed)| {
            let (max_tokens, seed) = (generation.limit(prompt.expert.len()), *seed);
            match (self.features.tokens, &self.prompts) {
                (TokenExchange::Ids, _) => self.write_by_ids(prompt.expert.clone(), max_tokens, seed),
                (TokenExchange::Text, Some(make)) => self.write_by_text(make(prompt), max_tokens, seed),
                (TokenExchange::Text, None) => self.write_by_text(self.prompt_of(template, example), max_tokens, seed),
            }
        })?;
        let mut examples = Vec::with_capacity(dataset.len());
        for (example, target) in dataset.iter().zip(written) {
            if !target.trim().is_empty() {
                examples.push(Example { target, ..example.clone() });
            }
        }
        Ok(examples.into_iter().collect())
    }

    fn write_by_ids(&self, ids: Vec<u32>, max_tokens: usize, seed: Seed) -> Result<String, RemoteError> {
        let request = CompletionRequest { prompt: PromptInput::Ids(ids), max_tokens, ..self.completion(seed) };
        let read = |choice: CompletionChoice| Ok(usable(&choice.text, true).to_owned());
        Ok(self.client.call("/completions", &request, request.size(), read)?.0)
    }

    fn write_by_text(&self, prompt: RemotePrompt, max_tokens: usize, seed: Seed) -> Result<String, RemoteError> {
        let request = TextRequest { prompt, written: "", max_tokens, seed };
        Ok(self.continue_text(request, |text, _| Ok(usable(text, true).to_owned()))?.0)
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
