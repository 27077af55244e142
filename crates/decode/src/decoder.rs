//! The interface of all decoders.

use wheels_text::{Prompt, Seed};

use crate::{DecodeError, DecodeStats, Trajectory};

/// A way to write texts for prompts: prompts and a seed in, trajectories and their cost out.
///
/// A student alone, a teacher alone, and a student with experts are all decoders, so that evaluation treats them alike.
pub trait Decoder {
    /// Writes one text for each prompt.
    ///
    /// Rows are independent: the text of row `i` depends on its prompt and on `seed.nth(i)`, and on no other row (up to
    /// rounding in the model).
    ///
    /// # Errors
    /// A [`DecodeError`] if models, prompts and settings do not fit together, or if an expert fails.
    fn decode(&self, prompts: &[Prompt], seed: Seed) -> Result<Decoded, DecodeError>;
}

/// What a decoder returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// One trajectory for each prompt, in the order of the prompts.
    pub trajectories: Vec<Trajectory>,
    /// The total work for all prompts.
    pub stats: DecodeStats,
}
