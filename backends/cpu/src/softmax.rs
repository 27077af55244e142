//! Distributions over a vocabulary on the CPU: everything that a loss needs of a row of logits, in one or two passes over
//! memory instead of one for each arithmetic operation.
//!
//! Each function but [`log_softmax`] returns None if burn must compute it: on another device, in another number format than
//! f32, with autodiff, or for tensors that are not contiguous.

use burn::tensor::{Tensor, TensorData};
use pulp::Arch;

use crate::exp::exp;
use crate::matrix::{Matrix, column, for_rows, sums, two_largest, without};

/// Whether [`row_facts`], [`log_softmax`], [`cross_entropy`] and [`Words`](crate::Words) compute with these logits. To ask
/// costs nothing on any device.
pub fn computes(logits: &Tensor<2>) -> bool {
    Matrix::new(logits).is_some()
}

/// What a row of logits says about its distribution, `[rows, 1]` each.
#[derive(Clone, Debug)]
pub struct RowFacts {
    /// The largest logit.
    pub best: Tensor<2>,
    /// The second largest logit.
    pub second: Tensor<2>,
    /// The log-sum-exp of the logits.
    pub normaliser: Tensor<2>,
    /// The entropy, nats.
    pub entropy: Tensor<2>,
}

/// The facts of each row of `logits`, without the column `skipped`.
///
/// # Shapes
/// `logits`: `[rows, columns]`.
pub fn row_facts(logits: &Tensor<2>, skipped: Option<usize>) -> Option<RowFacts> {
    let logits = Matrix::new(logits)?;
    let device = logits.device.clone();
    let [best, second, normaliser, entropy] = logits.columns(
        6.0,
        #[inline(always)]
        move |logits, row| {
            let parts = without(logits.row(row), skipped);
            let [best, second] = two_largest(parts);
            let [mass, moment] = sums(parts, parts, |logit, _| {
                let below = logit - best;
                let weight = exp(below);
                [weight, weight * below]
            });
            let log_mass = mass.ln();
            [best, second, best + log_mass, log_mass - moment / mass]
        },
    );
    let [best, second, normaliser, entropy] = [best, second, normaliser, entropy].map(|values| column(values, &device));
    Some(RowFacts { best, second, normaliser, entropy })
}

/// `log_softmax(logits / temperature)` over each row. The columns `closed` are lowered by 1e9 first. Logits that nobody else
/// holds are changed in place.
///
/// # Shapes
/// `logits` and the result: `[rows, columns]`.
///
/// # Panics
/// If burn must compute it ([`computes`]).
pub fn log_softmax(logits: Tensor<2>, closed: &[u32], temperature: f64) -> Tensor<2> {
    assert!(computes(&logits), "logits on the CPU, in f32 and without autodiff");
    let ([_, columns], device, scale) = (logits.dims(), logits.device(), 1.0 / temperature as f32);
    let closed: Vec<usize> = closed.iter().map(|&id| id as usize).filter(|&id| id < columns).collect();
    let mut data = logits.into_data();
    for_rows(data.as_mut_slice().expect("logits in f32"), columns, |_, row| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for &id in &closed {
                    row[id] -= 1e9;
                }
                let parts = [&*row, &[]];
                let [best, _] = two_largest(parts);
                let [mass] = sums(parts, parts, |logit, _| [exp((logit - best) * scale)]);
                let log_mass = mass.ln();
                for logit in row {
                    *logit = (*logit - best) * scale - log_mass;
                }
            },
        );
    });
    Tensor::from_data(data, &device)
}

/// Cross-entropy at each row.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// The log-probs of the targets, nats, `[rows, 1]`.
    pub log_likelihood: Tensor<2>,
    /// The means of the log-probs of all columns, nats, `[rows, 1]`.
    pub mean_log_prob: Tensor<2>,
    /// `weight (p - (1 - smoothing) onehot(target) - smoothing / columns)`, `[rows, columns]`.
    pub gradient: Tensor<2>,
}

