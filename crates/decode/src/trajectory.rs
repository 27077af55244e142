//! What a decoder wrote, step by step, and who chose each token.

use serde::{Deserialize, Serialize};

/// One text as it was written; what an expert took back is not in it.
///
/// The end-of-text mark is a decision like any other: it can be asked for, it is paid for, and it is a step. A help
/// rate is therefore helped steps over steps, with the mark counted in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// The steps in order; the last one is the end-of-text mark where `end` is [`End::Eos`].
    pub steps: Vec<Step>,
    /// Why the text stops where it does.
    pub end: End,
}

impl Trajectory {
    /// The tokens of the text, without the end-of-text mark.
    pub fn tokens(&self) -> Vec<u32> {
        let text = match self.end {
            End::Eos => self.steps.len().saturating_sub(1),
            End::Length => self.steps.len(),
        };
        self.steps[..text].iter().map(|step| step.token).collect()
    }

    /// The number of steps whose token an expert chose.
    pub fn helped(&self) -> usize {
        self.steps.iter().filter(|step| step.source != Source::Student).count()
    }

    /// What the help in this text cost.
    pub fn cost(&self) -> f32 {
        self.steps.iter().map(|step| step.cost).sum()
    }
}

/// One token and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What the policy did.
    pub action: Action,
    /// The token that was appended.
    pub token: u32,
    /// Who chose the token.
    pub source: Source,
    /// The log-probability, in nats, with which the policy took this action.
    ///
    /// The policy is the model, its sampler and its asking rule together: a greedy choice or a rule without chance has
    /// probability 1, a draw has its probability after temperature and filters, and a forced token is no choice: 0. Help
    /// with hindsight has that of the call, which was made where the text had grown further.
    pub log_prob: f32,
    /// What the help cost, in the expert's unit; 0 for the student's own words, but for a last one that a closing call let
    /// stand.
    pub cost: f32,
}

/// What a policy can do at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It wrote a word of its own.
    Word,
    /// It asked for help by the help token of this id.
    Help(u32),
    /// Nothing: the token continues the advice that an earlier step asked for.
    Forced,
}

/// Who chose a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The student.
    Student,
    /// The expert at this place of the desk.
    Expert(usize),
}

/// Why a text stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The end-of-text mark was written.
    Eos,
    /// The text reached the decoder's limit.
    Length,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(token: u32, source: Source) -> Step {
        Step { action: Action::Word, token, source, log_prob: 0.0, cost: 0.0 }
    }

    #[test]
    fn the_end_mark_is_a_step_but_no_token() {
        let steps = vec![step(5, Source::Student), step(1, Source::Expert(0))];
        let ended = Trajectory { steps: steps.clone(), end: End::Eos };
        assert_eq!((ended.tokens(), ended.helped()), (vec![5], 1));
        assert_eq!(Trajectory { steps, end: End::Length }.tokens(), [5, 1]);
        assert!(Trajectory { steps: vec![], end: End::Length }.tokens().is_empty());
    }
}
