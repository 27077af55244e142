//! How a distilled student uses its budgets.

use serde::{Deserialize, Serialize};
use wheels_decode::Decoder;
use wheels_eval::Evaluation;
use wheels_eval::statistics::{pearson, spearman};
use wheels_text::{Dataset, HelpBudget, Prompt, Seed};

use crate::{Error, Pair};

/// How a student uses one budget that is not enforced, on the validation texts that it was calibrated on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// The budget, percent of the tokens.
    pub budget: u8,
    /// The price of help, nats. None if the run found no prices.
    pub price: Option<f64>,
    /// The help used with calibrated thresholds, percent of the tokens.
    pub used: f64,
    /// The help used without calibration, percent of the tokens.
    pub used_uncalibrated: f64,
    /// chrF against the references, with calibrated thresholds.
    pub chrf: f64,
    /// The mean absolute error of the number of calls that are predicted for a text with enforced budgets
    /// ([`Pair::forecast`]).
    pub forecast_error: f64,
    /// Pearson's correlation of the predicted and the used calls, over texts.
    pub forecast_correlation: f64,
    /// Spearman's correlation of the log-odds of asking and the divergence from the teacher, over tokens.
    pub ask_correlation: f64,
}

impl BudgetReport {
    /// The number of parts of a measurement.
    pub(crate) const PARTS: usize = 4;

    /// Measures how the student of a calibrated pair uses one budget. `uncalibrated` is the same pair without thresholds.
    /// `on_part` is called after each of the [`PARTS`](Self::PARTS).
    ///
    /// # Errors
    /// If a text cannot be used or decoding fails.
    pub(crate) fn measure(
        pair: &Pair,
        uncalibrated: &Pair,
        texts: &Dataset,
        percent: u8,
        on_part: &mut dyn FnMut(),
    ) -> Result<Self, Error> {
        let budget = HelpBudget::percent(percent);
        let evaluation = Evaluation::new(texts, &pair.student.tokenizer, &pair.student.template);
        let prompts: Vec<Prompt> = evaluation.prompts(budget)?;
        let as_trained = uncalibrated.unenforced().decode(&prompts, Seed(0))?.stats.help_rate();
        on_part();
        let decoded = pair.unenforced().decode(&prompts, Seed(0))?;
        let output = evaluation.output(decoded)?;
        on_part();
        let enforced = pair.decoder().decode(&prompts, Seed(0))?;
        let used: Vec<f64> = enforced.trajectories.iter().map(|text| f64::from(text.cost())).collect();
        let forecast = pair.forecast(&prompts).unwrap_or_else(|| vec![0.0; used.len()]);
        let errors: f64 = used.iter().zip(&forecast).map(|(used, forecast)| (used - forecast).abs()).sum();
        on_part();
        let samples = pair.ask_samples(texts, budget)?;
        on_part();
        let log_odds: Vec<f64> = samples.iter().flatten().map(|sample| sample.log_odds).collect();
        let divergences: Vec<f64> = samples.iter().flatten().map(|sample| sample.divergence).collect();
        let prices = pair.student.prices.as_ref();
        Ok(Self {
            budget: percent,
            price: prices.map(|prices| prices.price(f64::from(percent) / 100.0)),
            used: 100.0 * output.stats.help_rate(),
            used_uncalibrated: 100.0 * as_trained,
            chrf: evaluation.stats(&output).scores().chrf,
            forecast_error: errors / used.len() as f64,
            forecast_correlation: pearson(&used, &forecast),
            ask_correlation: spearman(&log_odds, &divergences),
        })
    }
}
