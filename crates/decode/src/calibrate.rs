//! From a wanted help rate to a threshold.

use wheels_text::{Prompt, Seed};

use crate::{Asking, BudgetedDecoder, DecodeError, Hindsight, Law, Measure, Observer, Step};

/// A search for the threshold at which something happens at a wanted rate, by halving an interval.
///
/// Once help is given, texts are others, and so is the rate of asking: where a threshold must hold in use, each guess is
/// tried with the teacher in the loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bisection {
    /// The threshold of the lowest rate.
    pub seldom: f64,
    /// The threshold of the highest rate.
    pub often: f64,
    /// How near to the wanted rate is near enough.
    pub tolerance: f64,
    /// The most guesses.
    pub guesses: usize,
}

impl Bisection {
    /// The last threshold that was tried, and what `try_threshold` found at it beside its rate.
    ///
    /// # Errors
    /// As `try_threshold`.
    ///
    /// # Panics
    /// If there is not one guess.
    pub fn search<T, E>(
        self,
        rate: f64,
        mut try_threshold: impl FnMut(f64) -> Result<(f64, T), E>,
    ) -> Result<(f64, T), E> {
        assert!(self.guesses > 0, "a search takes a guess");
        let Self { mut seldom, mut often, tolerance, mut guesses } = self;
        loop {
            let threshold = f64::midpoint(seldom, often);
            let (found, outcome) = try_threshold(threshold)?;
            guesses -= 1;
            if guesses == 0 || (found - rate).abs() <= tolerance {
                return Ok((threshold, outcome));
            }
            if found > rate { often = threshold } else { seldom = threshold }
        }
    }
}

impl Measure {
    /// A search for thresholds of this measure, for laws over so many words: within 0.3% of the tokens, in 14 guesses.
    pub fn bisection(self, words: usize) -> Bisection {
        let (seldom, often) = match self {
            Self::MaxProb | Self::Margin => (0.0, 1.0),
            Self::Entropy => ((words as f64).ln(), 0.0),
            Self::HelpLogOdds => (16.0, -16.0),
        };
        Bisection { seldom, often, tolerance: 0.003, guesses: 14 }
    }
}

/// The threshold that a fraction `rate` of the scores exceeds.
///
/// Rounded to whole scores; where scores are equal, fewer exceed it, never more.
///
/// # Panics
/// If there are no scores, or the rate does not lie between 0 and 1.
pub fn threshold_for_rate(scores: &[f64], rate: f64) -> f64 {
    assert!(!scores.is_empty(), "a threshold needs scores to be chosen by");
    assert!((0.0..=1.0).contains(&rate), "a rate of {rate} does not lie between 0 and 1");
    let mut falling = scores.to_vec();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    let above = (rate * scores.len() as f64).round() as usize;
    match falling.get(above) {
        Some(&threshold) => threshold,
        None => falling[above - 1].next_down(),
    }
}

impl BudgetedDecoder<'_> {
    /// The confidence rule that would ask at a fraction `rate` of the steps of these texts, written without help.
    ///
    /// Once help is given the texts are others, and so is the rate: a student asks less often after a good word than
    /// after a bad one of its own. Measure the rate in use on the same texts, and where it matters, correct `rate`.
    ///
    /// # Errors
    /// As for [`Decoder::decode`](crate::Decoder::decode).
    ///
    /// # Panics
    /// If there are no prompts, or the rate does not lie between 0 and 1.
    pub fn calibrate(
        &self,
        measure: Measure,
        rate: f64,
        prompts: &[Prompt],
        seed: Seed,
    ) -> Result<Asking, DecodeError> {
        let mut needs = Needs { measure, scores: Vec::new() };
        let alone = self.policy.asking(Asking::Never);
        self.run(&alone, Hindsight::default(), prompts, seed, &mut needs)?;
        Ok(measure.beyond(threshold_for_rate(&needs.scores, rate)))
    }
}

/// Keeps the need of help at every step.
struct Needs {
    measure: Measure,
    scores: Vec<f64>,
}

impl Observer for Needs {
    fn law(&mut self, _: usize, law: &Law<'_>) {
        self.scores.push(self.measure.need(law));
    }

    fn step(&mut self, _: usize, _: &Step) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_of_the_scores_lies_above() {
        let scores = [0.4, 0.1, 0.3, 0.2];
        assert_eq!(threshold_for_rate(&scores, 0.0), 0.4);
        assert_eq!(threshold_for_rate(&scores, 0.5), 0.2);
        assert!(threshold_for_rate(&scores, 1.0) < 0.1);
    }

    #[test]
    fn a_search_ends_near_the_rate_or_after_its_guesses() {
        let mut tried = Vec::new();
        let search = Bisection { seldom: 1.0, often: 0.0, tolerance: 0.02, guesses: 9 };
        let (threshold, guess) = search
            .search(0.3, |threshold: f64| {
                tried.push(threshold);
                Ok::<_, DecodeError>((1.0 - threshold, tried.len()))
            })
            .expect("nothing fails");
        assert!((threshold - 0.7).abs() <= 0.02, "{threshold}");
        assert_eq!(guess, tried.len());
        assert!(guess < 9);
        let hopeless = search.search(0.3, |_| Ok::<_, DecodeError>((1.0, ()))).expect("nothing fails");
        assert!(hopeless.0 > 0.99);
    }

    proptest! {
        #[test]
        fn as_many_scores_exceed_the_threshold_as_the_rate_says(
            scores in prop::collection::vec(-5_i32..5, 1..40),
            rate in 0.0_f64..=1.0,
        ) {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let threshold = threshold_for_rate(&scores, rate);
            let wanted = (rate * scores.len() as f64).round() as usize;
            let above = scores.iter().filter(|&&score| score > threshold).count();
            let equal = scores.iter().filter(|&&score| score == threshold).count();
            prop_assert!(above <= wanted && wanted <= above + equal);
        }
    }
}
