//! The settings of a decoder, which hold for every policy.

use wheels_lm::ModelSpec;
use wheels_text::GenerationConfig;

use crate::{BudgetUnit, Enforcement, HelpRule, Policy, Readout, RequestInfo, Sampler, Verification};

/// A text that is to be written, with what holds for it alone.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) request: RequestInfo<'a>,
    pub(crate) rule: HelpRule,
    pub(crate) verification: Verification,
    pub(crate) sampler: Sampler,
    /// The largest number of tokens.
    pub(crate) limit: usize,
}

impl<'a> Text<'a> {
    /// A text that the policy writes with the settings of the decoder.
    pub(crate) fn new(request: RequestInfo<'a>, policy: &Policy<'_>, settings: &DecodeSettings) -> Self {
        let RequestInfo { prompt, .. } = request;
        Self {
            request,
            rule: policy.help_rule(prompt),
            verification: settings.verification.unwrap_or_else(|| policy.verification(prompt)),
            sampler: policy.sampler_of(request.prompt_index),
            limit: settings.generation.limit(prompt.expert.len()),
        }
        .within(policy.model.spec())
    }

    /// The same text, if a limit is given, with this limit in place of that of the settings.
    pub(crate) fn with_limit(self, limit: Option<usize>, writer: &ModelSpec) -> Self {
        Self { limit: limit.unwrap_or(self.limit), ..self }.within(writer)
    }

    /// The same text, which never exceeds the positions of the model that writes it.
    fn within(self, writer: &ModelSpec) -> Self {
        // The start token has a position too, and the last token of a text is not read.
        Self { limit: writer.max_positions.map_or(self.limit, |positions| self.limit.min(positions)), ..self }
    }
}

/// The settings of a [`BudgetedDecoder`](crate::BudgetedDecoder).
#[derive(Clone, Debug)]
pub(crate) struct DecodeSettings {
    pub(crate) generation: GenerationConfig,
    /// The token with which every text begins.
    pub(crate) forced_bos: Option<u32>,
    pub(crate) batch_size: usize,
    /// The number of rows that wait for the same expert before it is called, if others can go on.
    pub(crate) help_batch: usize,
    /// The number of free rows at which new texts take them. None if a batch takes no new texts.
    pub(crate) refill: Option<usize>,
    pub(crate) enforcement: Enforcement,
    pub(crate) budget_unit: BudgetUnit,
    /// The verification of all texts. None if the policy has one for each text.
    pub(crate) verification: Option<Verification>,
    pub(crate) readout: Readout,
}
