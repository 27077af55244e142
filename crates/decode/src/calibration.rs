//! Calibration: from a wanted help rate to a threshold on a student's confidence and a verification by the teacher.

use serde::{Deserialize, Serialize};

use crate::{Confidence, DecodeError, ForecastInput, HelpForecast, HelpRule, Verification};

/// Thresholds on a measure of confidence, each with a verification and the help rate that both gave on held-out texts.
///
/// ```
/// use wheels_decode::{Calibration, CalibrationPoint, Confidence, HelpRule};
///
/// let points = vec![CalibrationPoint::new(0.1, 0.3), CalibrationPoint::new(0.2, 0.5)];
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
    /// In rising order of their rates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forecasts: Vec<HelpForecast>,
}

/// One measurement of a calibration: when to ask and what to accept, with the help rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// The help rate with this threshold: helped tokens per token, between 0 and 1. It is measured with a teacher that
    /// answers.
    pub rate: f64,
    /// The threshold, in the unit of the measure.
    pub threshold: f64,
    /// What the teacher accepts of the student's tokens when it is called. Files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Verification::is_none")]
    pub verification: Verification,
}

impl CalibrationPoint {
    /// A point without verification.
    pub fn new(rate: f64, threshold: f64) -> Self {
        Self { rate, threshold, verification: Verification::default() }
    }
}

#[derive(Deserialize)]
struct Unchecked {
    #[serde(alias = "measure")]
    confidence: Confidence,
    points: Vec<CalibrationPoint>,
    /// Files of earlier versions have none.
    #[serde(default)]
    forecasts: Vec<HelpForecast>,
}

impl TryFrom<Unchecked> for Calibration {
    type Error = DecodeError;

    fn try_from(Unchecked { confidence, points, forecasts }: Unchecked) -> Result<Self, DecodeError> {
        Ok(Self::new(confidence, points)?.with_forecasts(forecasts))
    }
}

impl Calibration {
    /// A calibration from points whose rates rise.
    ///
    /// # Errors
    /// [`DecodeError::Calibration`] if there are no points, the rates do not rise strictly between 0 and 1, or a
    /// threshold is not finite. [`DecodeError::Tolerance`] if a tolerance is negative or NaN.
    pub fn new(confidence: Confidence, points: Vec<CalibrationPoint>) -> Result<Self, DecodeError> {
        let valid = |point: &CalibrationPoint| point.rate > 0.0 && point.rate < 1.0 && point.threshold.is_finite();
        let rising = points.is_sorted_by(|a, b| a.rate < b.rate);
        if points.is_empty() || !rising || !points.iter().all(valid) {
            return Err(DecodeError::Calibration);
        }
        for point in &points {
            point.verification.check()?;
        }
        Ok(Self { confidence, points, forecasts: Vec::new() })
    }

    /// The same calibration with forecasts of the help that a text will use, at some rates.
    #[must_use]
    pub fn with_forecasts(self, mut forecasts: Vec<HelpForecast>) -> Self {
        forecasts.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        Self { forecasts, ..self }
    }

    /// The points, in rising order of their rates.
    pub fn points(&self) -> &[CalibrationPoint] {
        &self.points
    }

    /// The forecasts, in rising order of their rates.
    pub fn forecasts(&self) -> &[HelpForecast] {
        &self.forecasts
    }

    /// The help rule whose help rate is about `rate`, with the verification for this rate
    /// ([`verification`](Self::verification)).
    ///
    /// Between two points with the same verification, the threshold is interpolated linearly. Between other points, it is
    /// that of the lower rate. Below the first and above the last point, it is the threshold of that point. The rule for
    /// 0 never asks, and the rule for 1 always asks.
    pub fn help_rule(&self, rate: f64) -> HelpRule {
        match rate {
            ..=0.0 => HelpRule::Never,
            1.0.. => HelpRule::Always,
            _ => self.confidence.below(self.point(rate).threshold),
        }
    }

    /// The verification for a help rate: that of the nearest point that does not exceed it, or of the first point. Rates
    /// of 0 and 1 need none.
    pub fn verification(&self, rate: f64) -> Verification {
        if rate > 0.0 && rate < 1.0 { self.point(rate).verification } else { Verification::default() }
    }

