//! A batch of texts that are decoded together.

use crate::cursor::{Cursor, Span};
use crate::experts::{Call, ExpertSessions};
use crate::readout::{Choice, Logits};
use crate::sequence::{Decision, Sequence};
use crate::settings::{DecodeSettings, Text};
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
    /// None if there are no rows.
    student: Option<Cursor<'a>>,
    experts: ExpertSessions<'a>,
    sequences: Vec<Sequence>,
    finished: Vec<(usize, Trajectory)>,
    stats: DecodeStats,
}

impl<'a> Batch<'a> {
    /// Opens a batch: the student reads the prompts, if there are texts.
    ///
    /// # Errors
    /// If an expert does not fit the student or a prompt.
    pub(crate) fn open(
        policy: &'a Policy<'a>,
        experts: &'a Experts<'a>,
        vocabulary: &'a Vocabulary,
        settings: &'a DecodeSettings,
        texts: &[Text<'a>],
    ) -> Result<Self, DecodeError> {
        let requests: Vec<RequestInfo<'a>> = texts.iter().map(|text| text.request).collect();
        let mut batch = Self {
            policy,
            vocabulary,
            settings,
            student: None,
            experts: experts.open_sessions(&requests, vocabulary)?,
            sequences: Vec::new(),
            finished: Vec::with_capacity(texts.len()),
            stats: DecodeStats::default(),
        };
        batch.begin(texts);
        Ok(batch)
    }

    /// Decodes all texts to their ends, and returns each one with the index of its prompt. If free rows are refilled, it
    /// takes texts from the start of `pending` for them.
    ///
    /// # Errors
    /// If a model's logits are NaN or infinite, or cannot be read from the device, or if an expert fails or does not fit
    /// a prompt.
    pub(crate) fn write(
        mut self,
        pending: &mut &[Text<'a>],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<(usize, Trajectory)>, DecodeStats), DecodeError> {
        self.change_rows(pending)?;
        while !self.is_empty() {
            self.round(observer)?;
            self.change_rows(pending)?;
        }
        let stats = self.stats();
        Ok((self.finished, stats))
    }

    /// Whether the batch has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The number of texts that are not done.
    pub(crate) fn active(&self) -> usize {
        self.sequences.iter().filter(|sequence| !sequence.is_done()).count()
    }

    /// Whether new texts can be added to those that are being decoded.
    pub(crate) fn can_append(&self) -> bool {
        self.student.as_ref().is_none_or(Cursor::can_append) && self.experts.can_append()
    }

    /// Whether all texts that were done have been taken.
    pub(crate) fn has_no_results(&self) -> bool {
        self.finished.is_empty()
    }

    /// The texts that were done since the last call, each with the index of its prompt.
    pub(crate) fn take_finished(&mut self) -> Vec<(usize, Trajectory)> {
        std::mem::take(&mut self.finished)
    }

    /// Ends a text where it is, removes its row, and returns it. None if it is not being decoded.
    pub(crate) fn cancel(&mut self, prompt_index: usize) -> Option<Trajectory> {
        self.sequences.iter_mut().find(|sequence| sequence.prompt_index == prompt_index)?.cancel();
        self.clear();
        let place = self.finished.iter().position(|text| text.0 == prompt_index)?;
        Some(self.finished.remove(place).1)
    }

    /// The work so far.
    pub(crate) fn stats(&self) -> DecodeStats {
        let mut stats = DecodeStats { teacher: self.experts.used(), ..self.stats };
        stats.student += self.student.as_ref().map(Cursor::used).unwrap_or_default();
        if self.policy.prompt_side == PromptSide::Expert {
            // The policy is the expert itself, so all tokens and all work count as help.
            stats.teacher += std::mem::take(&mut stats.student);
            (stats.help_asked, stats.help_given) = (stats.tokens, stats.tokens);
        }
        stats
    }

    /// At most one forward pass of the student, and at most one call of each expert session.
    pub(crate) fn round(&mut self, observer: &mut dyn Observer) -> Result<(), DecodeError> {
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
        let Some(student) = self.student.as_mut().filter(|_| !rows.is_empty()) else { return Ok(None) };
        let spans: Vec<Span<'_>> = rows.iter().map(|&row| self.sequences[row].span(row)).collect();
        let logits = student.read(&spans, self.vocabulary)?;
        let distributions = logits.distributions();
        let mut decisions = Vec::with_capacity(rows.len());
        let mut choices = Vec::new();
        for (index, (&row, distribution)) in rows.iter().zip(&distributions).enumerate() {
            let sequence = &mut self.sequences[row];
            observer.distribution(sequence.prompt_index, distribution);
            let decision = sequence.decide(distribution, self.vocabulary);
            sequence.wait(decision, distribution);
            if decision.expert.is_none() {
                choices.push(Choice { index, sampler: sequence.sampler(), uniform: sequence.uniform() });
            }
            decisions.push(decision);
        }
        for (&Choice { index, .. }, token) in choices.iter().zip(logits.choose(&choices)) {
            let (sequence, distribution) = (&mut self.sequences[rows[index]], &distributions[index]);
            let own = sequence.own_token(distribution, token);
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
        let mut choices = Vec::new();
        for index in (0..rows.len()).filter(|&index| !called[rows[index]] && waits_on(rows[index])) {
            let sequence = &self.sequences[rows[index]];
            choices.push(Choice { index, sampler: sequence.sampler(), uniform: sequence.next_uniform() });
        }
        if choices.is_empty() {
            return;
        }
        let distributions = logits.distributions();
        for (&Choice { index, .. }, token) in choices.iter().zip(logits.choose(&choices)) {
            let sequence = &mut self.sequences[rows[index]];
            let own = sequence.own_token(&distributions[index], token);
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
            let uniform = sequence.uniform();
            let own = match (call.own.take(), distribution) {
                (Some(own), _) => own,
                (None, Some(distribution)) => {
                    let token = sequence.sampler().choose_at(distribution, uniform);
                    sequence.own_token(distribution, token)
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
    fn change_rows(&mut self, pending: &mut &[Text<'a>]) -> Result<(), DecodeError> {
        let active = self.active();
        let free = self.settings.batch_size - active;
        let refill = self.settings.refill.filter(|_| active > 0 && !pending.is_empty());
        let refill = refill.filter(|_| self.can_append());
        if refill.is_some_and(|refill| free < refill.min(self.settings.batch_size)) {
            // Each change of the rows copies all caches. A pass leaves out the rows that are done in the meantime.
            return Ok(());
        }
        self.drop_done();
        if refill.is_none() {
            return Ok(());
        }
        self.append(pending.split_off(..free.min(pending.len())).unwrap_or_default())
    }

    /// Begins new texts in new rows.
    ///
    /// # Errors
    /// If an expert does not fit a prompt. The batch is then as it was.
    pub(crate) fn append(&mut self, texts: &[Text<'_>]) -> Result<(), DecodeError> {
        let requests: Vec<RequestInfo<'_>> = texts.iter().map(|text| text.request).collect();
        if let Err(error) = self.experts.append(&requests) {
            // Some sessions may have taken rows.
            self.experts.select_rows(&(0..self.sequences.len()).collect::<Vec<_>>());
            return Err(error);
        }
        self.begin(texts);
        Ok(())
    }

    /// The student reads the prompts of new texts, whose rows the experts have.
    fn begin(&mut self, texts: &[Text<'_>]) {
        if texts.is_empty() {
            return;
        }
        let prompts: Vec<&[u32]> = texts.iter().map(|text| self.policy.prompt_side.of(text.request.prompt)).collect();
        // A capacity of 0 would make a context that remembers nothing, to which no rows can be added.
        let longest = texts.iter().map(|text| text.limit).max().unwrap_or(0).max(1);
        match &mut self.student {
            Some(student) => student.append(&prompts, longest),
            None => self.student = Some(Cursor::open(self.policy.model, &prompts, longest, self.settings.readout)),
        }
        self.sequences.extend(texts.iter().map(|text| Sequence::new(text, self.policy, self.settings)));
    }

    /// Removes the rows that are left after the last text, so that the batch can begin again.
    pub(crate) fn clear(&mut self) {
        self.drop_done();
        if self.is_empty()
            && let Some(student) = self.student.take()
        {
            self.stats.student += student.used();
            self.experts.select_rows(&[]);
        }
    }

    /// Removes texts that are done from the batch.
    fn drop_done(&mut self) {
        let active: Vec<usize> = (0..self.sequences.len()).filter(|&row| !self.sequences[row].is_done()).collect();
        if active.len() == self.sequences.len() {
            return;
        }
        if !active.is_empty() {
            self.student.iter_mut().for_each(|student| student.select_rows(&active));
            self.experts.select_rows(&active);
        }
        for sequence in self.sequences.extract_if(.., |sequence| sequence.is_done()) {
            self.stats.tokens += sequence.steps.len() as u64;
            self.stats.help_given += sequence.ledger.spent() as u64;
            self.finished.push((sequence.prompt_index, sequence.into_trajectory()));
        }
    }
}
