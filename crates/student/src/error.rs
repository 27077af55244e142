//! Errors of loading and saving a student.

use wheels_lm::LmError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudentError {
    /// The model or the heads could not be read or written.
    #[error(transparent)]
    Lm(#[from] LmError),
    /// A student_config.json cannot be parsed.
    #[error("{origin} is not a valid student_config.json: copy it again from the folder that training wrote")]
    Config {
        /// Where it came from.
        origin: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A size in student_config.json is 0 or absurdly large.
    #[error("{origin}: {field} is {value}, which must be from 1 to {largest}")]
    Size {
        /// Where it came from.
        origin: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The largest value that is accepted.
        largest: usize,
    },
    /// The price levels are invalid.
    #[error("prices need finite levels whose budgets rise from 0 to 1")]
    Prices,
}
