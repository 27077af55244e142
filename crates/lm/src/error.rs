//! What can go wrong with a model that comes from outside.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmError {
    /// A file of a model folder could not be read.
    #[error("cannot read {}: a model folder holds config.json, model.safetensors and tokenizer.json", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file of a model folder could not be written.
    #[error("cannot write {}: check that the folder exists, is writable and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A config.json is not what it should be.
    #[error("{origin} is not a config that can be used")]
    Config {
        /// Where the config came from.
        origin: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A config.json asks for something that is not supported.
    #[error("{origin}: {field} is {value}; supported: {supported}")]
    Unsupported {
        /// Where the config came from.
        origin: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What could stand there.
        supported: &'static str,
    },
    /// The weights are not a safetensors container, or a torn one.
    #[error("{origin} is not a whole safetensors file ({reason}); copy or download it again")]
    Safetensors {
        /// Where the weights came from.
        origin: String,
        /// What the reader said.
        reason: String,
    },
    /// The weights do not fit the config.
    #[error("{origin} does not fit its config.json: {}", problems.join("; "))]
    Weights {
        /// Where the weights came from.
        origin: String,
        /// Each tensor that is missing or has another shape.
        problems: Vec<String>,
    },
    /// The weights could not be serialised.
    #[error("cannot save {}: {reason}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        reason: String,
    },
}