    /// The number of charges that are predicted for a text whose budget is a rate. Between two rates with forecasts, it is
    /// interpolated. Outside of them, it is proportional to the rate. None without forecasts.
    pub fn forecast(&self, rate: f64, text: ForecastInput) -> Option<f64> {
        let above = self.forecasts.partition_point(|forecast| forecast.rate < rate);
        let low = above.checked_sub(1).map(|below| &self.forecasts[below]);
        match (low, self.forecasts.get(above)) {
            (Some(low), Some(high)) => {
                let part = (rate - low.rate) / (high.rate - low.rate);
                Some(low.predict(text) * (1.0 - part) + high.predict(text) * part)
            }
            (None, Some(only)) | (Some(only), None) => Some(only.predict(text) * rate / only.rate),
            (None, None) => None,
        }
    }

    fn point(&self, rate: f64) -> CalibrationPoint {
        let above = self.points.partition_point(|point| point.rate < rate);
        match (above.checked_sub(1).map(|below| self.points[below]), self.points.get(above)) {
            (Some(low), Some(high)) if high.rate > rate && high.verification != low.verification => low,
            (Some(low), Some(high)) => {
                let part = (rate - low.rate) / (high.rate - low.rate);
                CalibrationPoint { threshold: low.threshold + (high.threshold - low.threshold) * part, ..*high }
            }
            (None, Some(only)) => *only,
            (low, None) => low.expect("there is a point"),
        }
    }
}

/// Finds the threshold that gives a wanted help rate.
///
/// The search looks near its start first, in steps that double until they have passed the wanted rate. Then it
/// interpolates between the nearest rates on both sides (regula falsi), or halves the interval if the rate jumps in it.
///
/// Help changes the rest of the text, and so the rate of asking. The rate of a threshold must therefore be measured by
/// decoding with the teacher, once for each threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdSearch {
    /// The end of the search interval at which the help rate is lowest.
    pub lowest_rate: f64,
    /// The end of the search interval at which the help rate is highest.
    pub highest_rate: f64,
    /// The first threshold to try.
    pub start: f64,
    /// The first step from the start.
    pub step: f64,
    /// The search ends when the help rate differs from the wanted one by no more than this.
    pub tolerance: f64,
    /// The largest number of thresholds to try.
    pub max_trials: usize,
}

