//! What an evaluation keeps in its folder, so that it can go on.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use training_wheels::text::HelpBudget;
use wheels_text::write_atomically;

/// Everything that decides which texts are decoded. All outputs in one folder have the same settings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The student's folder, or "the embedded TASK".
    pub(crate) student: String,
    /// The teacher's folder, or "the embedded TASK".
    pub(crate) teacher: String,
    /// A hash of the files of both models, so that a model that was trained again is not taken for the old one.
    pub(crate) models: Option<String>,
    /// The file of the texts, or "the embedded TASK".
    pub(crate) data: String,
    /// The field of the source texts, if it is named.
    pub(crate) source_field: Option<String>,
    /// The field of the target texts, if it is named.
    pub(crate) target_field: Option<String>,
    /// The number of texts.
    pub(crate) texts: usize,
    /// The file of the validation texts, if thresholds are found on them.
    pub(crate) valid: Option<PathBuf>,
    /// The largest number of validation texts, if thresholds are found on them.
    pub(crate) valid_texts: Option<usize>,
    /// The number of texts that are decoded together.
    pub(crate) batch: usize,
    /// The number of texts that wait for help together, if they wait.
    pub(crate) help_batch: Option<usize>,
    /// The number of free rows at which new texts begin, if a batch is not finished first.
    pub(crate) refill: Option<usize>,
    /// The seed of random help.
    pub(crate) seed: u64,
    /// The budget that prompts state, if it is not the real one.
    pub(crate) stated_budget: Option<HelpBudget>,
    /// The wording of budgets, if it is not the student's own.
    pub(crate) wording: Option<usize>,
    /// The format of the models' matrices, if it is not f32.
    pub(crate) dtype: Option<String>,
}

const FILE: &str = "settings.json";

impl Settings {
    /// Starts an evaluation in a folder, or goes on with the one that is there.
    ///
    /// # Errors
    /// If the folder holds an evaluation with other settings, or cannot be read or written.
    pub(crate) fn open_folder(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let path = folder.join(FILE);
        let Some(saved) = read::<Map<String, Value>>(&path)? else { return write(&path, self) };
        let wanted = serde_json::to_value(self)?;
        let wanted = wanted.as_object().expect("a struct is an object");
        // A setting that an earlier version did not have is null.
        let is_null = |settings: &Map<String, Value>, name: &str| settings.get(name).is_none_or(Value::is_null);
        let mut other = Vec::new();
        for (name, here) in wanted {
            // Outputs without a threshold do not depend on validation texts.
            let finds_thresholds = !is_null(&saved, "valid") && !is_null(wanted, "valid");
            if name.starts_with("valid") && !finds_thresholds {
                continue;
            }
            let there = saved.get(name).unwrap_or(&Value::Null);
            // Other folders have other files.
            let is_said =
                name == "models" && ["student", "teacher"].iter().any(|name| saved.get(*name) != wanted.get(*name));
            if there != here && !is_said {
                other.push(difference(name, there, here));
            }
        }
        if !other.is_empty() {
            return Err(collision(folder, &other).into());
        }
        if is_null(wanted, "valid") { Ok(()) } else { write(&path, self) }
    }
}

/// How a setting of the saved evaluation differs from that of this one.
fn difference(name: &str, there: &Value, here: &Value) -> String {
    let [there, here] = [there, here].map(shown);
    match name {
        "models" => "the files of the student or the teacher have changed since".to_owned(),
        "texts" => format!("it has {there} texts and not {here} (--limit, --data)"),
        _ => format!("--{} is {there} there and {here} here", name.replace('_', "-")),
    }
}

/// What to do about a folder with another evaluation.
fn collision(folder: &Path, differences: &[String]) -> String {
    let free = (2..).map(|number| format!("{}-{number}", folder.display())).find(|name| !Path::new(name).exists());
    let (folder, free) = (folder.display(), free.expect("some number is free"));
    format!(
        "{folder} holds another evaluation: {}. To keep both, add --out {free}; to replace it, remove {folder}",
        differences.join("; ")
    )
}

/// A JSON value for people.
fn shown(value: &Value) -> String {
    if value.is_null() { "not given".to_owned() } else { value.to_string() }
}

/// The value in a file, or the one that `make` returns, which is then written into the file.
pub(crate) fn read_or_make<T: Serialize + DeserializeOwned>(
    path: &Path,
    make: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    match read(path)? {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            write(path, &value)?;
            Ok(value)
        }
    }
}

/// The value in a JSON file. None if there is no file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Box<dyn Error>> {
    match fs::read(path) {
        Ok(json) => {
            let damaged = |error| format!("{} is damaged ({error}); remove it to make it again", path.display());
            Ok(Some(serde_json::from_slice(&json).map_err(damaged)?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display()).into()),
    }
}

/// Writes a value as a JSON file, whose folder is created if it is missing.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    Ok(write_atomically(path, serde_json::to_string(value)?)?)
}
