//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use training_wheels::text::{Message, Role};

use super::App;
use super::error::ApiError;
use super::format::Shape;
use super::request::Request;

/// A message as clients send it.
#[derive(Deserialize)]
struct SentMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

pub(super) async fn answer(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let mut fields = super::body(&app, &headers, body).await?;
    let mut request = Request::read(&mut fields, &app)?;
    let (wanted, count) = (fields.take("logprobs")?, fields.take("top_logprobs")?);
    match (wanted.unwrap_or(false), count) {
        (true, count) => request.want_log_probs("top_logprobs", count.unwrap_or(0))?,
        (false, Some(1..)) => {
            return Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs`: set it to true"));
        }
        (false, _) => {}
    }
    let sent: Option<Vec<SentMessage>> = fields.take("messages")?;
    let sent = sent.ok_or_else(|| ApiError::invalid("messages", "`messages` is missing"))?;
    let messages = sent.into_iter().map(message).collect::<Result<Vec<Message>, String>>();
    let prompt = messages.and_then(|messages| app.prompter.of_messages(messages, request.budget));
    request.prompts = vec![prompt.map_err(|message| ApiError::invalid("messages", message))?];
    fields.finish()?;
    app.answer(request, Shape::Chat).await
}

fn message(SentMessage { role, content }: SentMessage) -> Result<Message, String> {
    let role = match role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => return Err(format!("this server does not support messages of the role {other:?}")),
    };
    let content = match content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            let mut text = String::new();
            for part in parts {
                match part.text {
                    Some(part_text) if part.kind == "text" => text.push_str(&part_text),
                    _ => return Err(format!("this server reads only text, and no part of the type {:?}", part.kind)),
                }
            }
            text
        }
        None => return Err(format!("a message of the {role} has no content")),
    };
    Ok(Message::new(role, content))
}
