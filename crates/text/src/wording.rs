//! The ways to say a budget in English, as data.
//!
//! `{}` stands for the number. Models learn from these sentences: change one and every student trained with it reads
//! something that it has never seen, so add new ones at the end and leave the others as they are.

/// One way to say a budget.
pub(crate) struct Wording {
    /// A share of the output, in percent.
    pub(crate) percent: &'static str,
    /// One token.
    pub(crate) token: &'static str,
    /// Any other number of tokens.
    pub(crate) tokens: &'static str,
}

pub(crate) const WORDINGS: [Wording; 18] = [
    Wording {
        percent: "use the teacher for at most {} percent of the words:",
        token: "use the teacher for at most {} token:",
        tokens: "use the teacher for at most {} tokens:",
    },
    Wording {
        percent: "ask for help with no more than {}% of the text:",
        token: "ask for help with no more than {} token:",
        tokens: "ask for help with no more than {} tokens:",
    },
    Wording {
        percent: "the teacher may write up to {} percent of the answer:",
        token: "the teacher may write up to {} token of the answer:",
        tokens: "the teacher may write up to {} tokens of the answer:",
    },
    Wording {
        percent: "keep the share of help below or at {} percent:",
        token: "keep the help below or at {} token:",
        tokens: "keep the help below or at {} tokens:",
    },
    Wording {
        percent: "you have a help budget of {} percent:",
        token: "you have a help budget of {} token:",
        tokens: "you have a help budget of {} tokens:",
    },
    Wording {
        percent: "at most {} in 100 words may come from the teacher:",
        token: "at most {} token may come from the teacher:",
        tokens: "at most {} tokens may come from the teacher:",
    },
    Wording {
        percent: "do not spend more than {} percent of the output on the expert:",
        token: "do not spend more than {} token on the expert:",
        tokens: "do not spend more than {} tokens on the expert:",
    },
    Wording { percent: "help limit {}%:", token: "help limit {} token:", tokens: "help limit {} tokens:" },
    Wording { percent: "help budget: {}%:", token: "help budget: {} token:", tokens: "help budget: {} tokens:" },
    Wording { percent: "max {}% teacher:", token: "max {} teacher token:", tokens: "max {} teacher tokens:" },
    Wording {
        percent: "teacher share at most {} percent:",
        token: "teacher share at most {} token:",
        tokens: "teacher share at most {} tokens:",
    },
    Wording {
        percent: "{} percent of the words can be asked for:",
        token: "{} token can be asked for:",
        tokens: "{} tokens can be asked for:",
    },
    Wording {
        percent: "write it yourself, but the teacher may give {} percent:",
        token: "write it yourself, but the teacher may give {} token:",
        tokens: "write it yourself, but the teacher may give {} tokens:",
    },
    Wording {
        percent: "no more than {}% from the large model:",
        token: "no more than {} token from the large model:",
        tokens: "no more than {} tokens from the large model:",
    },
    Wording { percent: "limit of {} percent:", token: "limit of {} token:", tokens: "limit of {} tokens:" },
    Wording { percent: "{}% help:", token: "{} token of help:", tokens: "{} tokens of help:" },
    Wording {
        percent: "you can ask for up to {} percent of what you write:",
        token: "you can ask for up to {} token of what you write:",
        tokens: "you can ask for up to {} tokens of what you write:",
    },
    Wording {
        percent: "the expert answers at most {} of 100 times:",
        token: "the expert answers at most {} time:",
        tokens: "the expert answers at most {} times:",
    },
];
