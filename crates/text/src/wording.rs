//! The English sentences that state a budget, as data.
//!
//! `{}` is replaced by the number. Students are trained on these sentences, and a trained student has never seen a
//! changed one. So add new sentences at the end, and do not change the existing ones.

/// One way to state a budget.
pub(crate) struct Wording {
    /// A budget in percent of the output tokens.
    pub(crate) percent: &'static str,
    /// A budget of one token.
    pub(crate) token: &'static str,
    /// A budget of any other number of tokens.
    pub(crate) tokens: &'static str,
}

/// All ways to state a budget; a wording is an index into this list.
pub(crate) const WORDINGS: [Wording; 32] = [
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
    Wording {
        percent: "spend at most {}% on help:",
        token: "spend at most {} token on help:",
        tokens: "spend at most {} tokens on help:",
    },
    Wording { percent: "teacher: {}%:", token: "teacher: {} token:", tokens: "teacher: {} tokens:" },
    Wording {
        percent: "up to {} percent may be the teacher's:",
        token: "up to {} token may be the teacher's:",
        tokens: "up to {} tokens may be the teacher's:",
    },
    Wording {
        percent: "help: at most {} percent:",
        token: "help: at most {} token:",
        tokens: "help: at most {} tokens:",
    },
    Wording {
        percent: "you may lean on the teacher for {}% of the text:",
        token: "you may lean on the teacher for {} token:",
        tokens: "you may lean on the teacher for {} tokens:",
    },
    Wording {
        percent: "ask as you like, but never for more than {} percent:",
        token: "ask as you like, but never for more than {} token:",
        tokens: "ask as you like, but never for more than {} tokens:",
    },
    Wording {
        percent: "of 100 words the teacher may choose {}:",
        token: "the teacher may choose {} token:",
        tokens: "the teacher may choose {} tokens:",
    },
    Wording {
        percent: "not more than {} percent help, please:",
        token: "not more than {} token of help, please:",
        tokens: "not more than {} tokens of help, please:",
    },
    Wording {
        percent: "the allowance for help is {}%:",
        token: "the allowance for help is {} token:",
        tokens: "the allowance for help is {} tokens:",
    },
    Wording {
        percent: "assistance up to {} percent:",
        token: "assistance up to {} token:",
        tokens: "assistance up to {} tokens:",
    },
    Wording {
        percent: "let the large model pick no more than {}% of the words:",
        token: "let the large model pick no more than {} token:",
        tokens: "let the large model pick no more than {} tokens:",
    },
    Wording {
        percent: "in {} percent of the places the expert may decide:",
        token: "in {} place the expert may decide:",
        tokens: "in {} places the expert may decide:",
    },
    Wording {
        percent: "cap on teacher words {}%:",
        token: "cap on teacher words {} token:",
        tokens: "cap on teacher words {} tokens:",
    },
    Wording {
        percent: "{}/100 by the teacher:",
        token: "{} token by the teacher:",
        tokens: "{} tokens by the teacher:",
    },
];
