//! One text while it is written.

use rand_chacha::ChaCha8Rng;

use crate::{
    Action, Advice, BudgetLedger, Case, DecodeError, End, Enforcement, Law, Policy, Source, Step, Trajectory,
    Vocabulary,
};

/// A text that is being written, with its account and its chance.
pub(crate) struct Row {
    /// The prompt's place among those that the decoder was given.
    pub(crate) prompt_index: usize,
    pub(crate) steps: Vec<Step>,
    pub(crate) ledger: BudgetLedger,
    /// The tokens of the steps.
    text: Vec<u32>,
    end: Option<End>,
    max_tokens: usize,
    /// Chance for words, and apart from it chance for asking, so that neither moves the other.
    word_rng: ChaCha8Rng,
    help_rng: ChaCha8Rng,
}

/// Whether a row asks, and whether it may.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    /// Whether the policy wants help.
    pub(crate) asks: bool,
    /// The expert that is called: none if the policy does not ask, or help is closed.
    pub(crate) expert: Option<usize>,
    /// The log-probability of having called, or of not having called; 0 where help is closed.
    log_prob: f64,
}

impl Row {
    pub(crate) fn new(case: &Case<'_>, enforcement: Enforcement, max_tokens: usize) -> Self {
        Self {
            prompt_index: case.prompt_index,
            steps: Vec::new(),
            ledger: BudgetLedger::new(case.prompt.budget, enforcement),
            text: Vec::new(),
            end: (max_tokens == 0).then_some(End::Length),
            max_tokens,
            word_rng: case.seed.stream("word").rng(),
            help_rng: case.seed.stream("help").rng(),
        }
    }

    /// The tokens so far.
    pub(crate) fn text(&self) -> &[u32] {
        &self.text
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    /// Decides whether to call an expert.
    pub(crate) fn decide(&mut self, policy: &Policy<'_>, law: &Law<'_>, vocabulary: &Vocabulary) -> Decision {
        let staffed = !vocabulary.staffed().is_empty();
        let open = staffed && self.is_open();
        let asks = staffed && policy.asking.score(law, &mut self.help_rng) > 0.0;
        Decision {
            asks,
            expert: (asks && open).then(|| law.expert()),
            log_prob: if open { policy.asking.log_prob(asks) } else { 0.0 },
        }
    }

    /// Writes the student's own word.
    pub(crate) fn speak(&mut self, policy: &Policy<'_>, law: &Law<'_>, decision: Decision, eos: u32) {
        let word = policy.sampler.choose(law, &mut self.word_rng);
        // If an expert was called and declined, the word is as likely as if nobody could have been called: it would
        // have been written either way.
        let silent = if decision.expert.is_none() { decision.log_prob } else { 0.0 };
        self.append(
            Step {
                action: Action::Word,
                token: word.token,
                source: Source::Student,
                log_prob: (silent + word.log_prob) as f32,
                cost: 0.0,
            },
            eos,
        );
    }

    /// Writes an expert's tokens, as far as the text and its budget have room.
    ///
    /// # Errors
    /// [`DecodeError::Advice`] if the student cannot write one of them.
    pub(crate) fn follow(
        &mut self,
        expert: usize,
        advice: &Advice,
        decision: Decision,
        vocabulary: &Vocabulary,
    ) -> Result<(), DecodeError> {
        let mut step = Step {
            action: Action::Help(vocabulary.staffed()[expert]),
            token: 0,
            source: Source::Expert(expert),
            log_prob: decision.log_prob as f32,
            cost: advice.cost,
        };
        for &token in &advice.tokens {
            if self.is_finished() || !self.is_open() {
                break;
            }
            if !vocabulary.contains(token) {
                return Err(DecodeError::Advice { expert, row: self.prompt_index, token });
            }
            self.ledger.charge();
            self.append(Step { token, ..step }, vocabulary.eos());
            step = Step { action: Action::Forced, log_prob: 0.0, cost: 0.0, ..step };
        }
        Ok(())
    }

    /// The text as it stands.
    pub(crate) fn into_trajectory(self) -> Trajectory {
        Trajectory { steps: self.steps, end: self.end.unwrap_or(End::Length) }
    }

    fn is_open(&self) -> bool {
        self.ledger.is_open(self.text.len())
    }

    fn append(&mut self, step: Step, eos: u32) {
        self.text.push(step.token);
        self.steps.push(step);
        if step.token == eos {
            self.end = Some(End::Eos);
        } else if self.text.len() == self.max_tokens {
            self.end = Some(End::Length);
        }
    }
}
