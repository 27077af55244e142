//! The models and data that come with this crate.
//!
//! A program that does not name them does not carry them: unused bytes are left out when it is linked.

use crate::bundle::Files;
use crate::lm::Checkpoint;
use crate::text::Dataset;

macro_rules! asset {
    ($($path:literal),+) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $($path),+)
    };
}

macro_rules! student {
    ($task:literal) => {
        Files {
            checkpoint: checkpoint!("the embedded student", $task, "/student"),
            heads: Some(include_bytes!(asset!("models/", $task, "/student/heads.safetensors"))),
            tokenizer: include_bytes!(asset!("models/", $task, "/student/tokenizer.json")),
            format: Some(include_str!(asset!("models/", $task, "/student/prompt.json"))),
            asking: Some(include_str!(asset!("models/", $task, "/student/asking.json"))),
            prices: Some(include_str!(asset!("models/", $task, "/student/prices.json"))),
        }
    };
}

macro_rules! teacher {
    ($task:literal) => {
        Files {
            checkpoint: checkpoint!("the embedded teacher", $task, "/teacher"),
            heads: None,
            tokenizer: include_bytes!(asset!("models/", $task, "/teacher/tokenizer.json")),
            format: Some(include_str!(asset!("models/", $task, "/teacher/prompt.json"))),
            asking: None,
            prices: None,
        }
    };
}

macro_rules! checkpoint {
    ($origin:literal, $task:literal, $folder:literal) => {
        Checkpoint {
            origin: $origin,
            config: include_str!(asset!("models/", $task, $folder, "/config.json")),
            weights: include_bytes!(asset!("models/", $task, $folder, "/model.safetensors")),
        }
    };
}

/// Models for one task, and texts that they have not seen.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// The student.
    pub student: Files<'static>,
    /// The teacher.
    pub teacher: Files<'static>,
    /// Three hundred texts and what a person made of them: JSON lines.
    pub sample: &'static str,
}

impl Embedded {
    /// The sample as a data set.
    pub fn sample(&self) -> Dataset {
        Dataset::from_jsonl_reader(self.sample.as_bytes(), "the embedded sample").expect("the sample is well-formed")
    }
}

/// English to Italian. Its models' cards are in `assets/models/en-it`.
pub const TRANSLATION: Embedded = Embedded {
    student: student!("en-it"),
    teacher: teacher!("en-it"),
    sample: include_str!(asset!("data/en-it.sample.jsonl")),
};

/// Descriptions of packages to one line each. Its models' cards are in `assets/models/summary`.
pub const SUMMARY: Embedded = Embedded {
    student: student!("summary"),
    teacher: teacher!("summary"),
    sample: include_str!(asset!("data/summary.sample.jsonl")),
};
