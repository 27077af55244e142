//! The settings of a decoder, which hold for every policy.

use wheels_text::GenerationConfig;

use crate::{Enforcement, Readout, Verification};

/// The settings of a [`BudgetedDecoder`](crate::BudgetedDecoder).
#[derive(Clone, Debug)]
pub(crate) struct DecodeSettings {
    pub(crate) generation: GenerationConfig,
    /// The token with which every text begins.
    pub(crate) forced_bos: Option<u32>,
    pub(crate) batch_size: usize,
    pub(crate) enforcement: Enforcement,
    pub(crate) verification: Verification,
    pub(crate) readout: Readout,
}
