//! The settings of a decoder, which hold for every policy.

use wheels_lm::ModelSpec;
use wheels_text::GenerationConfig;

use crate::{BudgetUnit, Enforcement, HelpRule, Readout, RequestInfo, Verification};

/// Texts that are to be written, with their help rules.
pub(crate) type Texts<'a> = [(RequestInfo<'a>, HelpRule)];

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
    pub(crate) verification: Verification,
    pub(crate) readout: Readout,
}

impl DecodeSettings {
    /// The largest number of tokens in the text for a prompt, which never exceeds the positions of the model that writes
    /// it.
    pub(crate) fn limit(&self, request: &RequestInfo<'_>, writer: &ModelSpec) -> usize {
        let limit = self.generation.limit(request.prompt.expert.len());
        // The start token has a position too, and the last token of a text is not read.
        writer.max_positions.map_or(limit, |positions| limit.min(positions))
    }
}
