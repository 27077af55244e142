//! Calibration: from a wanted help rate to a threshold on a student's confidence.

use serde::{Deserialize, Serialize};

use crate::{Confidence, DecodeError, HelpRule};

/// Thresholds on a measure of confidence, each with the help rate that it gave on held-out texts.
///
/// ```
/// use wheels_decode::{Calibration, CalibrationPoint, Confidence, HelpRule};
///
/// let points = vec![
///     CalibrationPoint { rate: 0.1, threshold: 0.3 },
///     CalibrationPoint { rate: 0.2, threshold: 0.5 },
/// ];
/// let calibration = Calibration::new(Confidence::MaxProb, points)?;
/// assert_eq!(calibration.help_rule(0.2), Confidence::MaxProb.below(0.5));
/// assert_eq!(calibration.help_rule(0.0), HelpRule::Never);
/// # Ok::<(), wheels_decode::DecodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Calibration {
    /// The measure of confidence.
    pub confidence: Confidence,
    points: Vec<CalibrationPoint>,
}

/// One measurement of a calibration: a threshold and its help rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// The help rate with this threshold: helped tokens per token, between 0 and 1. It is measured with a teacher that
    /// answers.
    pub rate: f64,
    /// The threshold, in the unit of the measure.
    pub threshold: f64,
}

#[derive(Deserialize)]
struct Unchecked {
    #[serde(alias = "measure")]
    confidence: Confidence,
    points: Vec<CalibrationPoint>,
}

impl TryFrom<Unchecked> for Calibration {
    type Error = DecodeError;

    fn try_from(Unchecked { confidence, points }: Unchecked) -> Result<Self, DecodeError> {
        Self::new(confidence, points)
    }
}

impl Calibration {
    /// A calibration from points whose rates rise.
    ///
    /// # Errors
    /// [`DecodeError::Calibration`] if there are no points, the rates do not rise strictly between 0 and 1, or a
    /// threshold is not finite.
    pub fn new(confidence: Confidence, points: Vec<CalibrationPoint>) -> Result<Self, DecodeError> {
        let valid = |point: &CalibrationPoint| point.rate > 0.0 && point.rate < 1.0 && point.threshold.is_finite();
        let rising = points.is_sorted_by(|a, b| a.rate < b.rate);
        if points.is_empty() || !rising || !points.iter().all(valid) {
            return Err(DecodeError::Calibration);
        }
        Ok(Self { confidence, points })
    }

    /// The points, in rising order of their rates.
    pub fn points(&self) -> &[CalibrationPoint] {
        &self.points
    }

    /// The help rule whose help rate is about `rate`. Between two points the threshold is interpolated linearly. Below
    /// the first and above the last point it is the threshold of that point. The rule for 0 never asks, and the rule
    /// for 1 always asks.
    pub fn help_rule(&self, rate: f64) -> HelpRule {
        if rate <= 0.0 {
            return HelpRule::Never;
        }
        if rate >= 1.0 {
            return HelpRule::Always;
        }
        let above = self.points.partition_point(|point| point.rate < rate);
        let threshold = match (above.checked_sub(1).map(|below| self.points[below]), self.points.get(above)) {
            (Some(low), Some(high)) => {
                low.threshold + (high.threshold - low.threshold) * (rate - low.rate) / (high.rate - low.rate)
            }
            (None, Some(only)) => only.threshold,
            (low, None) => low.expect("there is a point").threshold,
        };
        self.confidence.below(threshold)
    }
}

/// Finds by bisection the threshold that gives a wanted help rate.
///
/// Help changes the rest of the text, and so the rate of asking. The rate of a threshold must therefore be measured by
/// decoding with the teacher, once for each threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdSearch {
    /// The end of the search interval at which the help rate is lowest.
    pub lowest_rate: f64,
    /// The end of the search interval at which the help rate is highest.
    pub highest_rate: f64,
    /// The search ends when the help rate differs from the wanted one by no more than this.
    pub tolerance: f64,
    /// The largest number of thresholds to try.
    pub max_trials: usize,
}

/// What a [`ThresholdSearch`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundThreshold<T> {
    /// The threshold whose help rate was nearest to the wanted one.
    pub threshold: f64,
    /// The help rate with this threshold.
    pub rate: f64,
    /// The other output of `try_threshold` for this threshold.
    pub output: T,
}

