//! Confidence intervals by bootstrap resampling, for one system and for the difference between two systems.

use std::iter::Sum;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};

/// The difference between the scores of two systems, with its 95% bootstrap interval.
///
/// JSON has no NaN and no infinity: both are written as `null`, and `null` is read as NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The score of the first system minus that of the second, on the original test set.
    #[serde(deserialize_with = "null_as_nan")]
    pub difference: f64,
    /// The lower end of the 95% interval of the difference.
    #[serde(deserialize_with = "null_as_nan")]
    pub low: f64,
    /// The upper end of the 95% interval of the difference.
    #[serde(deserialize_with = "null_as_nan")]
    pub high: f64,
    /// The fraction of resamples, 0 to 1, in which the first system scored higher.
    pub wins: f64,
}

impl Comparison {
    /// Whether the 95% interval excludes zero.
    pub fn is_significant(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// A value with its 95% bootstrap interval.
///
/// JSON has no NaN and no infinity: both are written as `null`, and `null` is read as NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The value on the original test set.
    #[serde(deserialize_with = "null_as_nan")]
    pub value: f64,
    /// The lower end of its 95% interval.
    #[serde(deserialize_with = "null_as_nan")]
    pub low: f64,
    /// The upper end of its 95% interval.
    #[serde(deserialize_with = "null_as_nan")]
    pub high: f64,
}

/// The 95% interval of a score, or of a number computed from several scores, by paired bootstrap resampling.
///
/// Each system has one statistic per sentence, and all systems have the same sentences in the same order. Each resample
/// draws as many sentences as there are, with replacement, and uses the same draw for all systems.
/// `score` turns the sum of a system's statistics into its score, and `quantity` turns the scores of all systems into
/// one number. The interval lies between the 2.5% and the 97.5% quantile of these numbers: with 1000 resamples, between
/// the 26th smallest and the 26th largest. The same `seed` always gives the same interval.
///
/// # Panics
/// If there are no sentences, if the systems have different numbers of sentences, or if `resamples` is 0.
pub fn bootstrap<S: Copy + Sum>(
    systems: &[&[S]],
    score: impl Fn(&S) -> f64,
    quantity: impl Fn(&[f64]) -> f64,
    resamples: usize,
    seed: u64,
) -> Interval {
    let (value, resampled) = resample(systems, score, quantity, resamples, seed);
    let [low, high] = central_95_percent(&resampled);
    Interval { value, low, high }
}

/// Compares two systems by paired bootstrap resampling (Koehn, 2004, <https://aclanthology.org/W04-3250>).
///
/// `first` and `second` hold one statistic per sentence, in the same order. Each resample draws as many sentences as
/// there are, with replacement, and scores both systems on the same draw. The interval lies between the 2.5% and the
/// 97.5% quantile of the differences: with 1000 resamples, between the 26th smallest and the 26th largest.
/// The same `seed` always gives the same result.
///
/// ```
/// use wheels_eval::{metric::ChrfStats, statistics::paired_bootstrap};
///
/// let references = ["un editor di testo", "una libreria per il C", "un gioco di carte", "un client di posta"];
/// let with_help = references.map(|reference| ChrfStats::of(reference, reference));
/// let alone = references.map(|reference| ChrfStats::of("un gioco", reference));
/// let comparison = paired_bootstrap(&with_help, &alone, ChrfStats::score, 1000, 7);
/// assert!(comparison.is_significant() && comparison.wins == 1.0);
/// ```
///
/// # Panics
/// If there are no sentences, if the systems have different numbers of sentences, or if `resamples` is 0.
pub fn paired_bootstrap<S: Copy + Sum>(
    first: &[S],
    second: &[S],
    score: impl Fn(&S) -> f64,
    resamples: usize,
    seed: u64,
) -> Comparison {
    let (difference, resampled) = resample(&[first, second], score, |scores| scores[0] - scores[1], resamples, seed);
    let [low, high] = central_95_percent(&resampled);
    let wins = resampled.iter().filter(|&&difference| difference > 0.0).count() as f64 / resamples as f64;
    Comparison { difference, low, high, wins }
}

/// A quantity on the original test set, and its values on the resamples in ascending order.
fn resample<S: Copy + Sum>(
    systems: &[&[S]],
    score: impl Fn(&S) -> f64,
    quantity: impl Fn(&[f64]) -> f64,
    resamples: usize,
    seed: u64,
) -> (f64, Vec<f64>) {
    let sentences = systems.first().map_or(0, |system| system.len());
    for system in systems {
        let other = system.len();
        assert_eq!(
            sentences, other,
            "the systems have {sentences} and {other} sentences; each needs one statistic for every sentence"
        );
    }
    assert!(sentences > 0, "there are no sentences to draw from");
    assert!(resamples > 0, "at least one resample is needed");

    let on_sentences = |drawn: &[usize]| {
        let mut scores = Vec::with_capacity(systems.len());
        for system in systems {
            scores.push(score(&drawn.iter().map(|&sentence| system[sentence]).sum()));
        }
        quantity(&scores)
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut resampled = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        let drawn: Vec<usize> = (0..sentences).map(|_| rng.random_range(0..sentences)).collect();
        resampled.push(on_sentences(&drawn));
    }
    resampled.sort_by(f64::total_cmp);
    let original: Vec<usize> = (0..sentences).collect();
    (on_sentences(&original), resampled)
}

/// The 2.5% and the 97.5% quantile of values in ascending order.
fn central_95_percent(ascending: &[f64]) -> [f64; 2] {
    let tail = ascending.len() / 40;
    [ascending[tail], ascending[ascending.len() - 1 - tail]]
}

/// Reads a number, and `null` as NaN.
fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum and a count, whose score is the mean.
    #[derive(Clone, Copy)]
    struct Mean(f64, f64);

