//! Whose texts are practised on, and under which budgets.

use burn::config::Config;
use rand::{Rng, RngExt};
use wheels_text::HelpBudget;

/// Whose texts are practised on, as shares.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct Mixture {
    /// References, off-policy. Flags of help are drawn at the budget's rate, and the reference stands for the teacher.
    #[config(default = 0.5)]
    pub demonstration: f64,
    /// The teacher's own likeliest texts, off-policy, with flags drawn likewise (sequence-level distillation; Kim and
    /// Rush 2016, arXiv 1606.07947, section 3.2).
    #[config(default = 0.0)]
    pub teacher: f64,
    /// The student's, on-policy, with help as it asks for it.
    #[config(default = 0.5)]
    pub student: f64,
    /// The share of the student's texts that are greedy, as deployed; the others are sampled.
    #[config(default = 0.5)]
    pub greedy: f64,
}

/// Who writes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    Demonstration,
    Teacher,
    Greedy,
    Sampled,
}

impl Mixture {
    /// Who writes the next text.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Author {
        let total = self.demonstration + self.teacher + self.student;
        let at = rng.random::<f64>() * total;
        let greedy = rng.random::<f64>() < self.greedy;
        if at < self.demonstration {
            Author::Demonstration
        } else if at < self.demonstration + self.teacher {
            Author::Teacher
        } else if greedy {
            Author::Greedy
        } else {
            Author::Sampled
        }
    }
}

/// A budget for a text of about `length` tokens; no percentage that is `held_out`.
pub(crate) fn draw_budget(rng: &mut impl Rng, length: usize, held_out: &[u8]) -> HelpBudget {
    if rng.random::<f64>() < 1.0 / 7.0 {
        return HelpBudget::tokens(rng.random_range(0..=length.div_ceil(2)) as u32);
    }
    loop {
        // Squared, so that half of all budgets lie below 25%.
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
    fn all_percentages_are_drawn_but_those_held_out() {
        let mut rng = Seed(3).rng();
        let mut seen = [false; 101];
        for _ in 0..40_000 {
            match draw_budget(&mut rng, 10, &[8, 45]) {
                HelpBudget::Percent(percent) => seen[usize::from(percent)] = true,
                HelpBudget::Tokens(tokens) => assert!(tokens <= 5),
            }
        }
        let missing: Vec<usize> = (0..=100).filter(|&percent| !seen[percent]).collect();
        assert_eq!(missing, [8, 45]);
    }

    #[test]
    fn texts_are_shared_out_as_the_mixture_says() {
        let mixture = Mixture::new().with_demonstration(1.0).with_teacher(1.0).with_student(2.0).with_greedy(0.5);
        let mut rng = Seed(3).rng();
        let drawn: Vec<Author> = (0..8_000).map(|_| mixture.draw(&mut rng)).collect();
        for author in [Author::Demonstration, Author::Teacher, Author::Greedy, Author::Sampled] {
            let count = drawn.iter().filter(|&&one| one == author).count();
            // Five standard deviations of a quarter are 194.
            assert!(count.abs_diff(2_000) < 194, "{author:?}: {count}");
        }
    }
}
