//! How the examples in a file are read.

use serde::{Deserialize, Serialize};

use crate::TextError;

/// How the examples in a file are read: the names of its fields, and what happens with invalid lines.
///
/// Without names, the common layouts are recognised; [`Dataset::open`](crate::Dataset::open) lists them.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wheels_text::{Dataset, DatasetOptions, Example};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("train.jsonl");
/// std::fs::write(&path, r#"{"id": 1, "translation": {"en": "one", "it": "uno"}}"#)?;
/// let options = DatasetOptions::default().with_source("translation.en").with_target("translation.it");
/// let dataset = Dataset::open_with(&path, &options)?;
/// assert_eq!(dataset.examples(), [Example::new("one", "uno")]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetOptions {
    /// The field with the source. A dot leads into an object or, with a number from 0, into a list: `translation.en`,
    /// `answers.0`. Without `target`, this field holds a conversation: a list of messages. Default: `None`, a common
    /// layout.
    pub source: Option<String>,
    /// The field with the target, as a path like that of `source`. Default: `None`.
    pub target: Option<String>,
    /// Whether invalid lines are skipped and counted. If more than half of the lines are invalid, that is still an
    /// error. Default: `false`, the first invalid line is an error.
    pub skip_bad: bool,
}

impl DatasetOptions {
    /// Sets the field with the source.
    #[must_use]
    pub fn with_source(self, field: impl Into<String>) -> Self {
        Self { source: Some(field.into()), ..self }
    }

    /// Sets the field with the target.
    #[must_use]
    pub fn with_target(self, field: impl Into<String>) -> Self {
        Self { target: Some(field.into()), ..self }
    }

    /// Sets whether invalid lines are skipped and counted.
    #[must_use]
    pub fn with_skip_bad(self, skip_bad: bool) -> Self {
        Self { skip_bad, ..self }
    }

    pub(super) fn check(&self) -> Result<(), TextError> {
        match self {
            Self { source: None, target: Some(target), .. } => Err(TextError::NoSourceField { target: target.clone() }),
            _ => Ok(()),
        }
    }
}
