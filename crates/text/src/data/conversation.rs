//! Examples out of lists of messages.

use serde_json::{Map, Value};

use super::Example;
use super::layout::{field, text};
use super::records::kind;
use crate::{LineProblem, Message, Role};

/// The example in a list of messages: the last answer is the target, the user's message directly before it is the
/// source, and all earlier messages are its turns. Messages after the last answer are left out.
pub(super) fn example(object: &Map<String, Value>, path: &str) -> Result<Example, LineProblem> {
    let invalid = |reason| LineProblem::Conversation { field: path.to_owned(), reason };
    let mut turns = messages(object, path)?;
    let Some(answer) = turns.iter().rposition(|message| message.role == Role::Assistant) else {
        return Err(invalid("has no message of the assistant"));
    };
    turns.truncate(answer + 1);
    match (turns.pop(), turns.pop()) {
        (Some(target), Some(source)) if source.role == Role::User => {
            Ok(Example { source: source.content, target: target.content, turns })
        }
        _ => Err(invalid("has no message of the user directly before the last one of the assistant")),
    }
}

/// The messages before the source in a line that [`Dataset::save_jsonl`](crate::Dataset::save_jsonl) wrote. Another
/// field of this name, which is not a list, is ignored.
pub(super) fn saved_turns(object: &Map<String, Value>) -> Result<Vec<Message>, LineProblem> {
    match object.get("turns") {
        Some(Value::Array(_)) => messages(object, "turns"),
        _ => Ok(Vec::new()),
    }
}

fn messages(object: &Map<String, Value>, path: &str) -> Result<Vec<Message>, LineProblem> {
    let list = match field(object, path)? {
        Value::Array(list) => list,
        other => return Err(LineProblem::NotMessages { field: path.to_owned(), found: kind(other) }),
    };
    let mut messages = Vec::with_capacity(list.len());
    for (index, message) in list.iter().enumerate() {
        let has = |name: &str| message.get(name).is_some();
        let path = |name: &str| format!("{path}.{index}.{name}");
        let (role_path, content_path) =
            if has("from") && !has("role") { (path("from"), path("value")) } else { (path("role"), path("content")) };
        let name = text(object, &role_path)?;
        let Some(role) = role(name) else {
            return Err(LineProblem::Role { field: role_path, role: name.to_owned() });
        };
        let content = match text(object, &content_path) {
            // This is not the same as no system message: many templates then write one of their own.
            Err(LineProblem::EmptyField { .. }) if role == Role::System => "",
            content => content?,
        };
        messages.push(Message::new(role, content));
    }
    Ok(messages)
}

/// The role with a name in the format of chat models, or in that of ShareGPT.
fn role(name: &str) -> Option<Role> {
    match name {
        "system" => Some(Role::System),
        "user" | "human" => Some(Role::User),
        "assistant" | "gpt" => Some(Role::Assistant),
        _ => None,
    }
}
