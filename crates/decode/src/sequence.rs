//! One text while it is written.

use rand_chacha::ChaCha8Rng;

use crate::cursor::Span;
use crate::ledger::BudgetLedger;
use crate::settings::{DecodeSettings, Text};
use crate::{
    Acceptance, AcceptanceRule, Action, Candidates, DecodeError, Distribution, End, FailureReason, HelpFailure,
    HelpRequest, HelpResponse, HelpRule, Policy, PromptSide, SampledToken, Sampler, Source, Step, Trajectory,
    Verification, Vocabulary,
};

/// A text while it is written, with its ledger and its random generators.
pub(crate) struct Sequence {
    /// The index of the prompt among those that the decoder was given.
    pub(crate) prompt_index: usize,
    pub(crate) steps: Vec<Step>,
    pub(crate) ledger: BudgetLedger,
    /// The tokens of the steps.
    text: Vec<u32>,
    /// The length of the prefix up to and including the last token of an expert. It is never rolled back.
    verified: usize,
    /// The call of an expert that this text waits for.
    pub(crate) call: Option<PendingCall>,
    /// The number of steps that the observer knows.
    pub(crate) reported: usize,
    end: Option<End>,
    /// The experts that cannot help with this text any more.
    failures: Vec<HelpFailure>,
    max_tokens: usize,
    sampler: Sampler,
    /// The help rule of this text. An adaptive rule changes after each call.
    help_rule: HelpRule,
    verification: Verification,
    /// The source of the tokens that the policy chooses.
    writer: Source,
    /// The distributions from which the tokens after the verified prefix were drawn, for speculative sampling.
    drafts: Vec<Candidates>,
    /// Tokens and help have separate generators, so that a draw of one does not change the other. A rollback does not
    /// rewind them: new tokens need new random numbers.
    token_rng: ChaCha8Rng,
    help_rng: ChaCha8Rng,
}

/// Whether a sequence asks, and which expert it calls.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    /// Whether the policy wants help.
    pub(crate) asks: bool,
    /// The expert that is called; None if the policy does not ask or the budget has no room.
    pub(crate) expert: Option<usize>,
    /// The log-probability of this decision, nats; 0 if the budget has no room.
    log_prob: f64,
}

impl Decision {
    /// The call that verifies the end of a text. It is not a decision of the policy.
    pub(crate) fn verify_end(expert: usize) -> Self {
        Self { asks: true, expert: Some(expert), log_prob: 0.0 }
    }
}

/// A call of an expert that has not been made yet. The text does not change before the answer.
pub(crate) struct PendingCall {
    pub(crate) expert: usize,
    pub(crate) decision: Decision,
    /// The student's most likely next token. None at the end of a text.
    proposal: Option<u32>,
    /// What the student writes if the expert declines. It is kept only if the call is made in a later round than the
    /// decision, because the logits are then gone.
    pub(crate) own: Option<OwnToken>,
}

/// A token that the policy chooses for the next position.
pub(crate) struct OwnToken {
    sampled: SampledToken,
    /// The distribution that it was drawn from, for speculative sampling.
    draft: Option<Candidates>,
}

impl Sequence {
    pub(crate) fn new(text: &Text<'_>, policy: &Policy<'_>, settings: &DecodeSettings) -> Self {
        let Text { request, rule, verification, sampler, limit } = *text;
        Self {
            prompt_index: request.prompt_index,
            steps: Vec::new(),
            ledger: BudgetLedger::new(request.prompt.budget, settings.enforcement, settings.budget_unit),
            text: Vec::new(),
            verified: 0,
            call: None,
            reported: 0,
            end: (limit == 0).then_some(End::Length),
            failures: Vec::new(),
            max_tokens: limit,
            sampler,
            help_rule: rule,
            verification,
            writer: match policy.prompt_side {
                PromptSide::Student => Source::Student,
                PromptSide::Expert => Source::Expert(0),
            },
            drafts: Vec::new(),
            // Another name of a stream would change what every seed draws, and so every published result.
            token_rng: request.seed.stream("word").rng(),
            help_rng: request.seed.stream("help").rng(),
        }
    }

