//! The format of a model's prompts, saved as prompt.json.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::{self, ModelFiles};
use crate::{Example, HelpBudget, Message, Prompt, Role, TextError, Tokenizer, marks, task_prefix};

pub(crate) const FILE: &str = "prompt.json";
const MAX_TOKENS: usize = 256;

/// Where the student's prompt states the help budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPlacement {
    /// Nowhere: only the decoder knows the budget.
    #[default]
    None,
    /// In words before the prefix and the text. Each digit of the number is encoded by itself.
    Before,
    /// In words at the end of a chat's system turn, on a line of its own. Each digit of the number is encoded by itself.
    System,
}

/// How a chat model's prompts are made; see [`PromptTemplate::chat`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatPrompt {
    /// The text of the system turn. Default: `None`, the turn that the chat template writes by itself, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Further variables of the chat template, such as `enable_thinking`. Default: empty.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
}

/// The format of a model's prompts, saved as `prompt.json` in the model's folder.
///
/// A prompt is the budget in words (for the student, if [`BudgetPlacement::Before`]), the prefix, the source text and the
/// suffix, with the special tokens of [`Tokenizer::encode_prompt`] around them. With [`chat`](Self::chat), the same text
/// is the user's turn of a conversation.
///
/// ```
/// use wheels_text::{HelpBudget, PromptTemplate, Tokenizer, TokenizerConfig};
///
/// let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()])?;
/// let prompt = PromptTemplate::default().prompt(&tokenizer, "a text editor", HelpBudget::percent(20))?;
/// assert_eq!(prompt.student.last(), Some(&tokenizer.eos()));
/// assert_eq!(prompt.student, prompt.expert);
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PromptFile")]
pub struct PromptTemplate {
    /// Text before every source text, such as "translate English to Italian: ". Default: empty.
    pub prefix: String,
    /// Text after every source text, such as "\nItalian:" for a decoder-only model, which continues its prompt. Default:
    /// empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// Where the student's prompt states the budget. Default: nowhere.
    pub budget: BudgetPlacement,
    /// The index of the wording that states the budget; see [`HelpBudget::words`]. Default: 0.
    pub wording: usize,
    /// The maximum number of tokens in a whole prompt. Default: 256.
    pub max_tokens: usize,
    /// Whether prompts are conversations, written by the model's chat template up to the beginning of the assistant's
    /// turn. Default: `None`, texts without turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatPrompt>,
}

impl Default for PromptTemplate {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            suffix: String::new(),
            budget: BudgetPlacement::None,
            wording: 0,
            max_tokens: MAX_TOKENS,
            chat: None,
        }
    }
}

