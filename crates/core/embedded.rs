//! The models and data that come with this crate.
//!
//! A program that does not name them does not carry them: unused bytes are left out when it is linked.

use crate::bundle::Files;
use crate::lm::Checkpoint;

macro_rules! asset {
    ($path:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $path)
    };
}

/// English to Italian: the student. Its card is `assets/models/en-it/student/README.md`.
pub const STUDENT: Files<'static> = Files {
    checkpoint: Checkpoint {
        origin: "the embedded student",
        config: include_str!(asset!("models/en-it/student/config.json")),
        weights: include_bytes!(asset!("models/en-it/student/model.safetensors")),
    },
    heads: Some(include_bytes!(asset!("models/en-it/student/heads.safetensors"))),
    tokenizer: include_bytes!(asset!("models/en-it/student/tokenizer.json")),
    format: Some(include_str!(asset!("models/en-it/student/prompt.json"))),
    asking: Some(include_str!(asset!("models/en-it/student/asking.json"))),
    prices: Some(include_str!(asset!("models/en-it/student/prices.json"))),
};

/// English to Italian: the teacher. Its card is `assets/models/en-it/teacher/README.md`.
pub const TEACHER: Files<'static> = Files {
    checkpoint: Checkpoint {
        origin: "the embedded teacher",
        config: include_str!(asset!("models/en-it/teacher/config.json")),
        weights: include_bytes!(asset!("models/en-it/teacher/model.safetensors")),
    },
    heads: None,
    tokenizer: include_bytes!(asset!("models/en-it/teacher/tokenizer.json")),
    format: Some(include_str!(asset!("models/en-it/teacher/prompt.json"))),
    asking: None,
    prices: None,
};

/// Three hundred English sentences and their Italian translations, which neither model has seen: JSON lines.
pub const SAMPLE: &str = include_str!(asset!("data/en-it.sample.jsonl"));