/// Cross-entropy against one target per row, with label smoothing, and its gradient.
///
/// # Shapes
/// `logits`: `[rows, columns]`.
///
/// # Panics
/// If there is not one target and one weight per row, or a target is no column.
pub fn cross_entropy(logits: &Tensor<2>, targets: Vec<u32>, weights: Vec<f32>, smoothing: f64) -> Option<CrossEntropy> {
    let logits = Matrix::new(logits)?;
    let (dims, device) = (logits.dims, logits.device.clone());
    let goals = targets.clone();
    let [log_likelihood, mean_log_prob, normaliser] = logits.clone().columns(
        6.0,
        #[inline(always)]
        move |logits, row| {
            let parts = [logits.row(row), &[]];
            let [best, _] = two_largest(parts);
            let [mass, sum] = sums(parts, parts, |logit, _| [exp(logit - best), logit]);
            let normaliser = best + mass.ln();
            let target = logits.row(row)[goals[row] as usize];
            [target - normaliser, sum / logits.dims[1] as f32 - normaliser, normaliser]
        },
    );
    let even = smoothing as f32 / dims[1] as f32;
    let gradient = logits.parts(
        dims[1],
        5.0,
        #[inline(always)]
        move |logits, row, found| {
            let (weight, normaliser) = (weights[row], normaliser[row]);
            for (found, logit) in found.iter_mut().zip(logits.row(row)) {
                *found = (exp(logit - normaliser) - even) * weight;
            }
            found[targets[row] as usize] -= (1.0 - smoothing as f32) * weight;
        },
    );
    Some(CrossEntropy {
        log_likelihood: column(log_likelihood, &device),
        mean_log_prob: column(mean_log_prob, &device),
        gradient: Tensor::from_data(TensorData::new(gradient, dims), &device),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::random;
    use crate::words::{Coefficients, Words};

    const COLUMNS: usize = 53;
    const SKIPPED: usize = 40;

    fn normal(rows: usize) -> Tensor<2> {
        random([rows, COLUMNS], Distribution::Normal(0.0, 3.0), &Device::flex())
    }

    fn assert_close(found: Tensor<2>, expected: Tensor<2>) {
        let scale = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
        let difference = (found - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 2e-6 * scale, "{difference} of {scale}");
    }

    /// The words without the skipped column.
    fn words(logits: &Tensor<2>) -> Tensor<2> {
        let parts =
            vec![logits.clone().narrow(1, 0, SKIPPED), logits.clone().narrow(1, SKIPPED + 1, COLUMNS - SKIPPED - 1)];
        Tensor::cat(parts, 1)
    }

    #[test]
    fn facts_equal_their_formulas() {
        for rows in [1, 70] {
            let logits = normal(rows);
            for skipped in [None, Some(SKIPPED)] {
                let seen = if skipped.is_some() { words(&logits) } else { logits.clone() };
                let facts = row_facts(&logits, skipped).expect("tensors on the CPU");
                let log_probs = activation::log_softmax(seen.clone(), 1);
                let sorted = seen.clone().sort_descending(1);
                assert_close(facts.best.clone(), sorted.clone().narrow(1, 0, 1));
                assert_close(facts.second, sorted.narrow(1, 1, 1));
                assert_close(facts.best - facts.normaliser, log_probs.clone().max_dim(1));
                assert_close(facts.entropy, (log_probs.clone().exp() * log_probs).sum_dim(1).neg());
            }
        }
    }

    #[test]
    fn log_probs_equal_their_formula_under_a_temperature_and_with_closed_columns() {
        let logits = normal(9);
        let found = log_softmax(logits.clone(), &[2, SKIPPED as u32, 1000], 0.7);
        let lowered = |logits: Tensor<2>, id: usize| {
            logits.slice_assign([0..9, id..id + 1], Tensor::full([9, 1], -1e9, &Device::flex()))
        };
        let expected = activation::log_softmax(lowered(lowered(logits, 2), SKIPPED) / 0.7, 1);
        assert_close(found.clone().clamp_min(-50.0), expected.clamp_min(-50.0));
        assert!(found.narrow(1, 2, 1).max().into_scalar::<f32>() < -1e8);
    }

    #[test]
    fn divergences_and_gradients_equal_their_formulas() {
        let device = Device::flex();
        let rows = 33;
        let (logits, teacher) = (normal(rows), activation::log_softmax(normal(rows), 1));
        let normaliser = row_facts(&logits, Some(SKIPPED)).expect("tensors on the CPU").normaliser;
        let words_of = Words {
            logits: logits.clone(),
            normaliser: normaliser.clone(),
            teacher: teacher.clone(),
            skipped: Some(SKIPPED),
        };
        let log_probs = words(&logits) - normaliser.clone();
        let probs = log_probs.clone().exp();
        let excess = log_probs.clone() - words(&teacher).clamp_min(-6.0);
        let mean = (probs.clone() * excess.clone()).sum_dim(1);
        let [found, variance] = words_of.reverse_kl(-6.0).expect("tensors on the CPU");
        assert_close(found, mean.clone());
        assert_close(variance, (probs * (excess - mean).square()).sum_dim(1));
        let lifted = words(&teacher).clamp_min(-7.0);
        let forward = (lifted.clone().exp() * (lifted - log_probs)).sum_dim(1);
        assert_close(words_of.forward_kl(-7.0).expect("tensors on the CPU"), forward);

        let numbers = |seed: f32| (0..rows).map(|row| (row as f32 * seed).sin()).collect::<Vec<f32>>();
        let targets: Vec<u32> = (0..rows as u32).collect();
        let coefficients = Coefficients {
            policy: numbers(0.3),
            excess: numbers(0.7),
            teacher: numbers(1.1),
            target: numbers(1.9),
            help: numbers(2.3),
            targets: targets.clone(),
            floor: -7.0,
            reward_floor: -6.0,
        };
        let of = |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, 1]), &device);
        let log_probs = logits - normaliser;
        let factor = (log_probs.clone() - teacher.clone().clamp_min(-6.0)) * of(&coefficients.excess);
        let dense = log_probs.exp() * (factor + of(&coefficients.policy))
            + teacher.clamp_min(-7.0).exp() * of(&coefficients.teacher);
        let mut expected: Vec<f32> = dense.into_data().iter::<f32>().collect();
        for (row, expected) in expected.chunks_exact_mut(COLUMNS).enumerate() {
            expected[SKIPPED] = coefficients.help[row];
            expected[targets[row] as usize] += coefficients.target[row];
        }
        let expected = Tensor::<2>::from_data(TensorData::new(expected, [rows, COLUMNS]), &device);
        assert_close(words_of.gradient(coefficients).expect("tensors on the CPU"), expected);
    }

    #[test]
    fn nan_is_not_lost() {
        let mut values = vec![0.5_f32; COLUMNS];
        values[20] = f32::NAN;
        let logits = Tensor::<2>::from_data(TensorData::new(values, [1, COLUMNS]), &Device::flex());
        let facts = row_facts(&logits, Some(SKIPPED)).expect("tensors on the CPU");
        assert!(facts.normaliser.into_scalar::<f32>().is_nan());
        let found = log_softmax(logits, &[], 1.0);
        assert!(found.into_data().iter::<f32>().all(f32::is_nan));
    }

    #[test]
    fn burn_computes_what_has_gradients() {
        let tracked = Tensor::<2>::ones([2, 3], &Device::flex().autodiff());
        assert!(row_facts(&tracked, None).is_none() && !computes(&tracked));
        let view = Tensor::<2>::ones([2, 3], &Device::flex()).transpose();
        assert!(row_facts(&view, None).is_none(), "burn reads views");
    }
}
