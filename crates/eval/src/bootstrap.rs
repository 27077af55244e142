//! Whether the difference between two systems on one test set is more than luck.

use std::iter::Sum;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The difference between two systems, and how far resampling moves it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Score of the first system minus that of the second, on the test set as it is.
    pub difference: f64,
    /// The lower end of the 95% interval of the difference.
    pub low: f64,
    /// The upper end of the 95% interval of the difference.
    pub high: f64,
    /// The fraction of resamples, 0 to 1, in which the first system scored higher.
    pub wins: f64,
}

impl Comparison {
    /// Whether the 95% interval leaves out zero.
    pub fn is_significant(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// A figure, and how far resampling moves it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure on the test set as it is.
    pub value: f64,
    /// The lower end of its 95% interval.
    pub low: f64,
    /// The upper end of its 95% interval.
    pub high: f64,
}

/// The 95% interval of a figure made of the scores of several systems, by paired bootstrap resampling.
///
/// Each system has one statistic for each sentence, in the same order. Each of the `resamples` draws as many sentences
/// as there are, with replacement, the same for all systems, and `figure` sees the scores of their sums; the interval
/// runs between the 2.5% and 97.5% quantiles (the nearest ranks inwards). One `seed` gives one result.
///
/// # Panics
/// If the systems differ in length or are empty, or `resamples` is 0.
pub fn bootstrap<S: Copy + Sum>(
    systems: &[&[S]],
    score: impl Fn(&S) -> f64,
    figure: impl Fn(&[f64]) -> f64,
    resamples: usize,
    seed: u64,
) -> Interval {
    let (value, figures) = resampled(systems, score, figure, resamples, seed);
    let [low, high] = ends(&figures);
    Interval { value, low, high }
}

/// Compares two systems by paired bootstrap resampling (Koehn, 2004, <https://aclanthology.org/W04-3250>).
///
/// `first` and `second` hold one statistic for each sentence, in the same order. Each of the `resamples` draws as many
/// sentences as there are, with replacement, the same for both systems, and scores both sums; the interval runs between the
/// 2.5% and 97.5% quantiles of the differences (the nearest ranks inwards). One `seed` gives one result.
///
/// ```
/// use wheels_eval::{metric::ChrfStats, paired_bootstrap};
///
/// let references = ["un editor di testo", "una libreria per il C", "un gioco di carte", "un client di posta"];
/// let with_help = references.map(|reference| ChrfStats::of(reference, reference));
/// let alone = references.map(|reference| ChrfStats::of("un gioco", reference));
/// let comparison = paired_bootstrap(&with_help, &alone, ChrfStats::score, 1000, 7);
/// assert!(comparison.is_significant() && comparison.wins == 1.0);
/// ```
///
/// # Panics
/// If the two slices differ in length or are empty, or `resamples` is 0.
pub fn paired_bootstrap<S: Copy + Sum>(
    first: &[S],
    second: &[S],
    score: impl Fn(&S) -> f64,
    resamples: usize,
    seed: u64,
) -> Comparison {
    let (difference, differences) = resampled(&[first, second], score, |scores| scores[0] - scores[1], resamples, seed);
    let [low, high] = ends(&differences);
    let wins = differences.iter().filter(|&&difference| difference > 0.0).count() as f64 / resamples as f64;
    Comparison { difference, low, high, wins }
}

/// A figure on the test set as it is, and on its resamples, rising.
fn resampled<S: Copy + Sum>(
    systems: &[&[S]],
    score: impl Fn(&S) -> f64,
    figure: impl Fn(&[f64]) -> f64,
    resamples: usize,
    seed: u64,
) -> (f64, Vec<f64>) {
    let count = systems.first().map_or(0, |system| system.len());
    for system in systems {
        assert_eq!(
            count,
            system.len(),
            "the systems have {count} and {} sentences; pair them sentence by sentence",
            system.len()
        );
    }
    assert!(count > 0, "there are no sentences to draw from");
    assert!(resamples > 0, "at least one resample is needed");

    let of = |rows: &[usize]| {
        let scores: Vec<f64> = systems.iter().map(|system| score(&rows.iter().map(|&row| system[row]).sum())).collect();
        figure(&scores)
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut figures: Vec<f64> =
        (0..resamples).map(|_| of(&(0..count).map(|_| rng.random_range(0..count)).collect::<Vec<_>>())).collect();
    figures.sort_by(f64::total_cmp);
    (of(&(0..count).collect::<Vec<_>>()), figures)
}

/// The 2.5% and 97.5% quantiles of rising figures.
fn ends(figures: &[f64]) -> [f64; 2] {
    let tail = figures.len() / 40;
    [figures[tail], figures[figures.len() - 1 - tail]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statistic whose score is the mean.
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
    fn the_interval_is_that_of_the_normal_approximation() {
        // Differences of 0 and 1 in equal numbers: their mean over 400 has standard error 0.5 / 20.
        let second = means((0..400).map(f64::from));
        let first = means((0..400).map(|i| f64::from(i) + f64::from(i % 2)));
        let comparison = compare(&first, &second, 1);
        assert!((comparison.difference - 0.5).abs() < 1e-9);
        assert!((comparison.low - (0.5 - 1.96 * 0.025)).abs() < 0.008, "{comparison:?}");
        assert!((comparison.high - (0.5 + 1.96 * 0.025)).abs() < 0.008, "{comparison:?}");
    }

    #[test]
    fn a_figure_of_three_systems_has_an_interval() {
        let [low, middle, high] = [0.0, 3.0, 10.0].map(|base| means((0..400).map(|i| base + f64::from(i % 2))));
        let closed = |scores: &[f64]| (scores[1] - scores[0]) / (scores[2] - scores[0]);
        let interval = bootstrap(&[&low, &middle, &high], |mean| mean.0 / mean.1, closed, 200, 3);
        for end in [interval.value, interval.low, interval.high] {
            assert!((end - 0.3).abs() < 1e-9, "pairs move together: {interval:?}");
        }
    }

    #[test]
    fn a_system_is_no_better_than_itself() {
        let system = means((0..50).map(f64::from));
        let comparison = compare(&system, &system, 3);
        assert_eq!(comparison, Comparison { difference: 0.0, low: 0.0, high: 0.0, wins: 0.0 });
        assert!(!comparison.is_significant());
    }

    #[test]
    fn one_seed_gives_one_result_and_another_seed_another() {
        let (first, second) = (means((0..50).map(f64::from)), means((0..50).rev().map(f64::from)));
        assert_eq!(compare(&first, &second, 5), compare(&first, &second, 5));
        assert_ne!(compare(&first, &second, 5), compare(&first, &second, 6));
    }

    #[test]
    #[should_panic(expected = "2 and 3 sentences")]
    fn unpaired_systems_panic_with_both_lengths() {
        compare(&means([1.0, 2.0]), &means([1.0, 2.0, 3.0]), 1);
    }
}
