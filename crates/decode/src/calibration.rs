//! Confidence thresholds for every rate of help.

use serde::{Deserialize, Serialize};

use crate::{Asking, Measure};

/// Thresholds of one measure, found on held-out texts, that make a student ask at given rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Calibration {
    /// What is measured.
    pub measure: Measure,
    points: Vec<Point>,
}

/// The threshold that makes a student ask at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Help asked for each token, 0 to 1, measured with help given.
    pub rate: f64,
    /// The threshold, in the measure's own unit.
    pub threshold: f64,
}

/// A calibration whose points are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a calibration needs finite points whose rates rise strictly between 0 and 1")]
pub struct BadCalibration;

#[derive(Deserialize)]
struct Unchecked {
    measure: Measure,
    points: Vec<Point>,
}

impl TryFrom<Unchecked> for Calibration {
    type Error = BadCalibration;

    fn try_from(Unchecked { measure, points }: Unchecked) -> Result<Self, BadCalibration> {
        Self::new(measure, points)
    }
}

impl Calibration {
    /// A calibration by points in rising order of their rates.
    ///
    /// # Errors
    /// [`BadCalibration`] where there are none, or one is not a number between 0 and 1 above the one before.
    pub fn new(measure: Measure, points: Vec<Point>) -> Result<Self, BadCalibration> {
        let inside = |point: &Point| point.rate > 0.0 && point.rate < 1.0 && point.threshold.is_finite();
        let rising = points.is_sorted_by(|a, b| a.rate < b.rate);
        if points.is_empty() || !rising || !points.iter().all(inside) {
            Err(BadCalibration)
        } else {
            Ok(Self { measure, points })
        }
    }

    /// The points.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The rule that asks at about `rate`, by a straight line between the points around it; past the outermost points,
    /// theirs. At 0 it never asks, at 1 always.
    pub fn asking(&self, rate: f64) -> Asking {
        if rate <= 0.0 {
            return Asking::Never;
        }
        if rate >= 1.0 {
            return Asking::Always;
        }
        let above = self.points.partition_point(|point| point.rate < rate);
        let threshold = match (above.checked_sub(1).map(|below| self.points[below]), self.points.get(above)) {
            (Some(low), Some(high)) => {
                low.threshold + (high.threshold - low.threshold) * (rate - low.rate) / (high.rate - low.rate)
            }
            (None, Some(only)) => only.threshold,
            (low, None) => low.expect("there is a point").threshold,
        };
        Asking::Confidence { measure: self.measure, threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(points: &[(f64, f64)]) -> Vec<Point> {
        points.iter().map(|&(rate, threshold)| Point { rate, threshold }).collect()
    }

    #[test]
    fn rates_between_points_lie_on_a_line() {
        let calibration = Calibration::new(Measure::MaxProb, points(&[(0.1, 0.3), (0.2, 0.5)])).expect("rising");
        let threshold = |rate| match calibration.asking(rate) {
            Asking::Confidence { threshold, .. } => threshold,
            rule => panic!("{rule:?} has no threshold"),
        };
        assert!((threshold(0.15) - 0.4).abs() < 1e-12);
        assert_eq!([0.05, 0.1, 0.2, 0.9].map(threshold), [0.3, 0.3, 0.5, 0.5]);
        assert_eq!(calibration.asking(0.0), Asking::Never);
        assert_eq!(calibration.asking(1.0), Asking::Always);
    }

    #[test]
    fn points_that_do_not_rise_are_refused_also_from_json() {
        for bad in [&[][..], &[(0.2, 0.5), (0.1, 0.3)], &[(0.0, 0.5)], &[(0.5, f64::NAN)]] {
            assert_eq!(Calibration::new(Measure::Entropy, points(bad)), Err(BadCalibration));
        }
        assert!(serde_json::from_str::<Calibration>(r#"{"measure":"entropy","points":[]}"#).is_err());
        let json = r#"{"measure":"max_prob","points":[{"rate":0.1,"threshold":0.3}]}"#;
        let read: Calibration = serde_json::from_str(json).expect("a calibration");
        assert_eq!(serde_json::to_string(&read).expect("numbers"), json);
    }
}