    /// The tokens so far.
    pub(crate) fn text(&self) -> &[u32] {
        &self.text
    }

    /// What the student reads for the next token of row `row`.
    pub(crate) fn span(&self, row: usize) -> Span<'_> {
        Span { row, prompt_index: self.prompt_index, text: &self.text, from: self.text.len(), next: None }
    }

    /// Whether the text has an end, which an expert may still have to verify.
    pub(crate) fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    /// Whether nothing can change this text any more.
    pub(crate) fn is_done(&self) -> bool {
        self.is_finished() && self.call.is_none()
    }

    /// Ends the text where it is, with the call that it may wait for.
    pub(crate) fn cancel(&mut self) {
        self.call = None;
        self.end = Some(End::Length);
    }

    /// How the policy's own tokens are chosen.
    pub(crate) fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// Decides whether to call an expert.
    pub(crate) fn decide(&mut self, distribution: &Distribution<'_>, vocabulary: &Vocabulary) -> Decision {
        let has_experts = !vocabulary.expert_tokens().is_empty();
        let open = has_experts && self.is_open() && !self.has_failed(distribution.expert());
        let written = self.text.len() - self.verified;
        let asks = has_experts && self.help_rule.score(distribution, written, &mut self.help_rng) > 0.0;
        Decision {
            asks,
            expert: (asks && open).then(|| distribution.expert()),
            log_prob: if open { self.help_rule.log_prob(asks) } else { 0.0 },
        }
    }

    /// Whether this expert must verify the end of this text, which the student has just finished.
    pub(crate) fn wants_end_verified(&self, expert: usize, vocabulary: &Vocabulary) -> bool {
        let verifies = self.verification.verify_end && self.verification.can_roll_back();
        let wanted = verifies && !vocabulary.expert_tokens().is_empty() && !self.has_failed(expert);
        wanted && self.is_finished() && self.ledger.is_open(self.text.len() - 1)
    }

    /// Waits for the call of a decision, if it is one to call an expert.
    pub(crate) fn wait(&mut self, decision: Decision, distribution: &Distribution<'_>) {
        let proposal = (!self.is_finished()).then(|| distribution.best());
        self.call = decision.expert.map(|expert| PendingCall { expert, decision, proposal, own: None });
    }

    /// The request for a pending call: for the next tokens, or to verify the end of the text.
    pub(crate) fn request(&self, row: usize, call: &PendingCall) -> HelpRequest<'_> {
        let review_from = self.review_from();
        let at_end = self.is_finished();
        let acceptance = match self.verification.rule {
            AcceptanceRule::Regret => Acceptance::Regret(self.verification.tolerance_nats),
            AcceptanceRule::Surprise => Acceptance::Surprise(self.verification.tolerance_nats),
            AcceptanceRule::Sampling => Acceptance::Sampling(&self.drafts[review_from - self.verified..]),
        };
        let room = self.ledger.room(self.text.len(), self.max_tokens - self.text.len());
        let (proposal, room) = (call.proposal, if at_end { 0 } else { room });
        HelpRequest { row, text: &self.text, review_from, acceptance, proposal, at_end, room }
    }

    /// The random number for the policy's own token.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.sampler.uniform(&mut self.token_rng)
    }

    /// The random number that [`uniform`](Self::uniform) will return.
    pub(crate) fn next_uniform(&self) -> f64 {
        self.sampler.uniform(&mut self.token_rng.clone())
    }

    /// A token that the policy has chosen from a distribution.
    pub(crate) fn own_token(&self, distribution: &Distribution<'_>, sampled: SampledToken) -> OwnToken {
        let draft = (self.verification.rule == AcceptanceRule::Sampling).then(|| self.sampler.candidates(distribution));
        OwnToken { sampled, draft }
    }

    /// Appends the policy's own token.
    pub(crate) fn push_own(&mut self, own: OwnToken, decision: Decision, vocabulary: &Vocabulary) {
        let OwnToken { sampled, draft } = own;
        self.drafts.extend(draft);
        // If the expert declined, the decision to ask does not count: with or without it, the student's token follows.
        let no_call_log_prob = if decision.expert.is_none() { decision.log_prob } else { 0.0 };
        self.append(
            Step {
                action: Action::Token,
                token: sampled.token,
                source: self.writer,
                log_prob: (no_call_log_prob + sampled.log_prob) as f32,
                cost: 0.0,
            },
            vocabulary,
        );
    }

    /// Rolls back the tokens that an expert did not accept, and appends its answer as far as the text and its budget
    /// have room.
    ///
    /// # Errors
    /// [`DecodeError::RollbackTooFar`] if the request does not allow this rollback, and [`DecodeError::Response`] if
    /// the student cannot write one of the tokens.
    pub(crate) fn apply_help(
        &mut self,
        call: &PendingCall,
        response: &HelpResponse,
        vocabulary: &Vocabulary,
    ) -> Result<(), DecodeError> {
        let PendingCall { expert, decision, .. } = *call;
        self.roll_back(expert, response.rollback)?;
        self.help_rule = self.help_rule.after_call(response.rollback == 0);
        let mut step = Step {
            action: Action::Help(vocabulary.expert_tokens()[expert]),
            token: 0,
            source: Source::Expert(expert),
            log_prob: decision.log_prob as f32,
            cost: response.cost,
        };
        for (index, &token) in response.tokens.iter().enumerate() {
            if self.is_finished() || !self.ledger.continues(index, self.text.len()) {
                break;
            }
            if !vocabulary.contains(token) {
                return Err(DecodeError::Response { expert, row: self.prompt_index, token });
            }
            if self.ledger.charges(index) {
                self.ledger.charge();
            }
            self.append(Step { token, ..step }, vocabulary);
            self.verified = self.text.len();
            self.drafts.clear();
            step = Step { action: Action::Forced, log_prob: 0.0, cost: 0.0, ..step };
        }
        Ok(())
    }

    /// Records that an expert cannot help with this text any more.
    pub(crate) fn fail(&mut self, expert: usize, reason: FailureReason) {
        self.failures.push(HelpFailure { expert, position: self.text.len(), reason });
    }

    fn has_failed(&self, expert: usize) -> bool {
        self.failures.iter().any(|failure| failure.expert == expert)
    }

    /// Charges a call that accepted the end of the text.
    pub(crate) fn accept_end(&mut self, cost: f32) {
        self.ledger.charge();
        if let Some(last) = self.steps.last_mut() {
            last.cost += cost;
        }
    }

    /// The finished text.
    pub(crate) fn into_trajectory(self) -> Trajectory {
        Trajectory { steps: self.steps, end: self.end.unwrap_or(End::Length), failures: self.failures }
    }

    fn is_open(&self) -> bool {
        self.ledger.is_open(self.text.len())
    }

    /// The first position that may be rolled back: the first one after the verified prefix at which the budget has room
    /// for an answer. The budget then has room at all later positions too.
    fn review_from(&self) -> usize {
        let open = |&position: &usize| self.verification.can_roll_back() && self.ledger.is_open(position);
        (self.verified..self.text.len()).find(open).unwrap_or(self.text.len())
    }

    fn roll_back(&mut self, expert: usize, rollback: usize) -> Result<(), DecodeError> {
        let open = self.text.len() - self.review_from();
        if rollback > open {
            return Err(DecodeError::RollbackTooFar { expert, row: self.prompt_index, rollback, open });
        }
        if rollback > 0 {
            self.text.truncate(self.text.len() - rollback);
            self.steps.truncate(self.text.len());
            self.drafts.truncate(self.text.len() - self.verified);
            self.end = None;
        }
        Ok(())
    }

    fn append(&mut self, step: Step, vocabulary: &Vocabulary) {
        let is_last = self.text.len() + 1 == self.max_tokens;
        let forced = vocabulary.forced_eos().filter(|_| is_last && !vocabulary.ends(step.token));
        let token = forced.unwrap_or(step.token);
        self.text.push(token);
        self.steps.push(Step { token, ..step });
        if vocabulary.ends(step.token) {
            self.end = Some(End::Eos);
        } else if is_last {
            self.end = Some(End::Length);
        }
    }
}
