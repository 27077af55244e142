//! One error for programs that use several of the crates.

use std::path::PathBuf;

/// An error and its causes in one line, for people: a cause that the message already tells is not told twice.
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !told.contains(&message) {
            told = format!("{told}: {message}");
        }
        cause = error.source();
    }
    told
}

/// An error of any crate of the workspace, unchanged, or one of putting their parts together.
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
    /// Decoding.
    #[error(transparent)]
    Decode(#[from] wheels_decode::DecodeError),
    /// Training.
    #[error(transparent)]
    Distill(#[from] wheels_distill::DistillError),
    /// Evaluation.
    #[error(transparent)]
    Eval(#[from] wheels_eval::EvalError),
    /// A tokenizer and a model are not of one vocabulary.
    #[error(
        "{origin}: the tokenizer has {tokens} tokens with padding and end of text {ids:?}, the model {rows} rows with \
         {model_ids:?}: put the tokenizer.json that the model was trained with beside it"
    )]
    Tokenizer {
        /// Where they came from.
        origin: String,
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the model's vocabulary.
        rows: usize,
        /// Padding and end of text of the tokenizer.
        ids: (u32, u32),
        /// Padding and end of text of the model.
        model_ids: (u32, u32),
    },
    /// A student and a teacher write different words under one id.
    #[error(
        "token {id} is {student:?} to the student and {teacher:?} to the teacher: a teacher can only answer in the \
         student's vocabulary, so train both with one tokenizer"
    )]
    Vocabularies {
        /// The id.
        id: u32,
        /// The student's word.
        student: Option<String>,
        /// The teacher's word.
        teacher: Option<String>,
    },
    /// An asking.json or a prices.json is not what it should be.
    #[error("{} does not say how a student asks: make it again with the example `{example}`", path.display())]
    Asking {
        /// The example that makes it.
        example: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A student was to be told another budget than its own, and nothing says what its budgets cost.
    #[error("this student has no prices.json: only a student that `distill` made can be told another budget")]
    Prices,
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_once_each() {
        let source = std::io::Error::other("the disk is gone");
        let error = Error::Read { path: "model".into(), source };
        let told = explain(&error);
        assert!(told.starts_with("cannot read model") && told.ends_with(": the disk is gone"), "{told}");
        let text = Error::Text("twenty".parse::<wheels_text::HelpBudget>().expect_err("no number"));
        assert_eq!(explain(&text), text.to_string());
    }
}
