//! The token ids that the models read for one text.

use serde::{Deserialize, Serialize};

use crate::HelpBudget;

/// One text as token ids, for the student and for its expert, with the help that the output may use.
///
/// Both sides end in the end-of-text token. The expert reads the same prefix and text as the student. It does not read
/// the words that state the budget, because only the student decides when to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// The ids that the student reads.
    pub student: Vec<u32>,
    /// The ids that an expert reads.
    pub expert: Vec<u32>,
    /// The help that the output may use.
    pub budget: HelpBudget,
}
