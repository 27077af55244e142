//! What can go wrong in training.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistillError {
    /// There is nothing to train on.
    #[error("there are no training pairs: check the data file and the length limits")]
    NoData,
    /// One pair is larger than a micro-batch may be.
    #[error("training pair {index} has {tokens} tokens, more than batch_tokens = {limit}: raise it or drop long pairs")]
    LongPair {
        /// The pair, counted from 0.
        index: usize,
        /// Its source and target tokens.
        tokens: usize,
        /// The most that a micro-batch may hold.
        limit: usize,
    },
    /// A loss or a gradient is not a number.
    #[error(
        "{what} is {value} at step {step} ({place}): the weights before it are kept; lower the learning rate and resume \
         from the last checkpoint"
    )]
    NotFinite {
        /// "loss" or "gradient norm".
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, counted from 1.
        step: usize,
        /// Where its data stood, such as "epoch 2, batch 31".
        place: String,
    },
    /// A teacher's law has not the columns of its student's.
    #[error(
        "the student has {student} tokens and its teacher {teacher}: give both one tokenizer, with the help token in it"
    )]
    Vocabularies {
        /// The student's logits.
        student: usize,
        /// The teacher's.
        teacher: usize,
    },
    /// A prompt could not be made.
    #[error("training pair {index} has no prompt")]
    Prompt {
        /// The pair, counted from 0.
        index: usize,
        /// What was wrong with it.
        #[source]
        source: wheels_text::TextError,
    },
    /// The student could not practise with its teacher.
    #[error("practice with the teacher failed")]
    Decode(#[from] wheels_decode::DecodeError),
    /// A file or folder of the run could not be read or written.
    #[error("cannot {action} {}: check that the folder exists, is writable and has room", path.display())]
    Io {
        /// "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file of a checkpoint is torn or of another model.
    #[error("{} cannot be used ({reason}): delete that checkpoint to resume from the one before it", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A checkpoint was made by a run with another configuration.
    #[error(
        "{} was made with another configuration ({field}: {saved} there, {asked} here): resume with the same values, or \
         start in another folder", path.display()
    )]
    OtherConfig {
        /// The checkpoint's state.
        path: PathBuf,
        /// The first field that differs.
        field: String,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value now.
        asked: String,
    },
    /// Validation failed.
    #[error("validation failed at step {step}")]
    Validation {
        /// The step, counted from 1.
        step: usize,
        /// What the validation said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Worker threads could not be started.
    #[error("cannot start {workers} worker threads: lower `workers`")]
    Workers {
        /// How many were asked for.
        workers: usize,
        /// What the system said.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}
