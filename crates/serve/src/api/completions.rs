//! `/v1/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use training_wheels::text::{HelpBudget, Prompt};

use super::App;
use super::error::ApiError;
use super::format::Shape;
use super::request::Request;

pub(super) async fn answer(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let mut fields = super::body(&app, &headers, body).await?;
    let mut request = Request::read(&mut fields, &app)?;
    if let Some(count) = fields.take("logprobs")? {
        request.want_log_probs("logprobs", count)?;
    }
    request.options.echo = fields.take("echo")?.unwrap_or(false);
    if request.options.echo && !app.can_echo {
        let message =
            "`echo` needs a model that continues its prompt, and this one is an encoder-decoder; leave it out";
        return Err(ApiError::unsupported("echo", message));
    }
    let tokens_as_ids = fields.take("return_tokens_as_token_ids")?.unwrap_or(false);
    let prompt = fields.take("prompt")?.ok_or_else(|| ApiError::invalid("prompt", "`prompt` is missing"))?;
    request.prompts = prompts(&app, prompt, request.budget)?;
    fields.finish()?;
    app.answer(request, Shape::Completion { tokens_as_ids }).await
}

/// The prompts: a text, a list of texts, token ids, or a list of those.
fn prompts(app: &App, value: Value, budget: HelpBudget) -> Result<Vec<Prompt>, ApiError> {
    let values = match value {
        Value::Array(values) if values.iter().all(Value::is_number) => vec![Value::Array(values)],
        Value::Array(values) => values,
        value => vec![value],
    };
    let mut prompts = Vec::with_capacity(values.len());
    for value in values {
        let prompt = match value {
            Value::String(text) => app.prompter.of_text(&text, budget),
            Value::Array(ids) => {
                let ids: Option<Vec<u32>> = ids.iter().map(|id| id.as_u64()?.try_into().ok()).collect();
                match ids {
                    Some(ids) => app.prompter.of_ids(ids, budget),
                    None => Err("a prompt of token ids has something that is no token id".to_owned()),
                }
            }
            _ => Err("`prompt` must be a text, a list of texts, token ids, or a list of those".to_owned()),
        };
        prompts.push(prompt.map_err(|message| ApiError::invalid("prompt", message))?);
    }
    if prompts.is_empty() {
        return Err(ApiError::invalid("prompt", "`prompt` is an empty list; send at least one prompt"));
    }
    Ok(prompts)
}
