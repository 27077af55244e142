//! What can be wrong with a line of a data file.

/// What is wrong with a line of a dataset.
///
/// Fields are paths: `messages.0.content` is the field `content` of the first object in the list `messages`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// The line is not UTF-8.
    #[error("invalid UTF-8 at byte {byte} of the line; convert the file to UTF-8")]
    InvalidUtf8 {
        /// The position of the first invalid byte in the line, from 1.
        byte: usize,
    },
    /// The line is not JSON.
    #[error(
        "{reason} (column {column}); write a JSON object such as {{\"source\": \"...\", \"target\": \"...\"}} on one \
         line, or name a table .csv or .tsv"
    )]
    Json {
        /// The position of the problem in the line, bytes from 1.
        column: usize,
        /// The parser's message.
        reason: String,
    },
    /// The line is JSON, but not an object.
    #[error("expected an object such as {{\"source\": \"...\", \"target\": \"...\"}} and found {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// The first object has no known layout, or several.
    #[error("{}", unknown_fields(found, *several, source_field, target_field.as_deref()))]
    UnknownFields {
        /// Its fields.
        found: Vec<String>,
        /// Whether several layouts are possible.
        several: bool,
        /// A field that may be the source.
        source_field: String,
        /// A field that may be the target. `None` if the source would be a conversation, which has the target in it.
        target_field: Option<String>,
    },
    /// A field does not exist.
    #[error("missing field `{field}`; the fields of the line are {}", found.join(", "))]
    MissingField {
        /// The field.
        field: String,
        /// The fields that exist.
        found: Vec<String>,
    },
    /// A field is not a text.
    #[error("the field `{field}` is {found}; write it as a text in quotes")]
    NotText {
        /// The field.
        field: String,
        /// What it is.
        found: &'static str,
    },
    /// A field is empty or only white space.
    #[error("the field `{field}` is empty; fill it, or remove the line")]
    EmptyField {
        /// The field.
        field: String,
    },
    /// A row of a table has more or fewer fields than its first row has names.
    #[error(
        "the row has {found} fields and the first row has {header}; put texts with delimiters or line feeds in quotes, \
         which only CSV allows"
    )]
    Columns {
        /// The number of fields in the row.
        found: usize,
        /// The number of names in the first row.
        header: usize,
    },
    /// A quote is not closed before the end of a table.
    #[error("a quote in the row is not closed before the end of the file; close it, or write it twice if it is text")]
    OpenQuote,
    /// A field should be a conversation and is not a list.
    #[error(
        "the field `{field}` is {found} and not a list of messages, which the source must be without a field of the \
         target (`DatasetOptions::with_target`)"
    )]
    NotMessages {
        /// The field.
        field: String,
        /// What it is.
        found: &'static str,
    },
    /// A message is from someone that prompts have no role for.
    #[error("the field `{field}` is {role:?}; it must be system, user (or human), or assistant (or gpt)")]
    Role {
        /// The field.
        field: String,
        /// The role.
        role: String,
    },
    /// A conversation has no answer that could be the target.
    #[error("the conversation `{field}` {reason}; add it, or remove the line")]
    Conversation {
        /// The field.
        field: String,
        /// What is wrong.
        reason: &'static str,
    },
}

fn unknown_fields(found: &[String], several: bool, source: &str, target: Option<&str>) -> String {
    let found = if found.is_empty() { "no fields".to_owned() } else { format!("the fields {}", found.join(", ")) };
    let why = if several { ", which fit several layouts" } else { "" };
    let with_target = target.map_or_else(String::new, |target| format!(".with_target({target:?})"));
    format!(
        "the first object has {found}{why}; name those to use, for example \
         `DatasetOptions::default().with_source({source:?}){with_target}`"
    )
}
