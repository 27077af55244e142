//! How decoders use budgets that are numbers of tokens.

use std::error::Error;

use training_wheels::prelude::*;
use wheels_eval::{SystemOutput, TokenBudgetUse};

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
                if path.exists() {
                    progress.skip(self.settings.texts);
                }
                let output: SystemOutput = cache::read_or_make(&path, || {
                    let budget = HelpBudget::tokens(tokens);
                    progress.say(format!("{system} at {budget}"));
                    let prompts = self.prompts(&self.evaluation, system, budget)?;
                    Ok(self.output(&self.evaluation, system, &prompts, Tuning::new(None, None), progress)?)
                })?;
                let scores = self.evaluation.stats(&output).scores();
                rows.push(TokenBudgetUse::measure(&system.to_string(), tokens, &output, scores));
            }
        }
        Ok(rows)
    }
}