impl ThresholdSearch {
    /// A search for thresholds on `confidence`, for a vocabulary of `vocab_size` tokens. Its tolerance is 0.003, and it
    /// tries at most 14 thresholds.
    pub fn new(confidence: Confidence, vocab_size: usize) -> Self {
        let (lowest_rate, highest_rate) = match confidence {
            Confidence::MaxProb | Confidence::Margin => (0.0, 1.0),
            Confidence::Entropy => ((vocab_size as f64).ln(), 0.0),
            Confidence::HelpLogOdds => (16.0, -16.0),
        };
        Self { lowest_rate, highest_rate, tolerance: 0.003, max_trials: 14 }
    }

    /// Finds the threshold for a help rate. `try_threshold` returns the help rate with a threshold, and any other
    /// output that the caller wants to keep from the best trial.
    ///
    /// # Errors
    /// Any error of `try_threshold`.
    ///
    /// # Panics
    /// If `max_trials` is 0.
    pub fn find<T, E>(
        self,
        rate: f64,
        mut try_threshold: impl FnMut(f64) -> Result<(f64, T), E>,
    ) -> Result<FoundThreshold<T>, E> {
        assert!(self.max_trials > 0, "a search needs at least one trial");
        let (mut low, mut high) = (self.lowest_rate, self.highest_rate);
        let mut best: Option<FoundThreshold<T>> = None;
        for _ in 0..self.max_trials {
            let threshold = f64::midpoint(low, high);
            let (found, output) = try_threshold(threshold)?;
            if best.as_ref().is_none_or(|best| (found - rate).abs() <= (best.rate - rate).abs()) {
                best = Some(FoundThreshold { threshold, rate: found, output });
            }
            if (found - rate).abs() <= self.tolerance {
                break;
            }
            if found > rate { high = threshold } else { low = threshold }
        }
        Ok(best.expect("there was a trial"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(points: &[(f64, f64)]) -> Vec<CalibrationPoint> {
        points.iter().map(|&(rate, threshold)| CalibrationPoint { rate, threshold }).collect()
    }

    #[test]
    fn thresholds_between_points_are_interpolated() {
        let calibration = Calibration::new(Confidence::MaxProb, points(&[(0.1, 0.3), (0.2, 0.5)])).expect("rising");
        let threshold = |rate| match calibration.help_rule(rate) {
            HelpRule::Threshold { threshold, .. } => threshold,
            rule => panic!("{rule:?} has no threshold"),
        };
        assert!((threshold(0.15) - 0.4).abs() < 1e-12);
        assert_eq!([0.05, 0.1, 0.2, 0.9].map(threshold), [0.3, 0.3, 0.5, 0.5]);
        assert_eq!(calibration.help_rule(0.0), HelpRule::Never);
        assert_eq!(calibration.help_rule(1.0), HelpRule::Always);
    }

    #[test]
    fn invalid_points_are_rejected_also_from_json() {
        for bad in [&[][..], &[(0.2, 0.5), (0.1, 0.3)], &[(0.0, 0.5)], &[(0.5, f64::NAN)]] {
            assert!(matches!(Calibration::new(Confidence::Entropy, points(bad)), Err(DecodeError::Calibration)));
        }
        assert!(serde_json::from_str::<Calibration>(r#"{"confidence":"entropy","points":[]}"#).is_err());
        let json = r#"{"confidence":"max_prob","points":[{"rate":0.1,"threshold":0.3}]}"#;
        let read: Calibration = serde_json::from_str(json).expect("a calibration");
        assert_eq!(serde_json::to_string(&read).expect("numbers"), json);
        let old = json.replace("confidence", "measure");
        assert_eq!(serde_json::from_str::<Calibration>(&old).expect("a file of an earlier version"), read);
    }

    #[test]
    fn a_search_ends_near_the_rate_or_with_its_best_trial() {
        let mut tried = Vec::new();
        let search = ThresholdSearch { lowest_rate: 1.0, highest_rate: 0.0, tolerance: 0.02, max_trials: 9 };
        let found = search
            .find(0.3, |threshold: f64| {
                tried.push(threshold);
                Ok::<_, DecodeError>((1.0 - threshold, tried.len()))
            })
            .expect("nothing fails");
        assert!((found.threshold - 0.7).abs() <= 0.02, "{found:?}");
        assert_eq!(found.output, tried.len());
        assert!(found.output < 9);
        let step = |threshold: f64| Ok::<_, DecodeError>((if threshold > 0.6 { 0.25 } else { 0.9 }, ()));
        let found = search.find(0.3, step).expect("nothing fails");
        assert_eq!(found.rate, 0.25, "if no threshold gives the rate, the nearer one of the two rates wins");
    }
}
