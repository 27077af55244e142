//! The texts of a request, collected until they end.

use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;

use super::error::ApiError;
use crate::engine::{Author, End, Event, ScoredToken, Usage};

/// The texts of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) texts: Vec<Text>,
    pub(crate) usage: Usage,
}

/// One text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    /// With the prompt before it, if the request wants that.
    pub(crate) text: String,
    /// The parts after the prompt.
    pub(crate) spans: Vec<Span>,
    pub(crate) tokens: Vec<ScoredToken>,
    pub(crate) end: Option<End>,
}

/// A part of a text by one author.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Span {
    pub(crate) author: Author,
    pub(crate) text: String,
}

/// Waits for all texts of a request.
///
/// # Errors
/// If one of them fails.
pub(crate) async fn collect(events: &mut UnboundedReceiver<(usize, Event)>, texts: usize) -> Result<Answer, ApiError> {
    let mut answer = Answer { texts: vec![Text::default(); texts], usage: Usage::default() };
    let mut open = texts;
    while open > 0 {
        let (index, event) = events.recv().await.ok_or_else(ApiError::internal)?;
        let text = &mut answer.texts[index];
        match event {
            Event::Prompt(piece) => {
                text.text = piece.text;
                text.tokens = piece.tokens;
            }
            Event::Piece(author, piece) => {
                text.tokens.extend(piece.tokens);
                text.text.push_str(&piece.text);
                match text.spans.last_mut() {
                    Some(last) if last.author == author || piece.text.is_empty() => last.text.push_str(&piece.text),
                    _ if piece.text.is_empty() => {}
                    _ => text.spans.push(Span { author, text: piece.text }),
                }
            }
            Event::Done(end, usage) => {
                text.end = Some(end);
                answer.usage += usage;
                open -= 1;
            }
            Event::Failed(failure) => return Err(failure.into()),
        }
    }
    Ok(answer)
}
