//! A batch of texts that are decoded together.

use crate::cursor::{Cursor, Span};
use crate::experts::{Call, ExpertSessions};
use crate::readout::Logits;
use crate::sequence::{Decision, Sequence};
use crate::settings::{DecodeSettings, Texts};
use crate::{
    DecodeError, DecodeStats, Distribution, Experts, HelpResponse, Observer, Policy, PromptSide, RequestInfo,
    Trajectory, Vocabulary,
};

/// Texts that are decoded together. Every round adds a token, or an answer of an expert, to each of them that does not
/// wait for others to ask.
pub(crate) struct Batch<'a> {
    policy: &'a Policy<'a>,
    vocabulary: &'a Vocabulary,
    settings: &'a DecodeSettings,
    student: Cursor<'a>,
    experts: ExpertSessions<'a>,
    sequences: Vec<Sequence>,
    finished: Vec<(usize, Trajectory)>,
    stats: DecodeStats,
}

impl<'a> Batch<'a> {
    /// Opens a batch: the student reads the prompts.
    ///
    /// # Errors
    /// If an expert does not fit the student or a prompt.
    pub(crate) fn open(
        policy: &'a Policy<'a>,
        experts: &'a Experts<'a>,
        vocabulary: &'a Vocabulary,
        settings: &'a DecodeSettings,
        texts: &Texts<'a>,
    ) -> Result<Self, DecodeError> {
        let (requests, prompts, longest) = to_read(policy, settings, texts);
        Ok(Self {
            policy,
            vocabulary,
            settings,
            student: Cursor::open(policy.model, &prompts, longest, settings.readout),
            experts: experts.open_sessions(&requests, vocabulary)?,
            sequences: texts.iter().map(|(request, rule)| Sequence::new(request, policy, *rule, settings)).collect(),
            finished: Vec::with_capacity(texts.len()),
            stats: DecodeStats::default(),
        })
    }

    /// Decodes all texts to their ends, and returns each one with the index of its prompt. If free rows are refilled, it
    /// takes texts from the start of `pending` for them.
    ///
    /// # Errors
    /// If a model's logits are NaN or infinite, or cannot be read from the device, or if an expert fails or does not fit
    /// a prompt.
    pub(crate) fn write(
        mut self,
        pending: &mut &Texts<'a>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<(usize, Trajectory)>, DecodeStats), DecodeError> {
        self.change_rows(pending)?;
        while !self.sequences.is_empty() {
            self.round(observer)?;
            self.change_rows(pending)?;
        }
        let mut stats = DecodeStats { student: self.student.used(), teacher: self.experts.used(), ..self.stats };
        if self.policy.prompt_side == PromptSide::Expert {
            // The policy is the expert itself, so all tokens and all work count as help.
            stats.teacher += std::mem::take(&mut stats.student);
            (stats.help_asked, stats.help_given) = (stats.tokens, stats.tokens);
        }
        Ok((self.finished, stats))
    }

    /// At most one forward pass of the student, and at most one call of each expert session.
    fn round(&mut self, observer: &mut dyn Observer) -> Result<(), DecodeError> {
        // 1. Each text that does not wait decides whether to ask. If it does not ask, it appends its own token.
        let running = |row: &usize| self.sequences[*row].call.is_none() && !self.sequences[*row].is_finished();
        let rows: Vec<usize> = (0..self.sequences.len()).filter(running).collect();
        let logits = self.advance(&rows, observer)?;
        let distributions = logits.as_ref().map(Logits::distributions).unwrap_or_default();

        // 2. Experts are called if enough texts wait for them. The other texts keep what the logits of this round say.
        let called = self.rows_to_call();
        if let Some(logits) = &logits {
            self.keep_own_tokens(&rows, &called, logits);
        }
        let responses = self.ask_experts(&called)?;

        // 3. The responses are applied, and the observer is told.
        for (row, response) in responses.iter().enumerate() {
            let mut kept = self.sequences[row].reported;
            if called[row] {
                let distribution = rows.binary_search(&row).ok().map(|index| &distributions[index]);
                kept = self.apply(row, response, distribution)?;
            }
            let sequence = &mut self.sequences[row];
            if sequence.call.is_some() {
                continue;
            }
            if kept < sequence.reported {
                observer.rolled_back(sequence.prompt_index, kept);
            }
            for step in &sequence.steps[kept..] {
                observer.step(sequence.prompt_index, step);
            }
            sequence.reported = sequence.steps.len();
        }
        Ok(())
    }

