//! The settings of a decoder, which hold for every policy.

use wheels_text::GenerationConfig;

use crate::{BudgetUnit, Enforcement, HelpRule, NewText, Policy, Readout, RequestInfo, Sampler, Verification};

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
    /// A text with this index, which the policy writes with the settings of the decoder where it has none of its own.
    pub(crate) fn new(index: usize, text: &NewText<'a>, policy: &Policy<'_>, settings: &DecodeSettings) -> Self {
        let NewText { prompt, seed, sampler, max_new_tokens } = *text;
        let limit = max_new_tokens.unwrap_or_else(|| settings.generation.limit(prompt.expert.len()));
        Self {
            request: RequestInfo { prompt_index: index, prompt, seed },
            rule: policy.help_rule(prompt),
            verification: settings.verification.unwrap_or_else(|| policy.verification(prompt)),
            sampler: sampler.unwrap_or(policy.sampler),
            // The start token has a position too, and the last token of a text is not read.
            limit: policy.model.spec().max_positions.map_or(limit, |positions| limit.min(positions)),
        }
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
