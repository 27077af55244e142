//! An answer as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use prometheus::HistogramTimer;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::error::ApiError;
use super::format::{Format, Shape};
use crate::engine::{Event, Usage};

/// The texts of a request as they come.
pub(crate) struct Frames {
    format: Format,
    events: UnboundedReceiver<(usize, Event)>,
    /// Whether each text has begun.
    begun: Vec<bool>,
    /// The number of texts that have not ended.
    open: usize,
    usage: Usage,
    include_usage: bool,
    ready: VecDeque<String>,
    /// Stops at the end of the stream.
    _timer: HistogramTimer,
}

impl Frames {
    /// The frames of an answer to `texts` prompts.
    pub(crate) fn new(
        format: Format,
        events: UnboundedReceiver<(usize, Event)>,
        texts: usize,
        include_usage: bool,
        timer: HistogramTimer,
    ) -> Self {
        let (begun, usage, ready) = (vec![false; texts], Usage::default(), VecDeque::new());
        Self { format, events, begun, open: texts, usage, include_usage, ready, _timer: timer }
    }

    /// Waits for the first event, so that the status tells of a failure before the first token.
    ///
    /// # Errors
    /// If the first thing that happens is that a text fails.
    pub(crate) async fn into_response(mut self) -> Result<Response, ApiError> {
        match self.events.recv().await {
            Some((_, Event::Failed(failure))) => return Err(failure.into()),
            Some(first) => self.receive(first),
            None => return Err(ApiError::internal()),
        }
        let stream = stream::unfold(self, |mut frames| async {
            let frame = frames.next().await?;
            Some((Ok::<_, Infallible>(sse::Event::default().data(frame)), frames))
        });
        Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
    }

    /// The next frame. None after the last one.
    async fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() && self.open > 0 {
            match self.events.recv().await {
                Some(event) => self.receive(event),
                None => self.fail(ApiError::internal()),
            }
        }
        self.ready.pop_front()
    }

    fn receive(&mut self, (index, event): (usize, Event)) {
        match event {
            Event::Prompt(piece) => self.push(self.format.part(index, None, &piece)),
            Event::Piece(author, piece) => {
                self.begin(index);
                self.push(self.format.part(index, Some(author), &piece));
            }
            Event::Done(end, usage) => {
                self.begin(index);
                self.push(self.format.end(index, end));
                self.usage += usage;
                self.open -= 1;
                if self.open == 0 {
                    if self.include_usage {
                        self.ready.push_back(self.format.usage_part(&self.usage).to_string());
                    }
                    self.ready.push_back("[DONE]".into());
                }
            }
            Event::Failed(failure) => self.fail(failure.into()),
        }
    }

    /// Ends all texts with an error.
    fn fail(&mut self, error: ApiError) {
        self.ready.push_back(error.body().to_string());
        self.open = 0;
    }

    /// A chat begins with a part that has no text.
    fn begin(&mut self, index: usize) {
        if self.format.shape == Shape::Chat && !std::mem::replace(&mut self.begun[index], true) {
            self.push(self.format.beginning(index));
        }
    }

    fn push(&mut self, mut part: Value) {
        if self.include_usage {
            part["usage"] = Value::Null;
        }
        self.ready.push_back(part.to_string());
    }
}