    impl Sum for Mean {
        fn sum<I: Iterator<Item = Self>>(means: I) -> Self {
            means.fold(Self(0.0, 0.0), |a, b| Self(a.0 + b.0, a.1 + b.1))
        }
    }

    fn means(values: impl IntoIterator<Item = f64>) -> Vec<Mean> {
        values.into_iter().map(|value| Mean(value, 1.0)).collect()
    }

    fn compare(first: &[Mean], second: &[Mean], seed: u64) -> Comparison {
        paired_bootstrap(first, second, |mean| mean.0 / mean.1, 2000, seed)
    }

    #[test]
    fn the_interval_agrees_with_the_normal_approximation() {
        // Half of the 400 differences are 0 and half are 1, so the standard error of their mean is 0.5 / 20.
        let second = means((0..400).map(f64::from));
        let first = means((0..400).map(|i| f64::from(i) + f64::from(i % 2)));
        let comparison = compare(&first, &second, 1);
        assert!((comparison.difference - 0.5).abs() < 1e-9);
        assert!((comparison.low - (0.5 - 1.96 * 0.025)).abs() < 0.008, "{comparison:?}");
        assert!((comparison.high - (0.5 + 1.96 * 0.025)).abs() < 0.008, "{comparison:?}");
    }

    #[test]
    fn a_quantity_of_three_systems_has_an_interval() {
        let [low, middle, high] = [0.0, 3.0, 10.0].map(|base| means((0..400).map(|i| base + f64::from(i % 2))));
        let fraction = |scores: &[f64]| (scores[1] - scores[0]) / (scores[2] - scores[0]);
        let interval = bootstrap(&[&low, &middle, &high], |mean| mean.0 / mean.1, fraction, 200, 3);
        for end in [interval.value, interval.low, interval.high] {
            assert!((end - 0.3).abs() < 1e-9, "all systems share each draw: {interval:?}");
        }
    }

    #[test]
    fn a_system_does_not_differ_from_itself() {
        let system = means((0..50).map(f64::from));
        let comparison = compare(&system, &system, 3);
        assert_eq!(comparison, Comparison { difference: 0.0, low: 0.0, high: 0.0, wins: 0.0 });
        assert!(!comparison.is_significant());
    }

    #[test]
    fn the_seed_decides_the_result() {
        let (first, second) = (means((0..50).map(f64::from)), means((0..50).rev().map(f64::from)));
        assert_eq!(compare(&first, &second, 5), compare(&first, &second, 5));
        assert_ne!(compare(&first, &second, 5), compare(&first, &second, 6));
    }

    #[test]
    #[should_panic(expected = "2 and 3 sentences")]
    fn systems_of_different_lengths_panic_with_both_lengths() {
        compare(&means([1.0, 2.0]), &means([1.0, 2.0, 3.0]), 1);
    }

    #[test]
    fn nan_survives_json() {
        let interval = Interval { value: f64::NAN, low: 0.25, high: f64::INFINITY };
        let json = serde_json::to_string(&interval).expect("plain data");
        assert_eq!(json, r#"{"value":null,"low":0.25,"high":null}"#);
        let read: Interval = serde_json::from_str(&json).expect("null is NaN");
        assert!(read.value.is_nan() && read.low == 0.25 && read.high.is_nan());
    }
}
