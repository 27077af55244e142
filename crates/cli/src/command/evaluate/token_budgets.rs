//! How decoders use budgets that are numbers of tokens.

use std::error::Error;

use training_wheels::eval::{SystemOutput, TokenBudgetUse};
use training_wheels::prelude::*;

use super::cache;
use super::progress::Progress;
use super::suite::Suite;
use super::systems::{System, Tuning};

/// The decoders that are measured.
pub(crate) const DECODERS: [System; 3] = [System::Calibrated, System::Uncalibrated, System::Enforced];

impl Suite<'_> {
    /// Measures the decoders under budgets of these numbers of tokens. Outputs in the folder are not decoded again.
    pub(crate) fn token_budgets(
        &self,
        budgets: &[u32],
        progress: &Progress,
    ) -> Result<Vec<TokenBudgetUse>, Box<dyn Error>> {
        let mut rows = Vec::with_capacity(DECODERS.len() * budgets.len());
        for system in DECODERS {
            for &tokens in budgets {
                let path = self.folder.join(format!("{system}-{tokens}-tokens.json"));
                let output = match cache::read::<SystemOutput>(&path)? {
                    Some(output) => {
                        progress.skip(self.settings.texts);
                        output
                    }
                    None => {
                        let budget = HelpBudget::tokens(tokens);
                        progress.say(format!("{system} at {budget}"));
                        let prompts = self.evaluation.prompts(budget)?;
                        let output =
                            self.output(&self.evaluation, system, &prompts, Tuning::new(None, None), progress)?;
                        cache::write(&path, &output)?;
                        output
                    }
                };
                let scores = self.evaluation.stats(&output).scores();
                rows.push(TokenBudgetUse::measure(&system.to_string(), tokens, &output, scores));
            }
        }
        Ok(rows)
    }
}
