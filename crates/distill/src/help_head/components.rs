//! The principal components of hidden states.

use burn::tensor::{Device, Tensor};
use rand::RngExt;
use wheels_student::{HELP_FACTS, Mlp};
use wheels_text::Seed;

use super::tensor;

/// The number of multiplications with the covariance. The components need not be exact, only of large variance.
const ITERATIONS: usize = 15;
/// The number of positions that are read together.
const CHUNK: usize = 8192;
/// A column depends on others if no more than this part of its length is left without them.
const DEPENDENT: f64 = 1e-5;
/// The smallest standard deviation of a component, as a part of the largest one. Components that vary less are left out.
const SMALLEST_COMPONENT: f64 = 1e-3;
/// The smallest standard deviation of a fact to divide by. Facts that vary less are rare, and one must not outweigh all else.
const SMALLEST_FACT: f64 = 0.05;

/// The first principal components of the hidden states in some inputs, and the facts behind them, each with mean 0 and
/// variance 1.
pub(super) struct Components {
    /// `[1, d_model + 4]`.
    mean: Tensor<2>,
    /// `[d_model + 4, components + 4]`.
    projection: Tensor<2>,
}

impl Components {
    /// The first `count` components of `inputs`, `[positions, width]`, found by orthogonal iteration.
    pub(super) fn of(inputs: &[f32], width: usize, count: usize, seed: Seed, device: &Device) -> Self {
        let states = width - HELP_FACTS;
        let count = count.clamp(1, states);
        let positions = (inputs.len() / width).max(1) as f64;
        let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, device);
        let mut mean = zeros([1, width]);
        for rows in inputs.chunks(CHUNK * width) {
            mean = mean + tensor(rows.to_vec(), width, device).sum_dim(0) / positions;
        }
        let mut covariance = zeros([width, width]);
        for rows in inputs.chunks(CHUNK * width) {
            let centred = tensor(rows.to_vec(), width, device) - mean.clone();
            covariance = covariance + centred.clone().transpose().matmul(centred) / positions;
        }
        let of_states = covariance.clone().slice([0..states, 0..states]);
        let mut rng = seed.stream("components").rng();
        let start = (0..states * count).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut basis = Columns::orthonormal(start, count);
        for _ in 0..ITERATIONS {
            basis = Columns::orthonormal(numbers(of_states.clone().matmul(basis.tensor(device))), count);
        }
        let image = numbers(of_states.matmul(basis.tensor(device)));
        let covariance = numbers(covariance);

        let mut projection = vec![0.0; width * (count + HELP_FACTS)];
        let deviations: Vec<f64> = (0..count)
            .map(|column| {
                // The variance along a component: its product with its image.
                let products = (0..states).map(|row| basis.rows[row * count + column] * image[row * count + column]);
                products.sum::<f64>().max(0.0).sqrt()
            })
            .collect();
        let largest = deviations.iter().copied().fold(0.0, f64::max);
        let kept = |(_, deviation): &(usize, f64)| *deviation > SMALLEST_COMPONENT * largest;
        for (column, deviation) in deviations.into_iter().enumerate().filter(kept) {
            for row in 0..states {
                projection[row * (count + HELP_FACTS) + column] = (basis.rows[row * count + column] / deviation) as f32;
            }
        }
        for fact in 0..HELP_FACTS {
            let at = states + fact;
            let deviation = covariance[at * width + at].max(0.0).sqrt().max(SMALLEST_FACT);
            projection[at * (count + HELP_FACTS) + count + fact] = (1.0 / deviation) as f32;
        }
        Self { mean, projection: tensor(projection, count + HELP_FACTS, device) }
    }

    /// The number of components and facts.
    pub(super) fn count(&self) -> usize {
        self.projection.dims()[1]
    }

    /// The components and facts of inputs, `[positions, width]` to `[positions, count]`.
    pub(super) fn project(&self, inputs: &[f32]) -> Vec<f32> {
        let [width, _] = self.projection.dims();
        let mut projected = Vec::with_capacity(inputs.len() / width * self.count());
        for rows in inputs.chunks(CHUNK * width) {
            let centred = tensor(rows.to_vec(), width, &self.mean.device()) - self.mean.clone();
            projected.extend(centred.matmul(self.projection.clone()).into_data().iter::<f32>());
        }
        projected
    }

    /// The head that reads inputs, from one that reads components.
    pub(super) fn into_first_layer(self, head: Mlp) -> Mlp {
        head.after_projection(self.mean, self.projection)
    }
}