    /// The student reads the new tokens of some rows, and each of them appends its own token or waits for a call. Returns
    /// the logits, unless there are no rows.
    fn advance(&mut self, rows: &[usize], observer: &mut dyn Observer) -> Result<Option<Logits>, DecodeError> {
        if rows.is_empty() {
            return Ok(None);
        }
        let spans: Vec<Span<'_>> = rows.iter().map(|&row| self.sequences[row].span(row)).collect();
        let logits = self.student.read(&spans, self.vocabulary)?;
        let distributions = logits.distributions();
        let mut decisions = Vec::with_capacity(rows.len());
        let (mut alone, mut uniforms) = (Vec::new(), Vec::new());
        for (index, (&row, distribution)) in rows.iter().zip(&distributions).enumerate() {
            let sequence = &mut self.sequences[row];
            observer.distribution(sequence.prompt_index, distribution);
            let decision = sequence.decide(distribution, self.vocabulary);
            sequence.wait(decision, distribution);
            if decision.expert.is_none() {
                alone.push(index);
                uniforms.push(sequence.uniform(self.policy));
            }
            decisions.push(decision);
        }
        let tokens = logits.choose(self.policy.sampler, &alone, &uniforms);
        for (&index, token) in alone.iter().zip(tokens) {
            let (sequence, distribution) = (&mut self.sequences[rows[index]], &distributions[index]);
            let own = sequence.own_token(self.policy, distribution, token);
            sequence.push_own(own, decisions[index], self.vocabulary);
            if sequence.wants_end_verified(distribution.expert(), self.vocabulary) {
                decisions[index] = Decision::verify_end(distribution.expert());
                sequence.wait(decisions[index], distribution);
            }
        }
        self.stats.help_asked += decisions.iter().filter(|decision| decision.asks).count() as u64;
        Ok(Some(logits))
    }

    /// Whether the call of each row is made now: if enough rows wait for its expert, or if no text can go on without a
    /// call.
    fn rows_to_call(&self) -> Vec<bool> {
        let waits_for = |sequence: &Sequence| sequence.call.as_ref().map(|call| call.expert);
        let no_other = self.sequences.iter().all(|sequence| sequence.call.is_some() || sequence.is_finished());
        let mut waiting = vec![0; self.vocabulary.expert_tokens().len()];
        for expert in self.sequences.iter().filter_map(waits_for) {
            waiting[expert] += 1;
        }
        let is_due = |expert: usize| no_other || waiting[expert] >= self.settings.help_batch;
        self.sequences.iter().map(|sequence| waits_for(sequence).is_some_and(is_due)).collect()
    }

    /// Chooses the tokens that texts append if their experts decline in a later round, whose calls are not made now. The
    /// logits are those of `rows`.
    fn keep_own_tokens(&mut self, rows: &[usize], called: &[bool], logits: &Logits) {
        let waits_on = |row: usize| self.sequences[row].call.is_some() && !self.sequences[row].is_finished();
        let left: Vec<usize> = (0..rows.len()).filter(|&index| !called[rows[index]] && waits_on(rows[index])).collect();
        if left.is_empty() {
            return;
        }
        let distributions = logits.distributions();
        let uniforms: Vec<f64> =
            left.iter().map(|&index| self.sequences[rows[index]].next_uniform(self.policy)).collect();
        for (&index, token) in left.iter().zip(logits.choose(self.policy.sampler, &left, &uniforms)) {
            let sequence = &mut self.sequences[rows[index]];
            let own = sequence.own_token(self.policy, &distributions[index], token);
            if let Some(call) = &mut sequence.call {
                call.own = Some(own);
            }
        }
    }

    /// The response for each row. It is empty for rows whose calls are not made.
    fn ask_experts(&mut self, called: &[bool]) -> Result<Vec<HelpResponse>, DecodeError> {
        let mut calls = Vec::new();
        for (row, sequence) in self.sequences.iter().enumerate() {
            if let Some(call) = sequence.call.as_ref().filter(|_| called[row]) {
                calls.push(Call { expert: call.expert, request: sequence.request(row, call) });
            }
        }
        self.experts.answer(&calls, self.sequences.len())
    }

