//! The page on which a reader looks at figures and texts.

use std::error::Error;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use training_wheels::prelude::*;
use training_wheels::text::TextError;
use wheels_eval::{DecodedText, Results};

use super::measure::DeviceRuns;
use super::suite::Case;

/// The texts of all systems, as the page reads them.
#[derive(Serialize)]
pub(crate) struct Texts<'a> {
    /// Source and reference of each example.
    examples: Vec<[&'a str; 2]>,
    systems: Vec<SystemTexts>,
}

#[derive(Serialize)]
struct SystemTexts {
    name: String,
    /// Each text in pieces by one author each.
    texts: Vec<Vec<Piece>>,
}

/// A piece of a text, and whether the teacher wrote it.
#[derive(Serialize)]
struct Piece(String, bool);

/// The first `browse` texts of every case.
///
/// # Errors
/// If the tokenizer does not know a token.
pub(crate) fn texts<'a>(
    plan: &[Case],
    on: &DeviceRuns,
    data: &'a Dataset,
    browse: usize,
) -> Result<Texts<'a>, TextError> {
    let mut examples = Vec::new();
    for example in data.iter().take(browse) {
        examples.push([example.source.as_str(), example.target.as_str()]);
    }
    let mut systems = Vec::with_capacity(plan.len());
    for (case, run) in plan.iter().zip(&on.runs) {
        let mut texts = Vec::with_capacity(examples.len());
        for text in run.output.texts.iter().take(browse) {
            texts.push(pieces(&on.tokenizer, text)?);
        }
        systems.push(SystemTexts { name: case.name(), texts });
    }
    Ok(Texts { examples, systems })
}

/// The page. It holds everything that it needs.
pub(crate) fn page(results: &Results, figures: Vec<String>, texts: &Texts<'_>) -> Result<String, Box<dyn Error>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let page = environment.template_from_str(include_str!("report.html"))?.render(context! {
        results => results,
        notes => results.notes(),
        figures => figures.into_iter().map(Value::from_safe_string).collect::<Vec<_>>(),
        // Without "<", no text can close the element that holds it.
        texts => Value::from_safe_string(serde_json::to_string(texts)?.replace('<', "\\u003c")),
    })?;
    Ok(page)
}

fn pieces(tokenizer: &Tokenizer, text: &DecodedText) -> Result<Vec<Piece>, TextError> {
    let mut stream = tokenizer.stream();
    let mut pieces: Vec<Piece> = Vec::new();
    for (&token, helped) in text.tokens.iter().zip(text.helped()) {
        let written = stream.push(token)?.unwrap_or_default();
        match pieces.last_mut() {
            Some(Piece(last, by_teacher)) if *by_teacher == helped => last.push_str(&written),
            _ => pieces.push(Piece(written, helped)),
        }
    }
    if let (Some(rest), Some(Piece(last, _))) = (stream.finish()?, pieces.last_mut()) {
        last.push_str(&rest);
    }
    Ok(pieces)
}
