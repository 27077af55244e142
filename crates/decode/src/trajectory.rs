//! A decoded text, and who chose each token.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One decoded text as a list of steps. It does not contain steps that were rolled back.
///
/// The end-of-text token is a step like any other. If an expert chooses it, the budget is charged. A help rate
/// therefore counts this token among the helped steps and among all steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// The steps in order. The last one is the end-of-text token if `end` is [`End::Eos`].
    pub steps: Vec<Step>,
    /// Why the text ends.
    pub end: End,
    /// The experts that failed while the text was written. It was finished without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<HelpFailure>,
}

impl Trajectory {
    /// The tokens of the text, without the end-of-text token.
    pub fn tokens(&self) -> Vec<u32> {
        let text = match self.end {
            End::Eos => self.steps.len().saturating_sub(1),
            End::Length => self.steps.len(),
        };
        self.steps[..text].iter().map(|step| step.token).collect()
    }

    /// Whether the text was cut at the length limit.
    pub fn is_truncated(&self) -> bool {
        self.end == End::Length
    }

    /// The number of steps whose token an expert chose.
    pub fn helped(&self) -> usize {
        self.steps.iter().filter(|step| step.source != Source::Student).count()
    }

    /// The cost of the help in this text, in the units of the experts.
    pub fn cost(&self) -> f32 {
        self.steps.iter().map(|step| step.cost).sum()
    }
}

/// One token, and how it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The action of the policy.
    pub action: Action,
    /// The token that was appended.
    pub token: u32,
    /// Who chose the token.
    pub source: Source,
    /// The log-probability, in nats, of this action under the policy.
    ///
    /// The policy is the model with its sampler and its help rule. A greedy choice, or a rule without randomness, has
    /// probability 1. A sampled token has its probability after temperature and filters. A forced token is not a
    /// choice, so its log-probability is 0. If an answer rolled tokens back, its probability is that of the decision to
    /// ask, which was made at a later position.
    pub log_prob: f32,
    /// The cost of the help, in the expert's unit. The first token of an answer has the whole cost, and the policy's
    /// own tokens cost 0. If an expert accepted the end of the text, the last step also has the cost of that call.
    pub cost: f32,
}

/// What the policy did at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It wrote its own token.
    #[serde(alias = "word")]
    Token,
    /// It asked for help with the help token of this id.
    Help(u32),
    /// Nothing: the token continues an answer that started at an earlier step.
    Forced,
}

/// Who chose a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The student.
    Student,
    /// The expert with this index.
    Expert(usize),
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The end-of-text token was written.
    Eos,
    /// The text reached the length limit.
    Length,
}

/// An expert that failed in the middle of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelpFailure {
    /// The index of the expert.
    pub expert: usize,
    /// The length of the text, tokens, when the expert failed. A rollback by another expert can make the text shorter.
    pub position: usize,
    /// What went wrong.
    pub reason: FailureReason,
}

/// Why an expert cannot help with a text any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureReason {
    /// It cannot be reached, or the connection broke.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// It refuses more requests for the moment.
    RateLimited,
    /// It reported an error of its own.
    ServerError,
    /// It refused the request, such as for a missing key or a text that is too long.
    Refused,
    /// Its answer cannot be used.
    InvalidReply,
    /// The cap on its costs leaves no room for another call.
    SpendingCap,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "it cannot be reached",
            Self::TimedOut => "it did not answer in time",
            Self::RateLimited => "it limits the rate of requests",
            Self::ServerError => "it reported an error of its own",
            Self::Refused => "it refused the request",
            Self::InvalidReply => "its answer cannot be used",
            Self::SpendingCap => "the cap on its costs is reached",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(token: u32, source: Source) -> Step {
        Step { action: Action::Token, token, source, log_prob: 0.0, cost: 0.0 }
    }

    #[test]
    fn the_end_of_text_is_a_step_but_not_part_of_the_text() {
        let steps = vec![step(5, Source::Student), step(1, Source::Expert(0))];
        let ended = Trajectory { steps: steps.clone(), end: End::Eos, failures: vec![] };
        assert_eq!((ended.tokens(), ended.helped()), (vec![5], 1));
        assert_eq!(Trajectory { steps, end: End::Length, failures: vec![] }.tokens(), [5, 1]);
        assert!(Trajectory { steps: vec![], end: End::Length, failures: vec![] }.tokens().is_empty());
    }
}
