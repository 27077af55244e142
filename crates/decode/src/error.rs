//! Errors of decoding.

use burn::tensor::TensorReadError;

use crate::HelpRule;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A prompt has no tokens.
    #[error("prompt {row} has no tokens; encode it with its end-of-text token, even if its text is empty")]
    EmptyPrompt {
        /// The index of the prompt.
        row: usize,
    },
    /// A prompt contains a token that the model does not have.
    #[error(
        "prompt {row} contains token {token}, but the model has only {vocab_size} tokens; encode the prompt with the \
         tokenizer of the model that reads it"
    )]
    PromptToken {
        /// The index of the prompt.
        row: usize,
        /// The token.
        token: u32,
        /// The size of the model's vocabulary.
        vocab_size: usize,
    },
    /// The student can write tokens that the teacher cannot read.
    #[error(
        "the student can write token {token}, but the teacher has only {vocab_size} tokens; both need the same \
         tokenizer (except for help tokens)"
    )]
    Vocabulary {
        /// The highest token that the student can write.
        token: u32,
        /// The size of the teacher's vocabulary.
        vocab_size: usize,
    },
    /// The token that every text must begin or end with cannot be written.
    #[error(
        "forced_bos_token_id or forced_eos_token_id is {token}, which the student cannot write; use the id of an open \
         token of its vocabulary"
    )]
    ForcedToken {
        /// The token.
        token: u32,
    },
    /// A token ends the teacher's texts, but not the student's.
    #[error(
        "token {token} ends a text of the teacher, but not of the student; give both the same tokenizer and the same \
         eos_token_id"
    )]
    EndOfText {
        /// The teacher's token.
        token: u32,
    },
    /// A help rule reads a help token that the student does not have.
    #[error(
        "the student has {vocab_size} tokens, but its help rule reads help token {token}; add the token to the model, \
         or use a rule that does not read it, such as max-prob"
    )]
    HelpToken {
        /// The help token.
        token: u32,
        /// The size of the student's vocabulary.
        vocab_size: usize,
    },
    /// A setting of the sampler is out of range.
    #[error("{setting} is {value}; it must be {supported}")]
    Sampler {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// The supported range.
        supported: &'static str,
    },
    /// A parameter of a help rule is out of range.
    #[error("the help rule {rule:?} is invalid; a rate must be from 0 to 1, and a threshold must not be NaN")]
    HelpRule {
        /// The rule.
        rule: HelpRule,
    },
    /// The calibration points are invalid.
    #[error("the calibration is invalid; it needs points with rising rates between 0 and 1 and finite thresholds")]
    Calibration,
    /// The tolerance of a verification is negative or NaN.
    #[error("a tolerance of {nats} nats is invalid; it must be 0 or more, or infinite to accept everything")]
    Tolerance {
        /// The tolerance, nats.
        nats: f64,
    },
    /// A model returned logits that are NaN or infinite.
    #[error(
        "the logits of prompt {row} at step {step} are NaN or infinite{}: the weights are damaged, or numbers are too \
         large for f16 (then open the model in bf16 or f32)",
        layer.iter().map(|layer| format!(", first in the output of {layer}")).collect::<String>()
    )]
    Logits {
        /// The index of the prompt.
        row: usize,
        /// The step, counted from 0.
        step: usize,
        /// The first layer whose output is not finite ([`first_overflow`](wheels_lm::first_overflow)).
        layer: Option<String>,
    },
    /// An expert answered with a token that the student cannot write.
    #[error("expert {expert} answered prompt {row} with token {token}, which the student cannot write")]
    Response {
        /// The index of the expert.
        expert: usize,
        /// The index of the prompt.
        row: usize,
        /// The token.
        token: u32,
    },
    /// An expert rolled back more tokens than it may.
    #[error("expert {expert} rolled back {rollback} tokens of prompt {row}, but it may roll back at most {open}")]
    RollbackTooFar {
        /// The index of the expert.
        expert: usize,
        /// The index of the prompt.
        row: usize,
        /// The number of tokens that it rolled back.
        rollback: usize,
        /// The number of tokens that it may roll back.
        open: usize,
    },
    /// An expert takes no texts that arrive later.
    #[error(
        "an expert's session takes no texts that arrive while others are decoded; implement `ExpertSession::append`, or \
         decode a fixed list of prompts"
    )]
    FixedTexts,
    /// More texts were added than there are free rows.
    #[error("{texts} texts cannot begin, because {room} rows are free; add the others later")]
    NoRoom {
        /// The number of texts.
        texts: usize,
        /// The number of free rows.
        room: usize,
    },
    /// An expert cannot verify tokens.
    #[error("{expert} cannot verify the student's tokens: {reason}")]
    CannotVerify {
        /// What the expert is.
        expert: String,
        /// Why it cannot, and what to try.
        reason: String,
    },
    /// An expert could not answer.
    #[error("an expert could not answer")]
    Expert(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The logits could not be read from the device.
    #[error("the logits could not be read from the device; try a smaller batch, or another device")]
    Device(#[from] TensorReadError),
}
