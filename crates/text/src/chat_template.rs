//! Chat templates: messages as the text that a chat model reads.

use std::collections::BTreeMap;
use std::fmt;

use minijinja::{Environment, Value as JinjaValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::ModelFiles;
use crate::special_tokens::TOKENIZER_CONFIG;
use crate::{TextError, jinja};

pub(crate) const FILE: &str = "chat_template.jinja";
const NAME: &str = "chat template";

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The one who gives the model its task.
    System,
    /// The one whom the model answers.
    User,
    /// The model.
    Assistant,
}

impl fmt::Display for Role {
    /// Writes the name that chat templates use, such as `user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        })
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A chat model's template, in Jinja: it writes the messages of a conversation as one text, with control tokens such as
/// `<|im_start|>` between them.
///
/// It is rendered as Hugging Face's `apply_chat_template` does it. Templates that need more than messages with a role
/// and a text, such as tools or images, get none of these. `strftime_now` gives the time in UTC.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use serde_json::Map;
/// use wheels_text::{ChatTemplate, Message, Role};
///
/// let source = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{{ eos_token }}{% endfor %}";
/// let special_tokens = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
/// let template = ChatTemplate::new(source, special_tokens);
/// let text = template.render(&[Message::new(Role::User, "Ciao!")], &Map::new())?;
/// assert_eq!(text, "<user>Ciao!</s>");
/// # Ok::<(), wheels_text::TextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// A template with its source, and the model's special tokens, which it may use as variables such as `bos_token`.
    ///
    /// A source that is not valid Jinja is an error when it is rendered, so that a model opens even if nobody chats
    /// with it.
    pub fn new(source: impl Into<String>, special_tokens: BTreeMap<String, String>) -> Self {
        let source = source.into();
        let mut environment = jinja::environment();
        if let Err(error) = environment.add_template_owned(NAME, jinja::without_generation_tags(&source)) {
            log::debug!("the chat template cannot be used: {error}");
        }
        Self { source, environment, special_tokens }
    }

    /// The template of a model: chat_template.jinja, or the field `chat_template` of tokenizer_config.json. If that is a
    /// list of templates, the one named `default`.
    pub(crate) fn read(
        files: ModelFiles<'_>,
        special_tokens: BTreeMap<String, String>,
    ) -> Result<Option<Self>, TextError> {
        let source = match files.read(FILE)? {
            Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            None => files.object(TOKENIZER_CONFIG)?.get("chat_template").and_then(default_source),
        };
        Ok(source.map(|source| Self::new(source, special_tokens)))
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes a conversation as one text.
    ///
    /// `variables` are further variables of the template, such as `enable_thinking`. `add_generation_prompt` is true
    /// unless it is among them: the text ends with the beginning of the assistant's turn.
    ///
    /// The contents of messages appear as they are, with the names of special tokens in them.
    /// [`Tokenizer::encode_chat`](crate::Tokenizer::encode_chat) knows which of these a user wrote.
    ///
    /// # Errors
    /// [`TextError::ChatRefused`] if the template refuses the messages, for example a system message. If the template
    /// is not valid Jinja, or fails otherwise.
    pub fn render(&self, messages: &[Message], variables: &Map<String, Value>) -> Result<String, TextError> {
        // These are defined in transformers, too, so that a template finds that there are none.
        let mut context = BTreeMap::from([
            ("tools", JinjaValue::from(())),
            ("documents", JinjaValue::from(())),
            ("add_generation_prompt", JinjaValue::from(true)),
        ]);
        context
            .extend(self.special_tokens.iter().map(|(name, token)| (name.as_str(), JinjaValue::from(token.as_str()))));
        context.extend(variables.iter().map(|(name, value)| (name.as_str(), JinjaValue::from_serialize(value))));
        context.insert("messages", JinjaValue::from_serialize(messages));
        let rendered = match self.environment.get_template(NAME) {
            Ok(template) => template.render(context),
            // It did not compile. Doing it again gives the reason.
            Err(_) => self.environment.render_str(&jinja::without_generation_tags(&self.source), context),
        };
        rendered.map_err(|source| match jinja::refusal(&source) {
            Some(reason) => TextError::ChatRefused { reason },
            None => TextError::ChatTemplate { source },
        })
    }
}

/// The template in the field `chat_template`: a text, or the one named `default` in a list.
fn default_source(field: &Value) -> Option<String> {
    let source = match field {
        Value::Array(named) => named.iter().find(|template| template["name"] == "default")?.get("template")?,
        source => source,
    };
    source.as_str().map(str::to_owned)
}
