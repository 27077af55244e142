//! The commands, one file each.

use std::error::Error;

pub(crate) mod cache_teacher;
pub(crate) mod calibrate;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod devices;
pub(crate) mod distill;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod pull;
pub(crate) mod serve;
pub(crate) mod student;
pub(crate) mod texts;
pub(crate) mod train;

/// How a command ends.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;
