//! Which texts are read and answered together.

use training_wheels::prelude::*;

use super::at_least_1;

/// When texts wait for each other, and when new ones begin. No text depends on it.
#[derive(clap::Args)]
#[command(next_help_heading = "Batches")]
pub(crate) struct BatchingFlags {
    /// Texts that want help wait until this many of them want it, or until none can go on. The teacher then answers them in
    /// one pass.
    #[arg(long, value_name = "ROWS", default_value_t = 1, value_parser = at_least_1())]
    pub(crate) help_batch: usize,
    /// Begin new texts as soon as this many texts of the batch are finished. If absent, a batch is finished first.
    #[arg(long, value_name = "ROWS", value_parser = at_least_1())]
    pub(crate) refill: Option<usize>,
}

impl BatchingFlags {
    /// The decoder with these settings.
    pub(crate) fn set<'a>(&self, decoder: BudgetedDecoder<'a>) -> BudgetedDecoder<'a> {
        let decoder = decoder.with_help_batch(self.help_batch);
        match self.refill {
            Some(rows) => decoder.with_refill(rows),
            None => decoder,
        }
    }
}