impl PromptTemplate {
    /// Reads the `prompt.json` in a model's folder.
    ///
    /// Without this file, the prefix is that of `task_specific_params` in config.json if exactly one task has a prefix
    /// there. If several tasks have one, choose with [`PromptTemplate::from_task`]. Otherwise texts are prompts as they
    /// are; a log line says so.
    ///
    /// # Errors
    /// If a file exists and cannot be read or parsed.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::open(ModelFiles::Folder(folder.as_ref()))
    }

    /// Reads the prompt template among the files of a model in memory, each with its name. Error messages use `origin`
    /// as the name of the folder.
    ///
    /// # Errors
    /// As [`PromptTemplate::from_dir`].
    pub fn from_files(origin: &str, files: &[(&str, &[u8])]) -> Result<Self, TextError> {
        Self::open(ModelFiles::Memory { origin, files })
    }

    fn open(files: ModelFiles<'_>) -> Result<Self, TextError> {
        match files.read(FILE)? {
            Some(json) => serde_json::from_slice(&json)
                .map_err(|source| TextError::PromptTemplate { path: files.path(FILE), source }),
            None => Ok(Self::default().with_prefix(task_prefix::only_prefix(files)?)),
        }
    }

    /// A template with the prefix that a model's config.json has for a task, such as `translation_en_to_de`.
    ///
    /// # Errors
    /// [`TextError::UnknownTask`] if config.json has no prefix for the task. If the file cannot be read or parsed.
    pub fn from_task(folder: impl AsRef<Path>, task: &str) -> Result<Self, TextError> {
        Ok(Self::default().with_prefix(task_prefix::prefix_of(ModelFiles::Folder(folder.as_ref()), task)?))
    }

    /// Reads the content of a `prompt.json`.
    ///
    /// Missing fields have their defaults. Unknown fields are an error, because a misspelled field would otherwise have
    /// no effect. `max_new_tokens` and `no_repeat_ngram_size` are ignored here: earlier versions wrote them into this
    /// file, and [`GenerationConfig`](crate::GenerationConfig) reads them.
    ///
    /// # Errors
    /// If the content cannot be parsed.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        serde_json::from_str(json).map_err(|source| TextError::PromptTemplate { path: FILE.into(), source })
    }

    /// Writes `prompt.json` into a folder atomically. Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TextError> {
        let json = serde_json::to_string_pretty(self).expect("text and numbers are JSON");
        files::write_atomically(folder.as_ref().join(FILE), format!("{json}\n"))
    }

    /// Sets the text before every source text.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets the text after every source text.
    #[must_use]
    pub fn with_suffix(self, suffix: impl Into<String>) -> Self {
        Self { suffix: suffix.into(), ..self }
    }

    /// Sets where the student's prompt states the budget.
    #[must_use]
    pub fn with_budget(self, budget: BudgetPlacement) -> Self {
        Self { budget, ..self }
    }

    /// The same template with a budget in the student's prompt. A template that states none states it before the text.
    #[must_use]
    pub fn stating_budget(self) -> Self {
        match self.budget {
            BudgetPlacement::None => self.with_budget(BudgetPlacement::Before),
            _ => self,
        }
    }

    /// Sets the index of the wording that states the budget; see [`HelpBudget::words`].
    #[must_use]
    pub fn with_wording(self, wording: usize) -> Self {
        Self { wording, ..self }
    }

    /// Sets the maximum number of tokens in a whole prompt.
    #[must_use]
    pub fn with_max_tokens(self, max_tokens: usize) -> Self {
        Self { max_tokens, ..self }
    }

    /// Makes prompts of conversations; see [`PromptTemplate::chat`].
    #[must_use]
    pub fn with_chat(self, chat: ChatPrompt) -> Self {
        Self { chat: Some(chat), ..self }
    }

    /// Makes the prompts for one source text. White space around the text is removed.
    ///
    /// # Errors
    /// If the text is empty or cannot be encoded, or if the student's prompt is longer than `max_tokens`. A prompt is
    /// never truncated. With [`chat`](Self::chat), for the reasons of [`Tokenizer::encode_chat`]. If the budget belongs
    /// into the system turn and there is no text for it.
    pub fn prompt(&self, tokenizer: &Tokenizer, source: &str, budget: HelpBudget) -> Result<Prompt, TextError> {
        self.prompt_after(&[], tokenizer, source, budget)
    }

    /// Makes the prompts for one example, with the earlier messages of its conversation.
    ///
    /// The source is the user's last turn: only there are the prefix and the suffix. The earlier messages stand before it
    /// as they are. A system message at their beginning takes the place of [`ChatPrompt::system`]. An example without
    /// earlier messages gives the prompts of [`prompt`](Self::prompt).
    ///
    /// # Errors
    /// [`TextError::Turns`] if the example has earlier messages and this template makes no conversations. For the reasons
    /// of [`prompt`](Self::prompt).
    pub fn prompt_of(&self, tokenizer: &Tokenizer, example: &Example, budget: HelpBudget) -> Result<Prompt, TextError> {
        self.prompt_after(&example.turns, tokenizer, &example.source, budget)
    }

    fn prompt_after(
        &self,
        turns: &[Message],
        tokenizer: &Tokenizer,
        source: &str,
        budget: HelpBudget,
    ) -> Result<Prompt, TextError> {
        let source = source.trim();
        if source.is_empty() {
            return Err(TextError::EmptyText);
        }
        let text = format!("{}{source}{}", self.prefix, self.suffix);
        let prompt = match &self.chat {
            None if !turns.is_empty() => return Err(TextError::Turns { turns: turns.len() }),
            None => self.plain(tokenizer, &text, budget)?,
            Some(chat) => self.conversation(chat, tokenizer, turns, &text, budget)?,
        };
        if prompt.student.len() > self.max_tokens {
            return Err(TextError::TooLong { tokens: prompt.student.len(), limit: self.max_tokens });
        }
        Ok(prompt)
    }

    /// The largest number of tokens from the start of a student's prompt to the end of the budget in it. 0 without a
    /// budget in words.
    ///
    /// The earlier messages of a conversation are not counted; see [`prompt_of`](Self::prompt_of). A budget that stands
    /// after them ends later.
    ///
    /// # Errors
    /// For the reasons of [`prompt`](Self::prompt).
    pub fn budget_end(&self, tokenizer: &Tokenizer) -> Result<usize, TextError> {
        let mut largest = 0;
        for wording in 0..HelpBudget::WORDINGS {
            for budget in [HelpBudget::percent(100), HelpBudget::tokens(100)] {
                let template = self.clone().with_wording(wording).with_max_tokens(usize::MAX);
                let Prompt { student, expert, .. } = template.prompt(tokenizer, "any text", budget)?;
                let same = student.iter().rev().zip(expert.iter().rev()).take_while(|(a, b)| a == b).count();
                largest = largest.max(student.len() - same);
            }
        }
        Ok(largest)
    }

    fn plain(&self, tokenizer: &Tokenizer, text: &str, budget: HelpBudget) -> Result<Prompt, TextError> {
        let text = tokenizer.encode(text)?;
        let mut student = match self.budget {
            BudgetPlacement::None => vec![],
            BudgetPlacement::Before => encode_by_digits(tokenizer, &format!("{} ", budget.words(self.wording)))?,
            BudgetPlacement::System => return Err(TextError::NoSystemTurn),
        };
        student.extend(&text);
        Ok(Prompt { student: tokenizer.as_prompt(&student), expert: tokenizer.as_prompt(&text), budget })
    }

    fn conversation(
        &self,
        chat: &ChatPrompt,
        tokenizer: &Tokenizer,
        turns: &[Message],
        text: &str,
        budget: HelpBudget,
    ) -> Result<Prompt, TextError> {
        let guarded = |role, content: &str| Message::new(role, tokenizer.guard(content));
        let mut expert = Vec::with_capacity(turns.len() + 2);
        if !matches!(turns, [Message { role: Role::System, .. }, ..]) {
            expert.extend(chat.system.as_deref().map(|system| guarded(Role::System, system)));
        }
        expert.extend(turns.iter().map(|turn| guarded(turn.role, &turn.content)));
        expert.push(guarded(Role::User, text));
        let words = marks::cut_digits(&budget.words(self.wording));
        let mut student = expert.clone();
        match (self.budget, &mut student[..]) {
            (BudgetPlacement::None, _) => {}
            (BudgetPlacement::Before, [.., user]) => user.content = format!("{words} {}", user.content),
            (BudgetPlacement::System, [system @ Message { role: Role::System, .. }, ..]) => {
                system.content = format!("{}\n{words}", system.content);
            }
            (BudgetPlacement::System | BudgetPlacement::Before, _) => return Err(TextError::NoSystemTurn),
        }
        let encode = |messages: &[Message]| tokenizer.encode_guarded_chat(messages, &chat.variables);
        Ok(Prompt { student: encode(&student)?, expert: encode(&expert)?, budget })
    }
}

