//! The error type for programs that use several of the crates.

use std::path::PathBuf;

/// An error and its causes in one line, to show to a user.
pub fn report(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

/// An error of any crate of the workspace, or a student and a teacher that do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device cannot be named or opened.
    #[error(transparent)]
    Device(#[from] wheels_device::DeviceError),
    /// A text, a tokenizer or a dataset is invalid.
    #[error(transparent)]
    Text(#[from] wheels_text::TextError),
    /// A model cannot be loaded, used or saved.
    #[error(transparent)]
    Lm(#[from] wheels_lm::LmError),
    /// A student's heads or prices are invalid.
    #[error(transparent)]
    Student(#[from] wheels_student::StudentError),
    /// Decoding failed.
    #[error(transparent)]
    Decode(#[from] wheels_decode::DecodeError),
    /// Training failed.
    #[error(transparent)]
    Distill(#[from] wheels_distill::DistillError),
    /// Evaluation failed.
    #[error(transparent)]
    Eval(#[from] wheels_eval::EvalError),
    /// A model could not be fetched from the hub.
    #[cfg(not(target_family = "wasm"))]
    #[error(transparent)]
    Hub(#[from] wheels_hub::HubError),
    /// A remote teacher cannot be called.
    #[cfg(all(feature = "remote", not(target_family = "wasm")))]
    #[error(transparent)]
    Remote(#[from] wheels_remote::RemoteError),
    /// A tokenizer does not fit its model.
    #[error(
        "{origin}: the tokenizer does not fit the model: it has {tokens} tokens, and the model only {rows} rows. Use the \
         tokenizer.json that the model was trained with"
    )]
    Tokenizer {
        /// Where they came from.
        origin: String,
        /// The number of tokens of the tokenizer.
        tokens: usize,
        /// The number of rows of the model's vocabulary.
        rows: usize,
    },
    /// The same id means different tokens to a student and a teacher.
    #[error(
        "token {id} is {} to the student and {} to the teacher: both need the same tokenizer. Train the \
         student with it (`wheels train --tokenizer`), or on texts of the teacher (`wheels texts`, `TextModel::write_texts`)",
        token_name(student.as_deref()), token_name(teacher.as_deref())
    )]
    Vocabularies {
        /// The id.
        id: u32,
        /// The student's token.
        student: Option<String>,
        /// The teacher's token.
        teacher: Option<String>,
    },
    /// A text cannot become a prompt.
    #[error("text {index}")]
    Prompt {
        /// The index of the text, counted from 1.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: wheels_text::TextError,
    },
    /// The student has no help token, and the objective needs one.
    #[error("the student has no help token for \"teacher\": add one with `with_help_token(\"teacher\")`")]
    NoHelpToken,
    /// The student has not learned to ask for help.
    #[error(
        "the student has not learned to ask for help: it has no {missing}. Distil it (`wheels distill`), or find thresholds \
         on its confidence (`wheels calibrate --measure max-prob`)"
    )]
    CannotAsk {
        /// What a student that has learned it would have.
        missing: &'static str,
    },
    /// A student without forecasts is asked how much help a text will use.
    #[error(
        "the student has no forecasts of its help: calibrate it again on at least 20 texts (`wheels calibrate`), or give a \
         budget"
    )]
    NoForecast,
    /// An expert failed while a student was calibrated with it.
    #[error(
        "the teacher failed ({reason}), and thresholds without its help would be wrong: calibrate again when it answers"
    )]
    ExpertFailed {
        /// Why it failed.
        reason: wheels_decode::FailureReason,
    },
    /// The time of the calls of an expert is not known.
    #[error(
        "only the time of a teacher on this machine can be measured: choose `HelpCost::Calls` or `HelpCost::Tokens` for \
         this one"
    )]
    UnknownCost,
    /// The teacher has learned to ask for help, and the student has not.
    #[error(
        "student and teacher are swapped: the teacher has learned to ask for help, and the student has not. Give the \
         distilled model as the student"
    )]
    Swapped,
    /// Only the heads are to be trained, but the student has no help token or the objective does not train help.
    #[error(
        "`DistillationConfig::heads_only` trains how a student asks, which this method does not: use path, all-action or \
         constrained"
    )]
    HeadsOnly,
    /// A student with weights of 16 or 8 bits cannot be trained.
    #[error("the student's weights are in {format}, in which a model cannot be trained: open it in f32")]
    StudentFormat {
        /// The format of its matrices.
        format: wheels_lm::WeightFormat,
    },
    /// A distillation from a cache has no teacher to calibrate the student with.
    #[error("a calibration needs the teacher, but there is only a cache: call `train`, or `Distillation::new`")]
    NoTeacher,
    /// A run does not fit into the memory of this machine.
    #[error(
        "the run needs {needed} MB and this machine has {memory} MB: {remedy} (`Distillation::plan` lists all parts)"
    )]
    Memory {
        /// The largest memory of the run, MB.
        needed: usize,
        /// The memory of this machine, MB.
        memory: usize,
        /// The options that lower the largest part.
        remedy: &'static str,
    },
    /// Only the heads are to be trained, but also adapters.
    #[error("`DistillationConfig::heads_only` trains no adapters: leave it out, or `DistillationConfig::lora`")]
    HeadsOnlyLora,
    /// The adapters in a folder do not name their base model.
    #[error(
        "{} has adapters, and its adapter_config.json names no base model: write the folder or the hub name into \
         base_model_name_or_path, or use `TextModel::open_adapter`",
        folder.display()
    )]
    NoBaseModel {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of a model is missing.
    #[error("{origin} has no {file}")]
    MissingFile {
        /// Where the model came from.
        origin: String,
        /// The file.
        file: &'static str,
    },
    /// A JSON file beside a model cannot be parsed.
    #[error("{} is invalid: {remedy}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// How to make it again.
        remedy: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The student has no prices, which a stated budget needs.
    #[error("this student has no prices.json, so its prompts can state no other budget than its own: distil it first")]
    Prices,
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A dataset is too small for its use.
    #[error("{what} needs at least {needed} texts, but there are {found}")]
    TooFewTexts {
        /// What needs the texts.
        what: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
}

fn token_name(token: Option<&str>) -> String {
    token.map_or_else(|| "missing".into(), |token| format!("{token:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_cause_once() {
        let source = std::io::Error::other("the disk is gone");
        let error = Error::Read { path: "model".into(), source };
        assert_eq!(report(&error), "cannot read model: the disk is gone");
        let text = Error::Text("twenty".parse::<wheels_text::HelpBudget>().expect_err("no number"));
        assert_eq!(report(&text), text.to_string());
    }
}
