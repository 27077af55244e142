//! Calibrating a pair: thresholds that bring the help used to each rate.

use burn::config::Config;

use crate::decode::{Calibration, CalibrationPoint, Confidence, Decoder, Enforcement, ThresholdSearch};
use crate::eval::Evaluation;
use crate::text::{Dataset, HelpBudget, Seed};
use crate::{Error, Pair};

/// How a [`Pair`] is calibrated.
#[derive(Config, Debug)]
pub struct CalibrationConfig {
    /// The measure of confidence that thresholds apply to.
    #[config(default = "Confidence::HelpLogOdds")]
    pub confidence: Confidence,
    /// The number of texts, from the start of the data set.
    #[config(default = 200)]
    pub texts: usize,
    /// The rates of help, rising fractions of the tokens between 0 and 1.
    #[config(default = "vec![0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7]")]
    pub rates: Vec<f64>,
    /// The search for a threshold ends at a rate that differs from the wanted one by no more than this fraction.
    #[config(default = 0.005)]
    pub tolerance: f64,
    /// The largest number of thresholds that are tried for each rate.
    #[config(default = 14)]
    pub max_trials: usize,
    /// Texts that are decoded together.
    #[config(default = 32)]
    pub batch_size: usize,
}

/// What the search for one rate found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationTrial {
    /// The wanted rate, a fraction of the tokens.
    pub rate: f64,
    /// The threshold, in the unit of the measure.
    pub threshold: f64,
    /// The rate of help that was used with this threshold.
    pub used: f64,
}

impl Pair {
    /// Finds thresholds at which the student uses each rate of help, by bisection with the teacher in the loop and without
    /// enforcing budgets. Prompts state the budget that is calibrated. `on_trial` is told of each rate when it is done.
    ///
    /// # Errors
    /// If there are no texts, a prompt cannot be made or decoding fails.
    pub fn calibrate(
        &self,
        dataset: &Dataset,
        config: &CalibrationConfig,
        on_trial: &mut dyn FnMut(&CalibrationTrial),
    ) -> Result<Calibration, Error> {
        let dataset = dataset.clone().take(config.texts);
        if dataset.is_empty() {
            return Err(Error::TooFewTexts { what: "calibration", needed: 1, found: 0 });
        }
        let evaluation = Evaluation::new(&dataset, &self.student.tokenizer, &self.student.template);
        let search = ThresholdSearch {
            tolerance: config.tolerance,
            max_trials: config.max_trials.max(1),
            ..ThresholdSearch::new(config.confidence, self.vocab_size())
        };
        let mut points = Vec::with_capacity(config.rates.len());
        for &rate in &config.rates {
            let budget = HelpBudget::percent((100.0 * rate).round().clamp(1.0, 100.0) as u8);
            let prompts = evaluation.prompts(budget)?;
            let found = search.find(rate, |threshold| {
                let decoder = self
                    .decoder_with(self.policy().with_help_rule(config.confidence.below(threshold)))
                    .with_enforcement(Enforcement::Off)
                    .with_batch_size(config.batch_size);
                let stats = decoder.decode(&prompts, Seed(7))?.stats;
                Ok::<_, Error>((stats.help_rate(), ()))
            })?;
            let trial = CalibrationTrial { rate, threshold: found.threshold, used: found.rate };
            if (trial.used - rate).abs() > 0.03 {
                log::warn!(
                    "no threshold brings the help used near {:.0}% of the tokens: the nearest is {:.1}%",
                    100.0 * rate,
                    100.0 * trial.used
                );
            }
            on_trial(&trial);
            points.push(CalibrationPoint { rate, threshold: found.threshold });
        }
        Ok(Calibration::new(config.confidence, points)?)
    }
}
