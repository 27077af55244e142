//! The prefixes of tasks in a model's config.json.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::TextError;
use crate::files::ModelFiles;

const FILE: &str = "config.json";

/// The prefix of a model that was trained with one, or nothing. A log line says what was found.
pub(crate) fn only_prefix(files: ModelFiles<'_>) -> Result<String, TextError> {
    let prefixes = prefixes(files)?;
    let folder = files.folder().display();
    let distinct: Vec<&String> = BTreeSet::from_iter(prefixes.values()).into_iter().collect();
    match distinct[..] {
        [prefix] => {
            log::info!("{folder} has no prompt.json; texts get the prefix {prefix:?} of its config.json");
            Ok(prefix.clone())
        }
        [] => {
            log::info!("{folder} has no prompt.json; texts are prompts as they are");
            Ok(String::new())
        }
        _ => {
            let tasks: Vec<&str> = prefixes.keys().map(String::as_str).collect();
            log::warn!(
                "{folder} has no prompt.json; texts are prompts as they are, although its config.json has prefixes for \
                 the tasks {}; choose one of them with PromptTemplate::from_task",
                tasks.join(", ")
            );
            Ok(String::new())
        }
    }
}

/// The prefix of one task.
pub(crate) fn prefix_of(files: ModelFiles<'_>, task: &str) -> Result<String, TextError> {
    let mut prefixes = prefixes(files)?;
    prefixes.remove(task).ok_or_else(|| TextError::UnknownTask {
        path: files.path(FILE),
        task: task.to_owned(),
        known: prefixes.into_keys().collect(),
    })
}

/// The tasks that have a prefix.
fn prefixes(files: ModelFiles<'_>) -> Result<BTreeMap<String, String>, TextError> {
    let config = files.object(FILE)?;
    let mut prefixes = BTreeMap::new();
    for (task, settings) in config.get("task_specific_params").and_then(Value::as_object).into_iter().flatten() {
        if let Some(prefix) = settings.get("prefix").and_then(Value::as_str).filter(|prefix| !prefix.is_empty()) {
            prefixes.insert(task.clone(), prefix.to_owned());
        }
    }
    Ok(prefixes)
}
