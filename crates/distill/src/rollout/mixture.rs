//! The sources of the texts that a run trains on, and their budgets.

use burn::config::Config;
use rand::{Rng, RngExt};
use wheels_text::HelpBudget;

use crate::DistillError;
use crate::config::check_fraction;

/// The weights of the sources of training texts. Only the ratios of the first three fields count, so they need not add
/// up to 1.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct Mixture {
    /// The weight of references, which are off-policy. The reference stands in for the teacher: each of its tokens is
    /// marked as helped with a probability equal to the budget.
    #[config(default = 0.5)]
    pub reference_fraction: f64,
    /// The weight of the teacher's greedy texts, which are off-policy. Their tokens are marked as helped in the same
    /// way (sequence-level distillation; Kim and Rush 2016, arXiv 1606.07947, section 3.2).
    #[config(default = 0.0)]
    pub teacher_fraction: f64,
    /// The weight of the student's texts, which are on-policy. The teacher answers when the student asks.
    #[config(default = 0.5)]
    pub on_policy_fraction: f64,
    /// The fraction of the student's texts that it writes greedily, as it will be deployed. It samples the others.
    #[config(default = 0.5)]
    pub greedy_fraction: f64,
}

/// The source of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextSource {
    Reference,
    Teacher,
    StudentGreedy,
    StudentSampled,
}

impl Mixture {
    /// Only references, as with a cache of the teacher.
    #[must_use]
    pub fn references() -> Self {
        Self::new().with_reference_fraction(1.0).with_teacher_fraction(0.0).with_on_policy_fraction(0.0)
    }

    /// [`DistillError::Fraction`] unless the weights are at least 0 and not all 0, and the greedy fraction is from 0 to 1.
    pub(crate) fn check(&self) -> Result<(), DistillError> {
        let weights = [
            ("Mixture::reference_fraction", self.reference_fraction),
            ("Mixture::teacher_fraction", self.teacher_fraction),
            ("Mixture::on_policy_fraction", self.on_policy_fraction),
        ];
        for (setting, value) in weights {
            if !(value.is_finite() && value >= 0.0) {
                return Err(DistillError::Fraction { setting, value, range: "0 or larger" });
            }
        }
        if self.total() == 0.0 {
            let [(setting, value), ..] = weights;
            let range = "larger than 0, or one of the other weights of the mixture must be";
            return Err(DistillError::Fraction { setting, value, range });
        }
        check_fraction("Mixture::greedy_fraction", self.greedy_fraction)
    }

    /// The sum of the weights of the sources.
    pub(crate) fn total(&self) -> f64 {
        self.reference_fraction + self.teacher_fraction + self.on_policy_fraction
    }

    /// Whether the student or the teacher writes some of the texts.
    pub(crate) fn writes_texts(&self) -> bool {
        self.teacher_fraction > 0.0 || self.on_policy_fraction > 0.0
    }

    /// The source of the next text.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> TextSource {
        let at = rng.random::<f64>() * self.total();
        let greedy = rng.random::<f64>() < self.greedy_fraction;
        if at < self.reference_fraction {
            TextSource::Reference
        } else if at < self.reference_fraction + self.teacher_fraction {
            TextSource::Teacher
        } else if greedy {
            TextSource::StudentGreedy
        } else {
            TextSource::StudentSampled
        }
    }
}

/// Draws a budget for a text of about `length` tokens. With probability `token_fraction` it is a number of tokens.
/// Otherwise it is a percentage that is not held out. Small budgets are more frequent.
pub(crate) fn draw_budget(rng: &mut impl Rng, length: usize, token_fraction: f64, held_out: &[u8]) -> HelpBudget {
    // Squaring a uniform number puts half of all budgets below a quarter of the text.
    if rng.random::<f64>() < token_fraction {
        return HelpBudget::tokens(((length + 1) as f64 * rng.random::<f64>().powi(2)) as u32);
    }
    loop {
        let percent = (101.0 * rng.random::<f64>().powi(2)) as u8;
        if !held_out.contains(&percent) {
            return HelpBudget::percent(percent);
        }
    }
}

#[cfg(test)]
mod tests {
    use wheels_text::Seed;

    use super::*;

    #[test]
    fn every_budget_is_drawn_except_those_held_out() {
        let mut rng = Seed(3).rng();
        let mut tokens = [0; 11];
        let mut seen = [false; 101];
        for _ in 0..40_000 {
            match draw_budget(&mut rng, 10, 1.0 / 7.0, &[8, 45]) {
                HelpBudget::Percent(percent) => seen[usize::from(percent)] = true,
                HelpBudget::Tokens(number) => tokens[number as usize] += 1,
            }
        }
        let missing: Vec<usize> = (0..=100).filter(|&percent| !seen[percent]).collect();
        assert_eq!(missing, [8, 45]);
        assert!(tokens.iter().all(|&drawn| drawn > 0) && tokens[0] > 2 * tokens[5], "{tokens:?}");
    }

    #[test]
    fn each_source_is_drawn_at_its_fraction() {
        let mixture =
            Mixture { reference_fraction: 1.0, teacher_fraction: 1.0, on_policy_fraction: 2.0, greedy_fraction: 0.5 };
        let mut rng = Seed(3).rng();
        let drawn: Vec<TextSource> = (0..8_000).map(|_| mixture.draw(&mut rng)).collect();
        for source in
            [TextSource::Reference, TextSource::Teacher, TextSource::StudentGreedy, TextSource::StudentSampled]
        {
            let count = drawn.iter().filter(|&&one| one == source).count();
            // Five standard deviations of a quarter are 194.
            assert!(count.abs_diff(2_000) < 194, "{source:?}: {count}");
        }
    }
}