    /// Applies the response to the call of a row, and returns the number of reported steps that it leaves. `distribution`
    /// is the student's at this position, if it was read in this round.
    fn apply(
        &mut self,
        row: usize,
        response: &HelpResponse,
        distribution: Option<&Distribution<'_>>,
    ) -> Result<usize, DecodeError> {
        let sequence = &mut self.sequences[row];
        let reported = sequence.reported;
        let Some(mut call) = sequence.call.take() else { return Ok(reported) };
        let at_end = sequence.is_finished();
        if let Some(reason) = response.failure {
            sequence.fail(call.expert, reason);
            if at_end {
                return Ok(reported);
            }
        }
        let declined = response.tokens.is_empty() || response.failure.is_some();
        if declined && !at_end {
            // A token that was kept was chosen with the same random number.
            let uniform = sequence.uniform(self.policy);
            let own = match (call.own.take(), distribution) {
                (Some(own), _) => own,
                (None, Some(distribution)) => {
                    let token = self.policy.sampler.choose_at(distribution, uniform);
                    sequence.own_token(self.policy, distribution, token)
                }
                (None, None) => unreachable!("a call that is made in a later round has kept a token"),
            };
            sequence.push_own(own, call.decision, self.vocabulary);
            return Ok(reported);
        }
        if declined || at_end && response.rollback == 0 {
            sequence.accept_end(response.cost);
            return Ok(reported);
        }
        let left = sequence.text().len().saturating_sub(response.rollback);
        sequence.apply_help(&call, response, self.vocabulary)?;
        self.stats.rolled_back += response.rollback as u64;
        Ok(reported.min(left))
    }

    /// Removes texts that are done, and begins new ones in the free rows, if there are enough of them for the setting.
    fn change_rows(&mut self, pending: &mut &Texts<'a>) -> Result<(), DecodeError> {
        let active = self.sequences.iter().filter(|sequence| !sequence.is_done()).count();
        let free = self.settings.batch_size - active;
        let refill = self.settings.refill.filter(|_| active > 0 && !pending.is_empty());
        let refill = refill.filter(|_| self.student.can_append() && self.experts.can_append());
        if refill.is_some_and(|refill| free < refill.min(self.settings.batch_size)) {
            // Each change of the rows copies all caches. A pass leaves out the rows that are done in the meantime.
            return Ok(());
        }
        self.drop_done();
        if refill.is_none() {
            return Ok(());
        }
        let texts = pending.split_off(..free.min(pending.len())).unwrap_or_default();
        let (requests, prompts, longest) = to_read(self.policy, self.settings, texts);
        self.experts.append(&requests)?;
        self.student.append(&prompts, longest);
        let new = texts.iter().map(|(request, rule)| Sequence::new(request, self.policy, *rule, self.settings));
        self.sequences.extend(new);
        Ok(())
    }

    /// Removes texts that are done from the batch.
    fn drop_done(&mut self) {
        let active: Vec<usize> = (0..self.sequences.len()).filter(|&row| !self.sequences[row].is_done()).collect();
        if active.len() == self.sequences.len() {
            return;
        }
        if !active.is_empty() {
            self.student.select_rows(&active);
            self.experts.select_rows(&active);
        }
        for sequence in self.sequences.extract_if(.., |sequence| sequence.is_done()) {
            self.stats.tokens += sequence.steps.len() as u64;
            self.stats.help_given += sequence.ledger.spent() as u64;
            self.finished.push((sequence.prompt_index, sequence.into_trajectory()));
        }
    }
}

/// The requests of texts, their prompts for the student, and the largest limit of their lengths.
fn to_read<'a>(
    policy: &Policy<'_>,
    settings: &DecodeSettings,
    texts: &Texts<'a>,
) -> (Vec<RequestInfo<'a>>, Vec<&'a [u32]>, usize) {
    let requests: Vec<RequestInfo<'a>> = texts.iter().map(|(request, _)| *request).collect();
    let prompts = requests.iter().map(|request| policy.prompt_side.of(request.prompt)).collect();
    let longest = requests.iter().map(|request| settings.limit(request, policy.model.spec())).max().unwrap_or(0);
    (requests, prompts, longest)
}
