//! A source text as the token ids that the student and the expert read.

use serde::{Deserialize, Serialize};

use crate::HelpBudget;

/// One source text as two prompts, for the student and for its expert, with the help budget of the output.
///
/// Both prompts have the special tokens that their model expects, such as an end-of-text token at the end. The expert
/// reads the same prefix and text as the student. It does not read the words that state the budget, because only the
/// student decides when to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// The token ids that the student reads.
    pub student: Vec<u32>,
    /// The token ids that the expert reads.
    pub expert: Vec<u32>,
    /// How many of the output tokens may come from the expert.
    pub budget: HelpBudget,
}
