//! One text while it is written.

use rand_chacha::ChaCha8Rng;

use crate::{
    Action, Advice, Asking, BudgetLedger, Case, DecodeError, End, Enforcement, Hindsight, Judgement, Law, Policy,
    Question, Source, Standard, Step, Trajectory, Vocabulary, WordLaw,
};

/// A text that is being written, with its account and its chance.
pub(crate) struct Row {
    /// The prompt's place among those that the decoder was given.
    pub(crate) prompt_index: usize,
    pub(crate) steps: Vec<Step>,
    pub(crate) ledger: BudgetLedger,
    /// The tokens of the steps.
    text: Vec<u32>,
    /// The tokens up to the last that an expert wrote: these are never taken back.
    settled: usize,
    end: Option<End>,
    max_tokens: usize,
    /// The policy's rule, as far as this text has brought it.
    asking: Asking,
    hindsight: Hindsight,
    /// The laws from which the words after the settled ones were drawn, where they are judged by chance.
    drafts: Vec<WordLaw>,
    /// Chance for words, and apart from it chance for asking, so that neither moves the other. Neither is taken back
    /// with a text: what is written anew is drawn anew.
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

impl Decision {
    /// A call that is no choice of the policy's: the text is about to close.
    pub(crate) fn closing(expert: usize) -> Self {
        Self { asks: true, expert: Some(expert), log_prob: 0.0 }
    }
}

impl Row {
    pub(crate) fn new(
        case: &Case<'_>,
        asking: Asking,
        enforcement: Enforcement,
        hindsight: Hindsight,
        max_tokens: usize,
    ) -> Self {
        Self {
            prompt_index: case.prompt_index,
            steps: Vec::new(),
            ledger: BudgetLedger::new(case.prompt.budget, enforcement),
            text: Vec::new(),
            settled: 0,
            end: (max_tokens == 0).then_some(End::Length),
            max_tokens,
            asking,
            hindsight,
            drafts: Vec::new(),
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
    pub(crate) fn decide(&mut self, law: &Law<'_>, vocabulary: &Vocabulary) -> Decision {
        let staffed = !vocabulary.staffed().is_empty();
        let open = staffed && self.is_open();
        let written = self.text.len() - self.settled;
        let asks = staffed && self.asking.score(law, written, &mut self.help_rng) > 0.0;
        Decision {
            asks,
            expert: (asks && open).then(|| law.expert()),
            log_prob: if open { self.asking.log_prob(asks) } else { 0.0 },
        }
    }

    /// Whether an expert is to look at the text before it closes: the student has just ended it.
    pub(crate) fn closes_with_a_call(&self, vocabulary: &Vocabulary) -> bool {
        let Hindsight { closing_call, .. } = self.hindsight;
        let wanted = closing_call && self.hindsight.looks_back() && !vocabulary.staffed().is_empty();
        wanted && self.is_finished() && self.ledger.is_open(self.text.len() - 1)
    }

    /// What the row asks an expert: how its text goes on, or whether it stands as it ends.
    pub(crate) fn question(&self, place: usize, law: &Law<'_>) -> Question<'_> {
        let review_from = self.review_from();
        let closing = self.is_finished();
        let standard = match self.hindsight.judgement {
            Judgement::Regret => Standard::Regret(self.hindsight.tolerance_nats),
            Judgement::Surprise => Standard::Surprise(self.hindsight.tolerance_nats),
            Judgement::Chance => Standard::Chance(&self.drafts[review_from - self.settled..]),
        };
        let word = (!closing).then(|| law.best());
        Question { row: place, text: &self.text, review_from, standard, word, closing }
    }

    /// Writes the student's own word.
    pub(crate) fn speak(&mut self, policy: &Policy<'_>, law: &Law<'_>, decision: Decision, eos: u32) {
        let word = policy.sampler.choose(law, &mut self.word_rng);
        if self.hindsight.judgement == Judgement::Chance {
            self.drafts.push(policy.sampler.law(law));
        }
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

    /// Takes back what an expert would not let stand, and writes its tokens, as far as the text and its budget have
    /// room.
    ///
    /// # Errors
    /// [`DecodeError::TakenBack`] if the question did not leave so much open, [`DecodeError::Advice`] if the student
    /// cannot write one of the tokens.
    pub(crate) fn follow(
        &mut self,
        expert: usize,
        advice: &Advice,
        decision: Decision,
        vocabulary: &Vocabulary,
    ) -> Result<(), DecodeError> {
        self.take_back(expert, advice.back)?;
        self.asking = self.asking.after_review(advice.back == 0);
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
            self.settled = self.text.len();
            self.drafts.clear();
            step = Step { action: Action::Forced, log_prob: 0.0, cost: 0.0, ..step };
        }
        Ok(())
    }

    /// Pays for a closing call that let the text stand.
    pub(crate) fn stand(&mut self, cost: f32) {
        self.ledger.charge();
        if let Some(last) = self.steps.last_mut() {
            last.cost += cost;
        }
    }

    /// The text as it stands.
    pub(crate) fn into_trajectory(self) -> Trajectory {
        Trajectory { steps: self.steps, end: self.end.unwrap_or(End::Length) }
    }

    fn is_open(&self) -> bool {
        self.ledger.is_open(self.text.len())
    }

    /// The first position that may be taken back: one that is not settled, and at which the ledger has room for an
    /// answer. It has at all positions after the first such one.
    fn review_from(&self) -> usize {
        let open = |&position: &usize| self.hindsight.looks_back() && self.ledger.is_open(position);
        (self.settled..self.text.len()).find(open).unwrap_or(self.text.len())
    }

    fn take_back(&mut self, expert: usize, back: usize) -> Result<(), DecodeError> {
        let open = self.text.len() - self.review_from();
        if back > open {
            return Err(DecodeError::TakenBack { expert, row: self.prompt_index, back, open });
        }
        if back > 0 {
            self.text.truncate(self.text.len() - back);
            self.steps.truncate(self.text.len());
            self.drafts.truncate(self.text.len() - self.settled);
            self.end = None;
        }
        Ok(())
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
