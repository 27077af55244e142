//! The errors of this crate.

use wheels_decode::DecodeError;
use wheels_text::TextError;

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The decoder failed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An example cannot be turned into a prompt, for instance because its source is empty or too long.
    #[error("example {index} of the data set (counted from 0) cannot be turned into a prompt")]
    Prompt {
        /// The index of the example, counted from 0.
        index: usize,
        /// What is wrong with its source.
        #[source]
        source: TextError,
    },
    /// The tokens of an output cannot be turned into text, for example because the decoder has another tokenizer.
    #[error(
        "the tokens of text {index} (counted from 0) cannot be turned into text; use the tokenizer of the model that \
         decoded them"
    )]
    Output {
        /// The index of the output, counted from 0.
        index: usize,
        /// What is wrong with its tokens.
        #[source]
        source: TextError,
    },
    /// A JSON text does not have the form of [`Results`](crate::Results).
    #[error("the JSON does not hold the results of an evaluation; results.json is written by `Results::to_json`")]
    Json(#[source] serde_json::Error),
}
