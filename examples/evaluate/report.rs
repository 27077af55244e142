//! The page on which a reader looks at figures and texts.

use std::error::Error;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, context};
use training_wheels::eval::{Results, Written};
use training_wheels::prelude::*;
use training_wheels::text::{Dataset, TextError};

use crate::run::Outcomes;

/// The page, with everything that it needs in it.
pub(crate) fn page(
    results: &Results,
    figures: Vec<String>,
    data: &Dataset,
    outcomes: &Outcomes,
    tokenizer: &Tokenizer,
    browse: usize,
) -> Result<String, Box<dyn Error>> {
    let mut systems = Vec::new();
    for ((name, percent), measured) in outcomes {
        let texts = measured.outcome.texts.iter().take(browse).map(|text| pieces(tokenizer, text));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        systems.push(serde_json::json!({ "name": format!("{name} at {percent}%"), "texts": texts }));
    }
    let examples: Vec<[&str; 2]> =
        data.iter().take(browse).map(|example| [example.source.as_str(), example.target.as_str()]).collect();
    let texts = serde_json::to_string(&serde_json::json!({ "examples": examples, "systems": systems }))?;
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let page = environment.template_from_str(include_str!("report.html"))?.render(context! {
        results => results,
        figures => figures.into_iter().map(Value::from_safe_string).collect::<Vec<_>>(),
        // No text can close the element that holds it.
        texts => Value::from_safe_string(texts.replace('<', "\\u003c")),
    })?;
    Ok(page)
}

/// A text in pieces of one author each, `s` or `t`.
fn pieces(tokenizer: &Tokenizer, written: &Written) -> Result<Vec<(String, char)>, TextError> {
    let mut stream = tokenizer.stream();
    let mut pieces: Vec<(String, char)> = Vec::new();
    for (&token, author) in written.tokens.iter().zip(written.authors.chars()) {
        let piece = stream.push(token)?.unwrap_or_default();
        match pieces.last_mut() {
            Some((text, last)) if *last == author => text.push_str(&piece),
            _ => pieces.push((piece, author)),
        }
    }
    if let (Some(rest), Some((text, _))) = (stream.finish()?, pieces.last_mut()) {
        text.push_str(&rest);
    }
    Ok(pieces)
}
