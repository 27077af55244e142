//! One error for programs that use several of the crates.

use std::path::PathBuf;

/// An error and its causes in one line, for people.
pub fn report(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

/// An error of any crate of the workspace, or of putting their parts together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Hardware.
    #[error(transparent)]
    Device(#[from] wheels_device::DeviceError),
    /// Text, tokenizers and data.
    #[error(transparent)]
    Text(#[from] wheels_text::TextError),
    /// Models.
    #[error(transparent)]
    Lm(#[from] wheels_lm::LmError),
    /// A student's heads and prices.
    #[error(transparent)]
    Student(#[from] wheels_student::StudentError),
    /// Decoding.
    #[error(transparent)]
    Decode(#[from] wheels_decode::DecodeError),
    /// Training.
    #[error(transparent)]
    Distill(#[from] wheels_distill::DistillError),
    /// Evaluation.
    #[error(transparent)]
    Eval(#[from] wheels_eval::EvalError),
    /// A tokenizer and a model do not belong together.
    #[error(
        "{origin}: the tokenizer has {tokens} tokens with padding and end of text {ids:?}, the model {rows} rows with \
         {model_ids:?}: put the tokenizer.json that the model was trained with beside it"
    )]
    Tokenizer {
        /// Where they came from.
        origin: String,
        /// The number of tokens of the tokenizer.
        tokens: usize,
        /// The number of rows of the model's vocabulary.
        rows: usize,
        /// The tokenizer's ids of padding and end of text.
        ids: (u32, u32),
        /// The model's ids of padding and end of text.
        model_ids: (u32, u32),
    },
    /// The same id means different tokens to a student and a teacher.
    #[error(
        "token {id} is {student:?} to the student and {teacher:?} to the teacher: a teacher can only help a student \
         with the same tokenizer"
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
    /// Only the heads are to be trained, and the method does not train them.
    #[error("heads_only trains how a student asks, and this method does not: use path, all-action or constrained")]
    HeadsOnly,
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
    /// A stated budget needs the student's prices.
    #[error(
        "this student has no prices.json, so no other budget can be stated to it: distil it, or state its own budget"
    )]
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
    /// A data set is too small for what is to be done with it.
    #[error("{what} needs at least {needed} texts, and there are {found}")]
    TooFewTexts {
        /// What needs the texts.
        what: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
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
