//! Models and sample texts for the examples and tests.
//!
//! A program contains only the models that it uses: the linker drops the others.

/// The files of a model folder: name and bytes.
pub type Files = &'static [(&'static str, &'static [u8])];

/// A student and its teacher for one task, with texts that neither was trained on.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedPair {
    /// The files of the student.
    pub student: Files,
    /// The files of the teacher.
    pub teacher: Files,
    /// 300 pairs from the test split, as JSON lines with `source` and `target`.
    pub sample: &'static str,
}

macro_rules! files {
    ($folder:literal: $($name:literal),+) => {
        &[$(($name, include_bytes!(concat!("models/", $folder, "/", $name)))),+]
    };
}

macro_rules! student {
    ($folder:literal) => {
        files!($folder: "config.json", "model.safetensors", "tokenizer.json", "prompt.json", "generation_config.json",
            "heads.safetensors", "student_config.json", "calibration.json", "prices.json")
    };
}

macro_rules! teacher {
    ($folder:literal) => {
        files!($folder: "config.json", "model.safetensors", "tokenizer.json", "prompt.json", "generation_config.json")
    };
}

/// English to Italian. The model cards are in `assets/models/en-it`.
pub static TRANSLATION: EmbeddedPair = EmbeddedPair {
    student: student!("en-it/student"),
    teacher: teacher!("en-it/teacher"),
    sample: include_str!("data/en-it.sample.jsonl"),
};

/// Package descriptions to one-line summaries. The model cards are in `assets/models/summary`.
pub static SUMMARY: EmbeddedPair = EmbeddedPair {
    student: student!("summary/student"),
    teacher: teacher!("summary/teacher"),
    sample: include_str!("data/summary.sample.jsonl"),
};
