//! Which fields of an object are the source and the target.

use serde_json::{Map, Value};

use super::records::kind;
use super::{DatasetOptions, Example, conversation};
use crate::LineProblem;

/// The names of a source and a target in common data sets.
const PAIRS: [(&str, &str); 6] = [
    ("input", "output"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("document", "summary"),
    ("article", "highlights"),
    ("text", "summary"),
];
const CONVERSATIONS: [&str; 2] = ["messages", "conversations"];
/// Error messages list at most this number of fields, and this number of characters of each name.
const SHOWN_FIELDS: usize = 20;
const SHOWN_CHARS: usize = 40;

#[derive(Clone, Debug)]
enum Layout {
    /// `source` and `target`, with the `turns` that [`Dataset::save_jsonl`](crate::Dataset::save_jsonl) writes.
    Saved,
    /// Two texts.
    Pair { source: String, target: String },
    /// Those of Alpaca: an instruction, an output, and often an input for the instruction.
    Instruction,
    /// A list of messages.
    Conversation { field: String },
}

/// The fields of a file: those of its options, or those of the first object that has a known layout.
#[derive(Clone, Debug)]
pub(super) struct Fields(Option<Layout>);

impl Fields {
    pub(super) fn new(options: &DatasetOptions) -> Self {
        Self(match (options.source.clone(), options.target.clone()) {
            (Some(source), Some(target)) => Some(Layout::Pair { source, target }),
            (Some(field), None) => Some(Layout::Conversation { field }),
            (None, _) => None,
        })
    }

    /// Whether the header of a table has these fields.
    pub(super) fn fit(&self, header: &[String]) -> bool {
        let has = |name: &String| header.contains(name);
        match &self.0 {
            Some(Layout::Pair { source, target }) => has(source) && has(target),
            Some(_) => false,
            None => {
                let object = header.iter().map(|name| (name.clone(), Value::String(String::new()))).collect();
                recognise(&object).is_ok()
            }
        }
    }

    /// The example in an object.
    pub(super) fn example(&mut self, object: &Map<String, Value>) -> Result<Example, LineProblem> {
        let layout = match &self.0 {
            Some(layout) => layout,
            None => self.0.insert(recognise(object)?),
        };
        match layout {
            Layout::Saved => {
                let example = Example::new(text(object, "source")?, text(object, "target")?);
                Ok(example.with_turns(conversation::saved_turns(object)?))
            }
            Layout::Pair { source, target } => Ok(Example::new(text(object, source)?, text(object, target)?)),
            Layout::Instruction => {
                let (instruction, output) = (text(object, "instruction")?, text(object, "output")?);
                let source = match object.get("input") {
                    None | Some(Value::Null) => instruction.to_owned(),
                    Some(Value::String(input)) if input.trim().is_empty() => instruction.to_owned(),
                    Some(_) => format!("{instruction}\n\n{}", text(object, "input")?),
                };
                Ok(Example::new(source, output))
            }
            Layout::Conversation { field } => conversation::example(object, field),
        }
    }
}

/// The layout of an object, if exactly one is possible.
fn recognise(object: &Map<String, Value>) -> Result<Layout, LineProblem> {
    let has = |name: &str| object.contains_key(name);
    if has("source") && has("target") {
        return Ok(Layout::Saved);
    }
    let mut layouts = Vec::new();
    let instruction = has("instruction") && has("output");
    if instruction {
        layouts.push(Layout::Instruction);
    }
    for (source, target) in PAIRS {
        // An instruction's input is only a part of the source.
        if has(source) && has(target) && !(instruction && source == "input") {
            layouts.push(Layout::Pair { source: source.to_owned(), target: target.to_owned() });
        }
    }
    for field in CONVERSATIONS {
        if object.get(field).is_some_and(Value::is_array) {
            layouts.push(Layout::Conversation { field: field.to_owned() });
        }
    }
    match <[Layout; 1]>::try_from(layouts) {
        // The order of the languages in a `translation` says nothing, so that its fields must be named.
        Ok([layout]) if !object.get("translation").is_some_and(Value::is_object) => Ok(layout),
        Ok(layout) => Err(unknown(object, &layout)),
        Err(layouts) => Err(unknown(object, &layouts)),
    }
}

fn unknown(object: &Map<String, Value>, layouts: &[Layout]) -> LineProblem {
    let mut fields = Vec::new();
    list(object, "", &mut fields);
    let in_translation = fields.iter().filter(|(path, _)| path.starts_with("translation."));
    let texts = || fields.iter().filter(|(_, value)| value.is_string()).map(|(path, _)| path.as_str());
    let translation: Vec<&str> = in_translation.map(|(path, _)| path.as_str()).collect();
    let example = match (layouts, &translation[..]) {
        ([Layout::Pair { source, target }, ..], _) => (source.as_str(), Some(target.as_str())),
        ([Layout::Conversation { field }, ..], _) => (field.as_str(), None),
        ([Layout::Instruction | Layout::Saved, ..], _) => ("instruction", Some("output")),
        ([], [first, second, ..]) => (*first, Some(*second)),
        ([], _) => (texts().next().unwrap_or("FIELD"), Some(texts().nth(1).unwrap_or("FIELD"))),
    };
    let (source_field, target_field) = (example.0.to_owned(), example.1.map(str::to_owned));
    LineProblem::UnknownFields { found: shown(&fields), several: !layouts.is_empty(), source_field, target_field }
}

/// The text in a field.
pub(super) fn text<'a>(object: &'a Map<String, Value>, path: &str) -> Result<&'a str, LineProblem> {
    match field(object, path)? {
        Value::String(text) if text.trim().is_empty() => Err(LineProblem::EmptyField { field: path.to_owned() }),
        Value::String(text) => Ok(text),
        other => Err(LineProblem::NotText { field: path.to_owned(), found: kind(other) }),
    }
}

/// The value of a field.
pub(super) fn field<'a>(object: &'a Map<String, Value>, path: &str) -> Result<&'a Value, LineProblem> {
    lookup(object, path).ok_or_else(|| {
        let mut fields = Vec::new();
        list(object, "", &mut fields);
        LineProblem::MissingField { field: path.to_owned(), found: shown(&fields) }
    })
}

fn lookup<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    // A name may have dots itself.
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let mut dots = path.match_indices('.').map(|(at, _)| at);
    dots.find_map(|at| inside(object.get(&path[..at])?, &path[at + 1..]))
}

fn inside<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => lookup(object, path),
        Value::Array(items) => match path.split_once('.') {
            None => items.get(path.parse::<usize>().ok()?),
            Some((index, rest)) => inside(items.get(index.parse::<usize>().ok()?)?, rest),
        },
        _ => None,
    }
}

/// Lists the fields of an object, with the paths of those in inner objects.
fn list<'a>(object: &'a Map<String, Value>, before: &str, fields: &mut Vec<(String, &'a Value)>) {
    for (name, value) in object {
        let path = format!("{before}{name}");
        match value {
            Value::Object(inner) if !inner.is_empty() => list(inner, &format!("{path}."), fields),
            _ => fields.push((path, value)),
        }
    }
}

/// The names of fields for an error message.
fn shown(fields: &[(String, &Value)]) -> Vec<String> {
    let mut names = Vec::new();
    for (path, _) in fields.iter().take(SHOWN_FIELDS) {
        let short: String = path.chars().take(SHOWN_CHARS).collect();
        names.push(if short.len() < path.len() { format!("{short}...") } else { short });
    }
    if fields.len() > SHOWN_FIELDS {
        names.push(format!("and {} more", fields.len() - SHOWN_FIELDS));
    }
    names
}