/// Each interpolation leaves out at least this part of the interval, even if one of its ends has almost the wanted rate.
const MIN_PART: f64 = 0.2;

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
        let (lowest_rate, highest_rate, start, step) = match confidence {
            Confidence::MaxProb | Confidence::Margin => (0.0, 1.0, 0.5, 0.25),
            Confidence::Entropy => {
                let largest = (vocab_size as f64).ln();
                (largest, 0.0, largest / 2.0, largest / 4.0)
            }
            // A student asks at log-odds of 0 as it was trained.
            Confidence::HelpLogOdds => (16.0, -16.0, 0.0, 0.25),
        };
        Self { lowest_rate, highest_rate, start, step, tolerance: 0.003, max_trials: 14 }
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
        // The nearest thresholds whose rates are too low and too high, with these rates.
        let [mut low, mut high]: [Option<(f64, f64)>; 2] = [None, None];
        let (mut threshold, mut step) = (self.start, self.step);
        let mut best: Option<FoundThreshold<T>> = None;
        for _ in 0..self.max_trials {
            let (found, output) = try_threshold(threshold)?;
            if best.as_ref().is_none_or(|best| (found - rate).abs() <= (best.rate - rate).abs()) {
                best = Some(FoundThreshold { threshold, rate: found, output });
            }
            if (found - rate).abs() <= self.tolerance {
                break;
            }
            let replaced = if found > rate { &mut high } else { &mut low };
            let is_jump = replaced.is_some_and(|(_, before)| before == found);
            *replaced = Some((threshold, found));
            let next = match (low, high) {
                // Between two thresholds, the rate jumps.
                (Some((low, _)), Some((high, _))) if is_jump => f64::midpoint(low, high),
                (Some((low, low_rate)), Some((high, high_rate))) => {
                    let part = ((rate - low_rate) / (high_rate - low_rate)).clamp(MIN_PART, 1.0 - MIN_PART);
                    low + (high - low) * part
                }
                _ => {
                    let end = if found > rate { self.lowest_rate } else { self.highest_rate };
                    let towards_end = step.min((end - threshold).abs()).copysign(end - threshold);
                    step *= 2.0;
                    threshold + towards_end
                }
            };
            if next == threshold {
                break;
            }
            threshold = next;
        }
        Ok(best.expect("there was a trial"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(points: &[(f64, f64)]) -> Vec<CalibrationPoint> {
        points.iter().map(|&(rate, threshold)| CalibrationPoint::new(rate, threshold)).collect()
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
    fn thresholds_of_different_verifications_are_not_mixed() {
        let [plain, lenient] = [(0.1, 0.3), (0.2, 0.5)].map(|(rate, threshold)| CalibrationPoint::new(rate, threshold));
        let strict = CalibrationPoint { rate: 0.3, threshold: 0.4, verification: Verification::regret(1.0) };
        let calibration = Calibration::new(Confidence::MaxProb, vec![plain, lenient, strict]).expect("rising");
        let at = |rate| (calibration.help_rule(rate), calibration.verification(rate));
        assert_eq!(at(0.29), (Confidence::MaxProb.below(0.5), Verification::default()));
        assert_eq!(at(0.3), (Confidence::MaxProb.below(0.4), Verification::regret(1.0)));
        assert_eq!(at(0.9), at(0.3));
        assert_eq!(at(1.0), (HelpRule::Always, Verification::default()));
        let json = serde_json::to_string(&calibration).expect("numbers");
        assert_eq!(serde_json::from_str::<Calibration>(&json).expect("a calibration"), calibration, "{json}");
    }

    #[test]
    fn forecasts_between_rates_are_interpolated_and_kept_in_json() {
        let texts: Vec<_> = (1..60).map(|prompt_tokens| ForecastInput { prompt_tokens, value: 0.0 }).collect();
        let fit = |rate: f64| {
            let used: Vec<f64> = texts.iter().map(|text| rate * text.prompt_tokens as f64).collect();
            HelpForecast::fit(rate, &texts, &used).expect("enough texts")
        };
        let calibration = Calibration::new(Confidence::MaxProb, points(&[(0.1, 0.3), (0.3, 0.5)])).expect("rising");
        assert_eq!(calibration.forecast(0.2, texts[30]), None);
        let calibration = calibration.with_forecasts(vec![fit(0.3), fit(0.1)]);
        for rate in [0.05, 0.1, 0.2, 0.3, 0.6] {
            let found = calibration.forecast(rate, texts[30]).expect("forecasts");
            assert!((found - 31.0 * rate).abs() < 0.1, "{rate}: {found}");
        }
        assert_eq!(calibration.forecast(0.0, texts[30]), Some(0.0));
        let json = serde_json::to_string(&calibration).expect("numbers");
        assert_eq!(serde_json::from_str::<Calibration>(&json).expect("a calibration"), calibration, "{json}");
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
    fn a_search_finds_thresholds_far_from_its_start_and_ends_where_there_are_none() {
        let search = ThresholdSearch::new(Confidence::HelpLogOdds, 10);
        for wanted in [-9.0, -0.1, 0.1, 13.0] {
            let found = search.find(0.3, |threshold| Ok::<_, DecodeError>((0.3 - 0.01 * (threshold - wanted), ())));
            let found = found.expect("nothing fails");
            assert!((found.threshold - wanted).abs() <= 0.3, "{wanted}: {found:?}");
        }
        let mut trials = 0;
        let always = search.find(0.3, |_| {
            trials += 1;
            Ok::<_, DecodeError>((0.9, ()))
        });
        assert_eq!((always.expect("nothing fails").threshold, trials), (16.0, 8));
    }

    #[test]
    fn a_search_ends_near_the_rate_or_with_its_best_trial() {
        let mut tried = Vec::new();
        let search =
            ThresholdSearch { tolerance: 0.02, max_trials: 9, ..ThresholdSearch::new(Confidence::MaxProb, 10) };
        let search = ThresholdSearch { lowest_rate: 1.0, highest_rate: 0.0, ..search };
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
