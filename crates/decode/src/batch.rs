//! A batch of texts that are decoded together.

use crate::cursor::{Cursor, Span};
use crate::experts::{Call, ExpertSessions};
use crate::sequence::{Decision, Sequence};
use crate::settings::DecodeSettings;
use crate::{
    DecodeError, DecodeStats, Distribution, Experts, HelpResponse, HelpRule, Observer, Policy, PromptSide, RequestInfo,
    Trajectory, Vocabulary,
};

/// Texts that are decoded together. Every round adds a token, or an answer of an expert, to each of them.
pub(crate) struct Batch<'a> {
    policy: &'a Policy<'a>,
    vocabulary: &'a Vocabulary,
    student: Cursor<'a>,
    experts: ExpertSessions<'a>,
    sequences: Vec<Sequence>,
    finished: Vec<(usize, Trajectory)>,
    stats: DecodeStats,
}

impl<'a> Batch<'a> {
    /// Opens a batch: the student reads the prompts. Each text comes with its help rule.
    ///
    /// # Errors
    /// If an expert does not fit the student or a prompt.
    pub(crate) fn open(
        policy: &'a Policy<'a>,
        experts: &'a Experts<'a>,
        vocabulary: &'a Vocabulary,
        settings: &DecodeSettings,
        texts: &[(RequestInfo<'a>, HelpRule)],
    ) -> Result<Self, DecodeError> {
        let requests: Vec<RequestInfo<'a>> = texts.iter().map(|(request, _)| *request).collect();
        let prompts: Vec<&[u32]> = requests.iter().map(|request| policy.prompt_side.of(request.prompt)).collect();
        let limit = |request: &RequestInfo<'_>| settings.limit(request, policy.model.spec());
        let longest = requests.iter().map(limit).max().unwrap_or(0);
        Ok(Self {
            policy,
            vocabulary,
            student: Cursor::open(policy.model, &prompts, longest, settings.readout),
            experts: experts.open_sessions(&requests, vocabulary)?,
            sequences: texts.iter().map(|(request, rule)| Sequence::new(request, policy, *rule, settings)).collect(),
            finished: Vec::with_capacity(texts.len()),
            stats: DecodeStats::default(),
        })
    }

    /// Decodes all texts to their ends, and returns each one with the index of its prompt.
    ///
    /// # Errors
    /// If a model's logits are NaN or infinite, or cannot be read from the device, or if an expert fails.
    pub(crate) fn write(
        mut self,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<(usize, Trajectory)>, DecodeStats), DecodeError> {
        self.drop_finished();
        while !self.sequences.is_empty() {
            self.round(observer)?;
            self.drop_finished();
        }
        let mut stats = DecodeStats { student: self.student.used(), teacher: self.experts.used(), ..self.stats };
        if self.policy.prompt_side == PromptSide::Expert {
            // The policy is the expert itself, so all tokens and all work count as help.
            stats.teacher += std::mem::take(&mut stats.student);
            (stats.help_asked, stats.help_given) = (stats.tokens, stats.tokens);
        }
        Ok((self.finished, stats))
    }

    /// One forward pass of the student, and at most one call of each expert session.
    fn round(&mut self, observer: &mut dyn Observer) -> Result<(), DecodeError> {
        // 1. The student reads the new tokens of each text.
        let spans = self.sequences.iter().enumerate();
        let spans: Vec<Span<'_>> = spans.map(|(row, sequence)| sequence.span(row)).collect();
        let logits = self.student.read(&spans, self.vocabulary)?;
        let distributions = logits.distributions();

        // 2. Each text decides whether to ask. If it does not ask, it appends its own token.
        let known: Vec<usize> = self.sequences.iter().map(|sequence| sequence.steps.len()).collect();
        let mut decisions = Vec::with_capacity(distributions.len());
        let (mut alone, mut uniforms) = (Vec::new(), Vec::new());
        for (row, (sequence, distribution)) in self.sequences.iter_mut().zip(&distributions).enumerate() {
            observer.distribution(sequence.prompt_index, distribution);
            let decision = sequence.decide(distribution, self.vocabulary);
            if decision.expert.is_none() {
                alone.push(row);
                uniforms.push(sequence.uniform(self.policy));
            }
            decisions.push(decision);
        }
        let tokens = logits.choose(self.policy.sampler, &alone, &uniforms);
        for (&row, token) in alone.iter().zip(tokens) {
            let (sequence, distribution) = (&mut self.sequences[row], &distributions[row]);
            sequence.push_own(self.policy, distribution, decisions[row], token, self.vocabulary);
            if sequence.wants_end_verified(self.vocabulary) {
                decisions[row] = Decision::verify_end(distribution.expert());
            }
        }
        self.stats.help_asked += decisions.iter().filter(|decision| decision.asks).count() as u64;

        // 3. Each expert answers all texts that ask it.
        let responses = self.ask_experts(&decisions, &distributions)?;

        // 4. The responses are applied, and the observer is told.
        for (row, sequence) in self.sequences.iter_mut().enumerate() {
            let (decision, response) = (decisions[row], &responses[row]);
            let mut kept = known[row];
            if let Some(expert) = decision.expert {
                let (at_end, declined) = (sequence.is_finished(), response.tokens.is_empty());
                if declined && !at_end {
                    let uniform = sequence.uniform(self.policy);
                    let token = self.policy.sampler.choose_at(&distributions[row], uniform);
                    sequence.push_own(self.policy, &distributions[row], decision, token, self.vocabulary);
                } else if declined || at_end && response.rollback == 0 {
                    sequence.accept_end(response.cost);
                } else {
                    kept = kept.min(sequence.text().len().saturating_sub(response.rollback));
                    sequence.apply_help(expert, response, decision, self.vocabulary)?;
                    self.stats.rolled_back += response.rollback as u64;
                }
            }
            if kept < known[row] {
                observer.rolled_back(sequence.prompt_index, kept);
            }
            for step in &sequence.steps[kept..] {
                observer.step(sequence.prompt_index, step);
            }
        }
        Ok(())
    }

    /// The response for each row. It is empty for rows that do not ask.
    fn ask_experts(
        &mut self,
        decisions: &[Decision],
        distributions: &[Distribution<'_>],
    ) -> Result<Vec<HelpResponse>, DecodeError> {
        let mut calls = Vec::new();
        for (row, (sequence, decision)) in self.sequences.iter().zip(decisions).enumerate() {
            if let Some(expert) = decision.expert {
                calls.push(Call { expert, request: sequence.request(row, &distributions[row]) });
            }
        }
        self.experts.answer(&calls, self.sequences.len())
    }

    /// Removes finished texts from the batch, so that no forward pass carries them.
    fn drop_finished(&mut self) {
        let active: Vec<usize> = (0..self.sequences.len()).filter(|&row| !self.sequences[row].is_finished()).collect();
        if active.len() == self.sequences.len() {
            return;
        }
        if !active.is_empty() {
            self.student.select_rows(&active);
            self.experts.select_rows(&active);
        }
        for sequence in self.sequences.extract_if(.., |sequence| sequence.is_finished()) {
            self.stats.tokens += sequence.steps.len() as u64;
            self.stats.help_given += sequence.ledger.spent() as u64;
            self.finished.push((sequence.prompt_index, sequence.into_trajectory()));
        }
    }
}
