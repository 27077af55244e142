//! Calibration: finding the thresholds at which a student uses given rates of help.

use burn::config::Config;

use crate::decode::{Calibration, CalibrationPoint, Confidence, Decoder, Enforcement, ThresholdSearch};
use crate::eval::Evaluation;
use crate::text::{Dataset, HelpBudget, Seed};
use crate::{Error, Pair};

/// The configuration of [`Pair::calibrate`].
#[derive(Config, Debug)]
pub struct CalibrationConfig {
    /// The measure of confidence that thresholds apply to.
    #[config(default = "Confidence::HelpLogOdds")]
    pub confidence: Confidence,
    /// The number of texts that are used, from the start of the dataset.
    #[config(default = 300)]
    pub texts: usize,
    /// The rates of help, as fractions of the tokens between 0 and 1, in rising order.
    #[config(default = "vec![0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7]")]
    pub rates: Vec<f64>,
    /// The search for a threshold ends when the help used differs from the rate by at most this fraction of the tokens.
    #[config(default = 0.005)]
    pub tolerance: f64,
    /// The largest number of thresholds to try for each rate.
    #[config(default = 14)]
    pub max_trials: usize,
    /// The number of texts that are decoded together.
    #[config(default = 32)]
    pub batch_size: usize,
}

/// One threshold that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationTrial {
    /// The index of the rate in [`CalibrationConfig::rates`].
    pub index: usize,
    /// Whether this is the last trial of its rate: the result.
    pub is_result: bool,
    /// The wanted rate of help, a fraction of the tokens.
    pub rate: f64,
    /// The threshold, in the unit of the measure of confidence.
    pub threshold: f64,
    /// The help used with this threshold, a fraction of the tokens.
    pub used: f64,
}

impl Pair {
    /// Finds the threshold at which the student uses each rate of help.
    ///
    /// The search is a bisection. Each trial decodes the texts with the teacher in the loop and without enforcing
    /// budgets. The budget of the prompts is the rate, in whole percent. `on_trial` is called after each trial, and at
    /// the end of each search with its result.
    ///
    /// # Errors
    /// If there are no texts, the rates do not rise between 0 and 1, a prompt cannot be made or decoding fails.
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
        // Rates that are not valid are refused before any text is decoded.
        Calibration::new(
            config.confidence,
            config.rates.iter().map(|&rate| CalibrationPoint { rate, threshold: 0.0 }).collect(),
        )?;
        let evaluation = Evaluation::new(&dataset, &self.student.tokenizer, &self.student.template);
        let search = ThresholdSearch {
            tolerance: config.tolerance,
            max_trials: config.max_trials.max(1),
            ..ThresholdSearch::new(config.confidence, self.vocab_size())
        };
        let mut points = Vec::with_capacity(config.rates.len());
        for (index, &rate) in config.rates.iter().enumerate() {
            let budget = HelpBudget::percent((100.0 * rate).round().clamp(1.0, 100.0) as u8);
            let prompts = evaluation.prompts(budget)?;
            let found = search.find(rate, |threshold| {
                let decoder = self
                    .decoder_with(self.policy().with_help_rule(config.confidence.below(threshold)))
                    .with_enforcement(Enforcement::Off)
                    .with_batch_size(config.batch_size);
                let used = decoder.decode(&prompts, Seed(7))?.stats.help_rate();
                on_trial(&CalibrationTrial { index, is_result: false, rate, threshold, used });
                Ok::<_, Error>((used, ()))
            })?;
            let trial = CalibrationTrial { index, is_result: true, rate, threshold: found.threshold, used: found.rate };
            if (trial.used - rate).abs() > 0.03 {
                log::warn!(
                    "no threshold gives about {:.1}% help; the nearest that was found gives {:.1}% of the tokens",
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
