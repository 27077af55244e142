//! Errors of training.

use std::path::PathBuf;

use crate::FolderContent;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistillError {
    /// There is nothing to train on.
    #[error("there are no training pairs: check the data file")]
    NoData,
    /// All pairs were dropped because they are too long.
    #[error(
        "no training pairs are left: all {dropped} have more than {max_tokens} tokens (longest {longest}); raise \
         `DistillationConfig::max_tokens`, or split the texts"
    )]
    NoPairs {
        /// The number of pairs that were dropped.
        dropped: usize,
        /// The largest number of tokens that a source may have.
        max_tokens: usize,
        /// The number of tokens in the longest source or target.
        longest: usize,
    },
    /// One pair is larger than a micro-batch may be.
    #[error(
        "training pair {index} has {tokens} tokens, more than `RolloutConfig::batch_tokens` = {limit}: raise it or drop long pairs"
    )]
    LongPair {
        /// The index of the pair, from 0.
        index: usize,
        /// The number of its source and target tokens.
        tokens: usize,
        /// The largest number of tokens in a micro-batch.
        limit: usize,
    },
    /// An objective needs something that the batches or the student do not have.
    #[error("this objective needs {missing}: {remedy}")]
    Requirement {
        /// What is missing.
        missing: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The budget levels are invalid.
    #[error("the budget levels {levels:?} are invalid: they must rise from 0 to 1, such as 0, 0.1, 0.2, 0.5, 1")]
    Levels {
        /// The levels.
        levels: Vec<f64>,
    },
    /// The config leaves no budget, or no way to state one.
    #[error(
        "no budget can be stated: `RolloutConfig::wordings` needs one of 0 to {last} or more, and `RolloutConfig::held_out` \
         must leave a percentage"
    )]
    NoBudget {
        /// The largest index of a wording.
        last: usize,
    },
    /// A fraction or a weight in the config is out of range.
    #[error("`{setting}` is {value}: it must be {range}")]
    Fraction {
        /// The name of the setting, such as `Mixture::greedy_fraction`.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What it must be, such as "from 0 to 1".
        range: &'static str,
    },
    /// A hidden state or a log-prob, from which the help head is fitted, is not finite.
    #[error(
        "a hidden state of the student or a log-prob of the teacher is not finite on a training text: check the weights \
         of both models, or set `help_head.tokens` to 0"
    )]
    HelpHead,
    /// A loss or a gradient is not finite.
    #[error(
        "the {what} is {value} at step {step} ({position}): the weights are still those before this step; lower the \
         learning rate and start in another folder"
    )]
    NotFinite {
        /// "loss" or "gradient norm".
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, counted from 1.
        step: usize,
        /// The position in the data, such as "epoch 2, batch 31".
        position: String,
    },
    /// The student has tokens that its teacher does not have.
    #[error(
        "the student has {student} tokens, but its teacher only {teacher}: both need the same tokenizer (except for \
         help tokens)"
    )]
    Vocabularies {
        /// The size of the student's vocabulary.
        student: usize,
        /// The size of the teacher's vocabulary.
        teacher: usize,
    },
    /// A prompt could not be made.
    #[error("the prompt of training pair {index} could not be made")]
    Prompt {
        /// The index of the pair, from 0.
        index: usize,
        /// The cause.
        #[source]
        source: wheels_text::TextError,
    },
    /// The training data could not be read.
    #[error("the training data could not be read")]
    Data(#[from] wheels_text::TextError),
    /// A rollout could not be written.
    #[error("a rollout could not be written")]
    Decode(#[from] wheels_decode::DecodeError),
    /// A file or folder of the run could not be read or written.
    #[error("cannot {action} {}: check that the folder exists, is writable and has room", path.display())]
    Io {
        /// What failed, such as "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Weights or the optimizer's state could not be written.
    #[error("cannot write {}: check that the folder is writable and the disk has room", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: burn::store::RecordError,
    },
    /// A file of a checkpoint is incomplete or damaged, or belongs to another model.
    #[error("{} cannot be used ({reason}): delete this checkpoint to resume from the one before it", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint was made with other data or with other settings of the data.
    #[error("its checkpoint cannot be resumed, because {reason}: use the same data and settings, or another folder")]
    SourceState {
        /// The reason, such as what differs.
        reason: String,
    },
    /// A checkpoint was made by a run with another configuration.
    #[error(
        "{} was made with another configuration (`{config}::{field}`: {saved} there, {asked} here): resume with the same values, \
         or start in another folder", path.display()
    )]
    OtherConfig {
        /// The state file of the checkpoint.
        path: PathBuf,
        /// The name of the configuration, such as `TrainerConfig`.
        config: &'static str,
        /// The first field that differs.
        field: String,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value now.
        asked: String,
    },
    /// A checkpoint has another model.
    #[error(
        "{} has a model with {saved} parameters, and the model of this run has {here}: use the same model, or choose \
         another folder", path.display()
    )]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// The number of its parameters.
        saved: usize,
        /// The number of parameters now.
        here: usize,
    },
    /// A checkpoint belongs to a run with other frozen weights.
    #[error(
        "{} belongs to a run on another base model (its frozen weights differ): use the base model and the number format of that \
         run, or choose another folder", path.display()
    )]
    OtherBase {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A folder has something else than a run.
    #[error("{} has {content} that a run would replace, and no checkpoints: choose another folder", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
        /// What it has.
        content: FolderContent,
    },
    /// A folder has a run of another kind.
    #[error("{} has {content}, with which this run cannot go on: choose another folder", folder.display())]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// What it has.
        content: FolderContent,
    },
    /// The folder of a run is a file.
    #[error("{} is a file: choose a folder", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// The run in a folder cannot be resumed.
    #[error("cannot go on with the run in {}", folder.display())]
    Resume {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: Box<DistillError>,
    },
    /// Validation failed.
    #[error("validation failed at step {step}")]
    Validation {
        /// The step, counted from 1.
        step: usize,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is only a cache of the teacher, and something needs the teacher itself.
    #[error("{what} needs the teacher, but there is only a cache of its distributions: {remedy}")]
    CacheNeedsTeacher {
        /// What needs the teacher.
        what: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A file of a teacher's cache is missing, incomplete or damaged.
    #[error(
        "{} cannot be used ({reason}): give the command that made the cache again, which writes what is missing",
        path.display()
    )]
    CacheFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A teacher's cache was not finished.
    #[error(
        "the cache in {} has {written} of {pairs} pairs: give the command that made it again, which writes the rest",
        folder.display()
    )]
    CacheUnfinished {
        /// The folder of the cache.
        folder: PathBuf,
        /// The number of pairs that it has.
        written: usize,
        /// The number of pairs that it should have.
        pairs: usize,
    },
    /// A teacher's cache was made with other settings or by another teacher.
    #[error(
        "the cache in {} was made with another value of {setting} ({cached} there, {asked} here): use the same value, \
         or make a cache in another folder", folder.display()
    )]
    CacheSettings {
        /// The folder of the cache.
        folder: PathBuf,
        /// The name of the setting.
        setting: String,
        /// Its value in the cache.
        cached: String,
        /// Its value now.
        asked: String,
    },
    /// A teacher's cache does not have all pairs of the data.
    #[error(
        "the cache in {} lacks {missing} of the {pairs} pairs of the data, the first of which is pair {first}: use its \
         own data, tokenizer, prompts and `max_tokens`, or make another cache",
        folder.display()
    )]
    CacheData {
        /// The folder of the cache.
        folder: PathBuf,
        /// The number of pairs that it lacks.
        missing: usize,
        /// The number of pairs of the data.
        pairs: usize,
        /// The index of the first pair that it lacks, from 0.
        first: usize,
    },
    /// What a teacher computes cannot be kept in a cache.
    #[error("the teacher cannot be cached: {reason}")]
    CacheContent {
        /// The reason and what to do about it.
        reason: String,
    },
    /// A teacher that is not on this machine could not score texts.
    #[error("the teacher could not score the texts; the same call again goes on after the last file")]
    Scoring(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Worker threads could not be started.
    #[error("cannot start {workers} worker threads: lower `TrainerConfig::workers`")]
    Workers {
        /// The number of workers.
        workers: usize,
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}
