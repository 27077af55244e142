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
        /// Where the config came from.
        origin: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A size in student_config.json is 0 or too large.
    #[error("{origin}: {field} is {value}; it must be from 1 to {largest}")]
    Size {
        /// Where the config came from.
        origin: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The largest valid value.
        largest: usize,
    },
    /// The budgets or the prices of [`Prices`](crate::Prices) are invalid.
    #[error("prices must be finite numbers, and their budgets must rise from 0 to 1")]
    Prices,
}
