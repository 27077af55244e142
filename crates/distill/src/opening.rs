//! What practice begins with: the first prices, and the row of the help token.

use std::sync::Arc;

use burn::tensor::Tensor;
use wheels_lm::LanguageModel;

use crate::objective::{all_action, laws::Laws};
use crate::replay::Lesson;
use crate::{DistillError, Learner, Practice, Prices, Scored, Workers};

/// The least reward that a distance counts, nats: that of the objectives.
const REWARD_FLOOR: f64 = -10.0;

/// The weight of the row's own square, beside one for each token.
const RIDGE: f64 = 1.0;

/// What a student says at the tokens of some lessons.
struct Tokens {
    /// Last hidden states, one after another.
    hidden: Vec<f64>,
    width: usize,
    /// Log-sum-exp of the words' logits.
    normalisers: Vec<f64>,
    /// Distances to the teacher, nats.
    distances: Vec<f64>,
    /// Budgets of the texts, as fractions.
    budgets: Vec<f64>,
}

impl<T: LanguageModel + Sync> Practice<'_, T> {
    /// The vector w for which the help token's logit `h . w` makes the log-odds of asking come nearest to `D - price`, in
    /// least squares over `count` new lessons. It becomes the token's row
    /// ([`Pretrained::with_output_row`](wheels_lm::Pretrained::with_output_row)) before training.
    ///
    /// The row that supervised training leaves never asks. Gradients that drag it to where it belongs pull on the whole
    /// model, and from a warm start that costs its words.
    ///
    /// # Errors
    /// As for taking lessons.
    pub fn help_row<M: Learner + Sync>(
        &mut self,
        model: &M,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<f32>, DistillError> {
        let lessons = self.write(model, count, workers)?;
        let tokens = self.tokens(model, &lessons);
        let prices = Prices::from_distances(self.constraint(), tokens.distances.clone());
        let logits = (0..tokens.distances.len())
            .map(|at| tokens.normalisers[at] + tokens.distances[at] - prices.price(tokens.budgets[at]));
        Ok(least_squares(&tokens.hidden, &logits.collect::<Vec<_>>(), tokens.width))
    }

    /// The first prices: quantiles of the distances at the tokens of the first lessons.
    pub(crate) fn first_prices<M: Learner>(&self, model: &M, lessons: &[Arc<Lesson>]) -> Prices {
        Prices::from_distances(self.constraint(), self.tokens(model, lessons).distances)
    }

    fn tokens<M: Learner>(&self, model: &M, lessons: &[Arc<Lesson>]) -> Tokens {
        let (hidden, normalisers, distances, budgets) = (vec![], vec![], vec![], vec![]);
        let mut all = Tokens { hidden, width: 0, normalisers, distances, budgets };
        let free = Prices::from_distances(self.constraint(), vec![]);
        for lesson in lessons {
            let scored = Scored::new(model, &self.batch(lesson, &free));
            let laws = Laws::new(&scored);
            let [_, time, width] = scored.hidden.dims();
            let read = |values: Tensor<2>| values.into_data().iter::<f64>().collect::<Vec<_>>();
            let (hidden, normalisers) = (read(scored.hidden.clone().flatten(0, 1)), read(laws.normaliser.clone()));
            let distances = read(all_action::words(&laws, REWARD_FLOOR).1);
            all.width = width;
            for (index, row) in lesson.rows.iter().enumerate() {
                let at = index * time..index * time + row.target.len();
                all.hidden.extend(&hidden[at.start * width..at.end * width]);
                all.normalisers.extend(&normalisers[at.clone()]);
                all.distances.extend(&distances[at.clone()]);
                all.budgets.extend(std::iter::repeat_n(row.share, at.len()));
            }
        }
        all
    }
}

/// The w that minimises `sum_i (x_i . w - y_i)^2 + RIDGE |w|^2`, by conjugate gradients on the normal equations.
fn least_squares(rows: &[f64], targets: &[f64], width: usize) -> Vec<f32> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let gather = |weights: &mut dyn FnMut(usize, &[f64]) -> f64| {
        let mut sum = vec![0.0; width];
        for (index, row) in rows.chunks_exact(width).enumerate() {
            let weight = weights(index, row);
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
        }
        sum
    };
    let mut solution = vec![0.0; width];
    let mut residual = gather(&mut |index, _| targets[index]);
    let mut direction = residual.clone();
    let enough = 1e-16 * dot(&residual, &residual);
    for _ in 0..4 * width {
        let square = dot(&residual, &residual);
        if square <= enough {
            break;
        }
        let mut image = gather(&mut |_, row| dot(row, &direction));
        image.iter_mut().zip(&direction).for_each(|(image, d)| *image += RIDGE * d);
        let step = square / dot(&direction, &image);
        solution.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
        residual.iter_mut().zip(&image).for_each(|(r, image)| *r -= step * image);
        let turn = dot(&residual, &residual) / square;
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + turn * *d);
    }
    solution.into_iter().map(|x| x as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_finds_the_plane_that_made_the_targets() {
        let rows: Vec<f64> = (0..600).map(|i| f64::from((i * 37 + i * i % 11) % 23) - 11.0).collect();
        let plane = [0.5, -2.0, 1.25];
        let targets: Vec<f64> =
            rows.chunks_exact(3).map(|row| row.iter().zip(plane).map(|(x, w)| x * w).sum()).collect();
        let found = least_squares(&rows, &targets, 3);
        for (found, made) in found.iter().zip(plane) {
            assert!((f64::from(*found) - made).abs() < 1e-2, "{found} is not {made}");
        }
        assert_eq!(least_squares(&[], &[], 2), [0.0, 0.0]);
    }
}
