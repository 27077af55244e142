//! The interface of all decoders: prompts and a seed in, trajectories and their cost out.

use wheels_text::{Prompt, Seed};

use crate::{DecodeError, DecodeStats, Trajectory};

/// A way to write texts for prompts.
///
/// A student, a teacher, and a student with experts are values of this one trait. Evaluation treats them alike.
pub trait Decoder {
    /// Writes one text for each prompt.
    ///
    /// Rows are independent: row `i` depends on its prompt and on `seed.nth(i)`, and on nothing else in the batch.
    ///
    /// # Errors
    /// A [`DecodeError`] if models, prompts and settings do not fit together, or an expert fails.
    fn decode(&self, prompts: &[Prompt], seed: Seed) -> Result<Decoded, DecodeError>;
}

/// What a decoder returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// One trajectory for each prompt, in the order of the prompts.
    pub trajectories: Vec<Trajectory>,
    /// The work for all of them.
    pub stats: DecodeStats,
}