/// Orthonormal columns, row after row.
struct Columns {
    rows: Vec<f64>,
    count: usize,
}

impl Columns {
    /// Gram-Schmidt, with a second pass for its rounding errors. A column that depends on the ones before becomes 0.
    fn orthonormal(mut rows: Vec<f64>, count: usize) -> Self {
        let norm = |rows: &[f64], column: usize| {
            rows.chunks_exact(count).map(|row| row[column] * row[column]).sum::<f64>().sqrt()
        };
        for column in 0..count {
            let before = norm(&rows, column);
            for _ in 0..2 {
                let mut products = vec![0.0; column];
                for row in rows.chunks_exact(count) {
                    for (product, other) in products.iter_mut().zip(row) {
                        *product += row[column] * other;
                    }
                }
                for row in rows.chunks_exact_mut(count) {
                    row[column] -= products.iter().zip(&*row).map(|(product, other)| product * other).sum::<f64>();
                }
            }
            let after = norm(&rows, column);
            let scale = if after > DEPENDENT * before { 1.0 / after } else { 0.0 };
            rows.chunks_exact_mut(count).for_each(|row| row[column] *= scale);
        }
        Self { rows, count }
    }

    fn tensor(&self, device: &Device) -> Tensor<2> {
        tensor(self.rows.iter().map(|&value| value as f32).collect(), self.count, device)
    }
}

fn numbers(values: Tensor<2>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions whose states vary most along (0.6, 0.8, 0), less along (-0.8, 0.6, 0) and hardly along the last axis.
    fn inputs() -> Vec<f32> {
        let mut rng = Seed(3).rng();
        let mut inputs = Vec::new();
        for _ in 0..4000 {
            let [a, b, c, d] = [3.0, 1.0, 0.01, 5.0].map(|scale| scale * rng.random_range(-1.0_f32..1.0));
            inputs.extend([7.0 + 0.6 * a - 0.8 * b, 0.8 * a + 0.6 * b - 2.0, c, d, d + 1.0, 0.5, -d]);
        }
        inputs
    }

    #[test]
    fn components_of_the_largest_variance_are_found_and_standardised() {
        let device = Device::flex();
        let components = Components::of(&inputs(), 7, 2, Seed(1), &device);
        assert_eq!(components.count(), 6);
        let weights: Vec<f32> = components.projection.clone().into_data().iter::<f32>().collect();
        let ratio = weights[0] / weights[6];
        assert!((ratio - 0.75).abs() < 0.02, "the first component is along (0.6, 0.8): {ratio}");
        let projected = components.project(&inputs());
        for column in 0..6 {
            let values = || projected.iter().skip(column).step_by(6).map(|&value| f64::from(value));
            let mean = values().sum::<f64>() / 4000.0;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / 4000.0;
            // The third fact is always 0.5.
            let expected = if column == 4 { 0.0 } else { 1.0 };
            assert!(mean.abs() < 1e-3 && (variance - expected).abs() < 0.02, "column {column}: {mean}, {variance}");
        }
    }

    #[test]
    fn more_components_than_states_are_not_asked_for_and_dependent_columns_become_zero() {
        let components = Components::of(&inputs(), 7, 100, Seed(1), &Device::flex());
        assert_eq!(components.count(), 7);
        let columns = Columns::orthonormal(vec![3.0, 6.0, 4.0, 8.0], 2);
        assert!((columns.rows[0] - 0.6).abs() < 1e-12 && columns.rows[1].abs() < 1e-9, "{:?}", columns.rows);
    }
}
