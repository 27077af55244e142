//! The API of OpenAI over HTTP.

mod answer;
mod chat;
mod completions;
mod error;
mod fields;
mod format;
mod frames;
mod page;
mod request;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tower_http::catch_panic::CatchPanicLayer;
use training_wheels::decode::BudgetUnit;
use training_wheels::text::{GenerationConfig, Seed};

use crate::engine::{Job, Queue};
use crate::metrics::Metrics;
use crate::prompter::Prompter;
use crate::{Served, ServerConfig, budget};
use error::ApiError;
use format::{Format, Shape};

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    prompter: Prompter,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    has_teacher: bool,
    /// What budgets count. None if each call of the teacher brings one token.
    counted: Option<BudgetUnit>,
    /// Whether an answer can begin with its prompt.
    can_echo: bool,
    /// The model's generation config, within the limits of the server: what holds for a request that does not say it.
    generation: GenerationConfig,
    /// Makes names and seeds that differ between requests and between servers.
    random: RandomState,
    requests: AtomicU64,
    /// The number of requests without a seed.
    seeds: AtomicU64,
    started: u64,
}

impl App {
    pub(crate) fn new(served: &Served, config: ServerConfig, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Self {
        Self {
            prompter: Prompter::new(served, &config),
            queue,
            metrics,
            has_teacher: served.has_teacher(),
            counted: served.counted(),
            can_echo: served.continues_prompts(),
            generation: served.pair.student.generation.clone(),
            random: RandomState::new(),
            requests: AtomicU64::new(0),
            seeds: AtomicU64::new(0),
            started: unix_time(),
            config,
        }
    }

    /// A number that no other request has.
    fn random(&self) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.requests.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }

    /// The seed of a request that has none.
    fn seed(&self) -> Seed {
        match self.config.seed {
            Some(seed) => Seed(seed).nth(self.seeds.fetch_add(1, Ordering::Relaxed)),
            None => Seed(self.random()),
        }
    }

    /// Decodes the texts of a request, and answers with them at once or as they come.
    ///
    /// # Errors
    /// If there is no room for them, or if the first thing that happens is that one fails.
    async fn answer(self: Arc<Self>, request: request::Request, shape: Shape) -> Result<Response, ApiError> {
        let deadline = Instant::now() + self.config.request_timeout();
        let (reply, mut events) = unbounded_channel();
        let mut jobs = Vec::with_capacity(request.prompts.len());
        for (index, prompt) in request.prompts.into_iter().enumerate() {
            let (options, seed) = (request.options.clone(), request.seed.nth(index as u64));
            jobs.push(Job { index, prompt, options, seed, deadline, reply: reply.clone() });
        }
        drop(reply);
        let texts = jobs.len();
        if texts > self.config.queue {
            let message =
                format!("the request has {texts} prompts, and this server takes at most {}", self.config.queue);
            return Err(ApiError::invalid("prompt", message));
        }
        self.queue.push(jobs)?;
        let timer = self.metrics.seconds.start_timer();
        let format = Format::new(shape, self, request.budget);
        if request.stream {
            return frames::Frames::new(format, events, texts, request.include_usage, timer).into_response().await;
        }
        Ok(Json(format.whole(&answer::collect(&mut events, texts).await?)).into_response())
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// All paths of the server.
pub(crate) fn router(app: Arc<App>) -> Router {
    let with_key = Router::new()
        .route("/v1/completions", post(completions::answer))
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(model))
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(app.clone(), check_key));
    let page = page::Page::new();
    Router::new()
        .route("/", get(move || async move { page.response() }))
        .route("/health", get(health))
        .merge(with_key)
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "there is no such path; see /v1/models") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not have this method")
        })
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(middleware::from_fn_with_state(app.clone(), count))
        .with_state(app)
}

/// Refuses requests without the key, if there is one.
async fn check_key(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match &app.config.api_key {
        Some(key) if !key.is(given) => ApiError::key().into_response(),
        _ => next.run(request).await,
    }
}

/// Counts answered requests.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    app.metrics.requests.with_label_values(&[path, response.status().as_str()]).inc();
    response
}

/// The JSON body of a request.
///
/// # Errors
/// If it is too large, or is not said to be JSON: a page of another site cannot send that without asking.
async fn body(app: &App, headers: &HeaderMap, body: Body) -> Result<fields::Fields, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        let message = "the body must be JSON; send the header `Content-Type: application/json`";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let limit = app.config.max_body_bytes;
    let bytes = axum::body::to_bytes(body, limit).await;
    let bytes = bytes.map_err(|_| {
        let message = format!("the body is larger than {limit} bytes, or broke off; send less");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    fields::Fields::new(&bytes)
}

async fn health() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    app.metrics.waiting.set(app.queue.len() as i64);
    let text = app.metrics.text().map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

impl App {
    fn model_card(&self) -> serde_json::Value {
        let ServerConfig { model_name, default_budget, max_budget, max_new_tokens, .. } = &self.config;
        json!({
            "id": model_name,
            "object": "model",
            "created": self.started,
            "owned_by": "training-wheels",
            "has_teacher": self.has_teacher,
            "default_budget": self.has_teacher.then(|| budget::shown(*default_budget, self.counted)),
            "max_budget": self.has_teacher.then(|| budget::shown(*max_budget, self.counted)),
            "max_tokens": max_new_tokens,
        })
    }
}

async fn models(State(app): State<Arc<App>>) -> impl IntoResponse {
    Json(json!({ "object": "list", "data": [app.model_card()] }))
}

async fn model(
    State(app): State<Arc<App>>,
    axum::extract::Path(model): axum::extract::Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    match model == app.config.model_name {
        true => Ok(Json(app.model_card())),
        false => Err(ApiError::unknown_model(&model, &app.config.model_name)),
    }
}
