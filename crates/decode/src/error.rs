//! What can go wrong between models, prompts and experts.

use burn::tensor::TensorReadError;

use crate::Asking;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A prompt holds nothing.
    #[error("prompt {row} is empty; even an empty text ends in the end-of-text mark")]
    EmptyPrompt {
        /// The prompt's place in the list.
        row: usize,
    },
    /// A prompt holds an id that its reader does not know.
    #[error(
        "prompt {row} holds token {token}, and the model knows {vocab_size}; encode it with the tokenizer of the model \
         that reads it"
    )]
    PromptToken {
        /// The prompt's place in the list.
        row: usize,
        /// The id.
        token: u32,
        /// The size of the model's vocabulary.
        vocab_size: usize,
    },
    /// The student can write words that the teacher cannot read.
    #[error(
        "the student can write token {word}, and the teacher knows {vocab_size}; both must have been trained with one \
         tokenizer (help tokens set aside)"
    )]
    Vocabulary {
        /// The student's last word.
        word: u32,
        /// The size of the teacher's vocabulary.
        vocab_size: usize,
    },
    /// Student and teacher end their texts differently.
    #[error("the student ends a text with token {student}, the teacher with {teacher}; give both one tokenizer")]
    EndOfText {
        /// The student's end-of-text mark.
        student: u32,
        /// The teacher's.
        teacher: u32,
    },
    /// A learned rule has no column to read.
    #[error(
        "help token {token} is past the student's vocabulary of {vocab_size}, so that it has learned nothing about it; \
         add the token to the model, or ask by confidence"
    )]
    HelpToken {
        /// The help token.
        token: u32,
        /// The size of the student's vocabulary.
        vocab_size: usize,
    },
    /// A setting of the sampler makes no distribution.
    #[error("{setting} is {value}; it must be {supported}")]
    Sampler {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What could stand there.
        supported: &'static str,
    },
    /// An asking rule has a number that is none.
    #[error("the asking rule {rule:?} cannot be followed: a rate lies between 0 and 1, a threshold is a number")]
    Asking {
        /// The rule.
        rule: Asking,
    },
    /// A tolerance that is none.
    #[error("a tolerance of {nats} nats lets nothing stand; it must be 0 or more, or infinite for plain asking")]
    Tolerance {
        /// The tolerance.
        nats: f64,
    },
    /// A model gave logits that make no distribution.
    #[error(
        "the logits of prompt {row} at step {step} are not numbers; the weights are damaged, or overflowed in half \
         precision"
    )]
    Logits {
        /// The prompt's place in the list.
        row: usize,
        /// The step, from 0.
        step: usize,
    },
    /// An expert answered with something that the student cannot read.
    #[error("expert {expert} answered prompt {row} with token {token}, which is no word of the student's")]
    Advice {
        /// The expert's place at the desk.
        expert: usize,
        /// The prompt's place in the list.
        row: usize,
        /// The token.
        token: u32,
    },
    /// An expert took back more of a text than was open to it.
    #[error(
        "expert {expert} took back {back} tokens of the text of prompt {row}, of which only the last {open} were open"
    )]
    TakenBack {
        /// The expert's place at the desk.
        expert: usize,
        /// The prompt's place in the list.
        row: usize,
        /// The tokens that it took back.
        back: usize,
        /// The tokens that it could have taken back.
        open: usize,
    },
    /// An expert could not answer.
    #[error("an expert could not answer")]
    Expert(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The logits could not be read from the device.
    #[error("the logits could not be read from the device; try a smaller batch, or another device")]
    Device(#[from] TensorReadError),
}
