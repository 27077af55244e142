//! From what a client sends to what the models read.

use training_wheels::text::{
    BudgetPlacement, ChatPrompt, Example, HelpBudget, Message, Prompt, PromptTemplate, Role, TextError, Tokenizer,
};

use crate::{Served, ServerConfig};

const NO_CONVERSATIONS: &str =
    "the teacher of this server is behind another one that takes texts and no token ids, and cannot read conversations";

/// Makes prompts of texts, token ids and conversations.
pub(crate) struct Prompter {
    pub(crate) tokenizer: Tokenizer,
    /// None if the model continues texts as they are.
    template: Option<PromptTemplate>,
    /// The template of conversations.
    chat: PromptTemplate,
    max_tokens: usize,
    vocab_size: usize,
    reads_conversations: bool,
}

impl Prompter {
    pub(crate) fn new(served: &Served, config: &ServerConfig) -> Self {
        let student = &served.pair.student;
        let max_tokens = student.text_limit(config.max_prompt_tokens);
        let template = student.template.clone();
        let is_plain = template.prefix.is_empty()
            && template.suffix.is_empty()
            && template.chat.is_none()
            && template.budget == BudgetPlacement::None;
        let chat = if is_plain && student.tokenizer.chat_template().is_some() {
            PromptTemplate::default().with_chat(ChatPrompt::default()).with_max_tokens(max_tokens)
        } else {
            let limit = template.max_tokens.min(max_tokens);
            template.clone().with_max_tokens(if is_plain { max_tokens } else { limit })
        };
        let template = (!is_plain).then(|| chat.clone());
        Self {
            tokenizer: student.tokenizer.clone(),
            template,
            chat,
            max_tokens,
            vocab_size: served.vocab_size(),
            reads_conversations: served.reads_conversations(),
        }
    }

    /// The prompt of a text: by the template of the student's prompt.json, or else the text as it is.
    ///
    /// # Errors
    /// What is wrong, to show to a client.
    pub(crate) fn of_text(&self, text: &str, budget: HelpBudget) -> Result<Prompt, String> {
        let written = |error: TextError| training_wheels::report(&error);
        match &self.template {
            Some(template) if template.chat.is_some() && !self.reads_conversations => Err(NO_CONVERSATIONS.into()),
            Some(template) => template.prompt(&self.tokenizer, text, budget).map_err(written),
            None => self.of_ids(self.tokenizer.encode_prompt(text).map_err(written)?, budget),
        }
    }

    /// The prompt of token ids, which both models read as they are. No budget is stated in it.
    ///
    /// # Errors
    /// What is wrong, to show to a client.
    pub(crate) fn of_ids(&self, ids: Vec<u32>, budget: HelpBudget) -> Result<Prompt, String> {
        let (tokens, limit, size) = (ids.len(), self.max_tokens, self.vocab_size);
        if ids.is_empty() {
            return Err("the prompt is empty; send at least one token".into());
        }
        if tokens > limit {
            return Err(format!("the prompt has {tokens} tokens, and this server reads at most {limit}; shorten it"));
        }
        match ids.iter().find(|id| **id as usize >= size) {
            Some(id) => Err(format!("the prompt has token {id}, but the vocabulary has only {size} tokens")),
            None => Ok(Prompt { student: ids.clone(), expert: ids, budget }),
        }
    }

    /// The prompt of a conversation, which ends with a message of the user.
    ///
    /// # Errors
    /// What is wrong, to show to a client.
    pub(crate) fn of_messages(&self, messages: Vec<Message>, budget: HelpBudget) -> Result<Prompt, String> {
        if self.chat.chat.is_some() && !self.reads_conversations {
            return Err(NO_CONVERSATIONS.into());
        }
        let mut turns = messages;
        match turns.pop() {
            Some(Message { role: Role::User, content }) => {
                let example = Example { turns, ..Example::new(content, "") };
                let prompt = self.chat.prompt_of(&self.tokenizer, &example, budget);
                prompt.map_err(|error| training_wheels::report(&error))
            }
            Some(Message { role, .. }) => Err(format!("the last message is of the {role}; end with one of the user")),
            None => Err("there are no messages; send at least one of the user".into()),
        }
    }
}