/// The fields that a prompt.json may have: those of [`PromptTemplate`], and two that earlier versions wrote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptFile {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
    #[serde(default)]
    budget: BudgetPlacement,
    #[serde(default)]
    wording: usize,
    #[serde(default = "max_tokens")]
    max_tokens: usize,
    #[serde(default)]
    chat: Option<ChatPrompt>,
    #[serde(default, rename = "max_new_tokens")]
    _max_new_tokens: IgnoredAny,
    #[serde(default, rename = "no_repeat_ngram_size")]
    _no_repeat_ngram_size: IgnoredAny,
}

fn max_tokens() -> usize {
    MAX_TOKENS
}

impl From<PromptFile> for PromptTemplate {
    fn from(file: PromptFile) -> Self {
        let PromptFile { prefix, suffix, budget, wording, max_tokens, chat, .. } = file;
        Self { prefix, suffix, budget, wording, max_tokens, chat }
    }
}

/// Encodes a text, and each digit in it by itself.
///
/// A number such as 37 may be a single token that is rare in training. The tokens of the ten digits are frequent, so a
/// model can read numbers that it has never seen.
fn encode_by_digits(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
    let mut ids = Vec::new();
    for part in text.split_inclusive(|c: char| c.is_ascii_digit()) {
        let words = part.trim_end_matches(|c: char| c.is_ascii_digit());
        for piece in [words, &part[words.len()..]] {
            ids.extend(tokenizer.encode(piece)?);
        }
    }
    Ok(ids)
}
