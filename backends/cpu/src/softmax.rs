//! Distributions over a vocabulary on the CPU: everything that a loss needs of a row of logits, in one or two passes over
//! memory instead of one for each arithmetic operation.
//!
//! Each function returns None if burn must compute it: on another device, in another number format than f32, with autodiff,
//! or for tensors that are not contiguous.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::{BackendTypes, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pulp::Arch;

use crate::exp::exp;
use crate::parallel::in_parallel;

/// Numbers that are computed together.
const LANES: usize = 16;

/// Whether the functions of this file compute with these logits. To ask costs nothing on any device.
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

/// `log_softmax(logits / temperature)` over each row. The columns `closed` are lowered by 1e9 first.
///
/// # Shapes
/// `logits` and the result: `[rows, columns]`.
pub fn log_softmax(logits: &Tensor<2>, closed: &[u32], temperature: f64) -> Option<Tensor<2>> {
    let logits = Matrix::new(logits)?;
    let ([rows, columns], device, scale) = (logits.dims, logits.device.clone(), 1.0 / temperature as f32);
    let closed: Vec<usize> = closed.iter().map(|&id| id as usize).filter(|&id| id < columns).collect();
    let found = logits.parts(
        columns,
        5.0,
        #[inline(always)]
        move |logits, row, found| {
            found.copy_from_slice(logits.row(row));
            for &id in &closed {
                found[id] -= 1e9;
            }
            let parts = [&*found, &[]];
            let [best, _] = two_largest(parts);
            let [mass] = sums(parts, parts, |logit, _| [exp((logit - best) * scale)]);
            let log_mass = mass.ln();
            for logit in found {
                *logit = (*logit - best) * scale - log_mass;
            }
        },
    );
    Some(Tensor::from_data(TensorData::new(found, [rows, columns]), &device))
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

/// The distributions of a student and of its teacher over the same words.
#[derive(Clone, Debug)]
pub struct Words {
    /// The student's logits, `[rows, columns]`.
    pub logits: Tensor<2>,
    /// The log-sum-exp of the student's logits of the words, `[rows, 1]`.
    pub normaliser: Tensor<2>,
    /// The teacher's log-probs, nats, `[rows, columns]`.
    pub teacher: Tensor<2>,
    /// A column that is no word.
    pub skipped: Option<usize>,
}

impl Words {
    /// With `excess(a) = log p(a) - max(log p_T(a), floor)`: its mean under p and its variance under p, nats, `[rows, 1]`.
    pub fn reverse_kl(&self, floor: f64) -> Option<[Tensor<2>; 2]> {
        let (rows, device) = (self.rows()?, self.logits.device());
        let (skipped, floor) = (self.skipped, floor as f32);
        let [mean, variance] = rows.logits.clone().columns(
            6.0,
            #[inline(always)]
            move |_, row| {
                let (student, teacher) =
                    (without(rows.logits.row(row), skipped), without(rows.teacher.row(row), skipped));
                let normaliser = rows.normaliser[row];
                let excess = |logit: f32, teacher: f32| {
                    let log_prob = logit - normaliser;
                    (exp(log_prob), log_prob - largest(teacher, floor))
                };
                let [mean] = sums(student, teacher, |logit, teacher| {
                    let (prob, excess) = excess(logit, teacher);
                    [prob * excess]
                });
                let [variance] = sums(student, teacher, |logit, teacher| {
                    let (prob, excess) = excess(logit, teacher);
                    [prob * (excess - mean) * (excess - mean)]
                });
                [mean, variance]
            },
        );
        Some([mean, variance].map(|values| column(values, &device)))
    }

    /// `sum_a p_T(a) (log p_T(a) - log p(a))`, nats, `[rows, 1]`; the teacher's log-probs are at least `floor`.
    pub fn forward_kl(&self, floor: f64) -> Option<Tensor<2>> {
        let (rows, device) = (self.rows()?, self.logits.device());
        let (skipped, floor) = (self.skipped, floor as f32);
        let [divergence] = rows.logits.clone().columns(
            4.0,
            #[inline(always)]
            move |_, row| {
                let (student, teacher) =
                    (without(rows.logits.row(row), skipped), without(rows.teacher.row(row), skipped));
                let normaliser = rows.normaliser[row];
                sums(student, teacher, |logit, teacher| {
                    let teacher = largest(teacher, floor);
                    [exp(teacher) * (teacher - (logit - normaliser))]
                })
            },
        );
        Some(column(divergence, &device))
    }

    /// With the mixture `m = beta p_T + (1 - beta) p`: `beta KL(p_T || m) + (1 - beta) KL(p || m)`, nats, `[rows, 1]`, and
    /// its gradient in the logits, `[rows, columns]`, which is 0 in the skipped column. The teacher's log-probs are at least
    /// `floor`.
    pub fn generalized_jsd(&self, beta: f64, floor: f64) -> Option<[Tensor<2>; 2]> {
        let (rows, device) = (Arc::new(self.rows()?), self.logits.device());
        let dims = rows.logits.dims;
        let (skipped, beta, floor) = (self.skipped, beta as f32, floor as f32);
        // p and p_T of a word, and their log-probs minus that of the mixture.
        #[inline(always)]
        fn ratios(log_prob: f32, teacher: f32, beta: f32) -> [f32; 4] {
            let (prob, teacher_prob) = (exp(log_prob), exp(teacher));
            // Both probabilities can be 0.
            let log_mixture = largest(beta * teacher_prob + (1.0 - beta) * prob, 1e-30).ln();
            [prob, teacher_prob, log_prob - log_mixture, teacher - log_mixture]
        }
        let own = Arc::clone(&rows);
        let [student_kl, value] = rows.logits.clone().columns(
            60.0,
            #[inline(always)]
            move |_, row| {
                let (student, teacher) =
                    (without(own.logits.row(row), skipped), without(own.teacher.row(row), skipped));
                let normaliser = own.normaliser[row];
                let [student_kl, teacher_kl] = sums(student, teacher, |logit, teacher| {
                    let [prob, teacher_prob, ratio, teacher_ratio] =
                        ratios(logit - normaliser, largest(teacher, floor), beta);
                    [prob * ratio, teacher_prob * teacher_ratio]
                });
                [student_kl, beta * teacher_kl + (1.0 - beta) * student_kl]
            },
        );
        let gradient = rows.logits.clone().parts(
            dims[1],
            60.0,
            #[inline(always)]
            move |_, row, found| {
                let (normaliser, student_kl) = (rows.normaliser[row], student_kl[row]);
                for ((found, &logit), &teacher) in found.iter_mut().zip(rows.logits.row(row)).zip(rows.teacher.row(row))
                {
                    let [prob, _, ratio, _] = ratios(logit - normaliser, largest(teacher, floor), beta);
                    *found = (1.0 - beta) * prob * (ratio - student_kl);
                }
                if let Some(skipped) = skipped {
                    found[skipped] = 0.0;
                }
            },
        );
        Some([column(value, &device), Tensor::from_data(TensorData::new(gradient, dims), &device)])
    }

    /// The gradient in the logits that these coefficients describe, `[rows, columns]`.
    ///
    /// # Panics
    /// If a vector of the coefficients does not have one number per row, or a target is no column.
    pub fn gradient(&self, coefficients: Coefficients) -> Option<Tensor<2>> {
        let (rows, device) = (self.rows()?, self.logits.device());
        let dims = rows.logits.dims;
        let skipped = self.skipped;
        let found = rows.logits.clone().parts(
            dims[1],
            6.0,
            #[inline(always)]
            move |_, row, found| {
                let Coefficients { policy, excess, teacher: of_teacher, target, help, targets, floor, reward_floor } =
                    &coefficients;
                let normaliser = rows.normaliser[row];
                let (policy, excess, of_teacher) = (policy[row], excess[row], of_teacher[row]);
                let (floor, reward_floor) = (*floor as f32, *reward_floor as f32);
                for ((found, &logit), &teacher) in found.iter_mut().zip(rows.logits.row(row)).zip(rows.teacher.row(row))
                {
                    let log_prob = logit - normaliser;
                    let teacher = largest(teacher, floor);
                    let factor = policy + excess * (log_prob - largest(teacher, reward_floor));
                    *found = exp(log_prob) * factor + exp(teacher) * of_teacher;
                }
                if let Some(skipped) = skipped {
                    found[skipped] = help[row];
                }
                found[targets[row] as usize] += target[row];
            },
        );
        Some(Tensor::from_data(TensorData::new(found, dims), &device))
    }

    fn rows(&self) -> Option<WordRows> {
        let (logits, teacher) = (Matrix::new(&self.logits)?, Matrix::new(&self.teacher)?);
        let normaliser = Matrix::new(&self.normaliser)?;
        if teacher.dims != logits.dims || normaliser.dims != [logits.dims[0], 1] {
            return None;
        }
        let normaliser = (0..logits.dims[0]).map(|row| normaliser.row(row)[0]).collect();
        Some(WordRows { logits, teacher, normaliser })
    }
}

/// The coefficients of a gradient in the logits, one number per row each. With p the student's distribution and p_T the
/// teacher's, the gradient in the logit of a word a is
///
/// ```text
/// p(a) [policy + excess (log p(a) - max(log p_T(a), reward_floor))] + teacher p_T(a) + target 1[a = targets]
/// ```
///
/// and that in the skipped column is `help`.
#[derive(Clone, Debug)]
pub struct Coefficients {
    /// The factor of p.
    pub policy: Vec<f32>,
    /// The factor of p times the excess.
    pub excess: Vec<f32>,
    /// The factor of p_T.
    pub teacher: Vec<f32>,
    /// What is added at the target.
    pub target: Vec<f32>,
    /// The gradient in the skipped column.
    pub help: Vec<f32>,
    /// The targets.
    pub targets: Vec<u32>,
    /// The smallest log-prob of the teacher.
    pub floor: f64,
    /// The smallest reward.
    pub reward_floor: f64,
}

struct WordRows {
    logits: Matrix,
    teacher: Matrix,
    normaliser: Vec<f32>,
}

/// A contiguous matrix in place.
#[derive(Clone)]
struct Matrix {
    tensor: <Flex as BackendTypes>::FloatTensorPrimitive,
    start: usize,
    dims: [usize; 2],
    device: Device,
}

impl Matrix {
    fn new(tensor: &Tensor<2>) -> Option<Self> {
        let (dims, device) = (tensor.dims(), tensor.device());
        if device.is_autodiff() || tensor.dtype() != DType::F32 || dims[0] * dims[1] == 0 {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        let (start, _) = tensor.layout().contiguous_offsets()?;
        Some(Self { tensor, start, dims, device })
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &[f32] {
        &self.tensor.storage::<f32>()[self.start + row * self.dims[1]..][..self.dims[1]]
    }

    /// What `write` makes of each row: `width` numbers. `nanos` is about the time per 16 numbers of a row, nanoseconds.
    fn parts(
        self,
        width: usize,
        nanos: f64,
        write: impl Fn(&Self, usize, &mut [f32]) + Send + Sync + 'static,
    ) -> Vec<f32> {
        let [rows, columns] = self.dims;
        let part = move |range: Range<usize>| {
            let mut found = vec![0.0; range.len() * width];
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (row, found) in range.zip(found.chunks_exact_mut(width)) {
                        write(&self, row, found);
                    }
                },
            );
            found
        };
        let mut parts = in_parallel(rows, 1, nanos * (rows * columns) as f64 / LANES as f64, part);
        if parts.len() == 1 { parts.remove(0) } else { parts.concat() }
    }

    /// `K` numbers for each row, one vector for each of the `K`.
    fn columns<const K: usize>(
        self,
        nanos: f64,
        facts: impl Fn(&Self, usize) -> [f32; K] + Send + Sync + 'static,
    ) -> [Vec<f32>; K] {
        let found = self.parts(
            K,
            nanos,
            #[inline(always)]
            move |matrix, row, found| found.copy_from_slice(&facts(matrix, row)),
        );
        std::array::from_fn(|column| found.iter().skip(column).step_by(K).copied().collect())
    }
}

fn column(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), device)
}

/// A row without one of its columns, in two parts.
#[inline(always)]
fn without(row: &[f32], skipped: Option<usize>) -> [&[f32]; 2] {
    match skipped {
        Some(skipped) => [&row[..skipped], &row[skipped + 1..]],
        None => [row, &[]],
    }
}

/// The larger number; the first one if it is NaN.
#[inline(always)]
fn largest(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// The two largest numbers.
#[inline(always)]
fn two_largest(parts: [&[f32]; 2]) -> [f32; 2] {
    let mut best = [f32::NEG_INFINITY; LANES];
    let mut second = best;
    let mut see = |lane: usize, x: f32| {
        let lower = if x < best[lane] { x } else { best[lane] };
        second[lane] = largest(second[lane], lower);
        best[lane] = largest(best[lane], x);
    };
    for part in parts {
        let (blocks, rest) = part.as_chunks::<LANES>();
        for block in blocks {
            for (lane, &x) in block.iter().enumerate() {
                see(lane, x);
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            see(lane, x);
        }
    }
    let mut found = [f32::NEG_INFINITY; 2];
    for x in best.into_iter().chain(second) {
        if x > found[0] {
            found = [x, found[0]];
        } else if x > found[1] {
            found[1] = x;
        }
    }
    found
}

/// The sums of what `terms` makes of each pair of numbers.
#[inline(always)]
fn sums<const K: usize>(a: [&[f32]; 2], b: [&[f32]; 2], terms: impl Fn(f32, f32) -> [f32; K]) -> [f32; K] {
    let mut totals = [[0.0; LANES]; K];
    for (a, b) in a.into_iter().zip(b) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let found = terms(a[lane], b[lane]);
                for (totals, found) in totals.iter_mut().zip(found) {
                    totals[lane] += found;
                }
            }
        }
        for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let found = terms(a, b);
            for (totals, found) in totals.iter_mut().zip(found) {
                totals[lane] += found;
            }
        }
    }
    totals.map(|lanes| lanes.iter().sum())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use burn::tensor::activation;

    use super::*;

    const COLUMNS: usize = 53;
    const SKIPPED: usize = 40;

    fn random(rows: usize) -> Tensor<2> {
        Tensor::random([rows, COLUMNS], Distribution::Normal(0.0, 3.0), &Device::flex())
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
            let logits = random(rows);
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
        let logits = random(9);
        let found = log_softmax(&logits, &[2, SKIPPED as u32, 1000], 0.7).expect("tensors on the CPU");
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
        let (logits, teacher) = (random(rows), activation::log_softmax(random(rows), 1));
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
        let found = log_softmax(&logits, &[], 1.0).expect("tensors on the CPU");
        assert!(found.into_data().iter::<f32>().all(f32::is_nan));
    }

    #[test]
    fn burn_computes_what_has_gradients() {
        let tracked = Tensor::<2>::ones([2, 3], &Device::flex().autodiff());
        assert!(row_facts(&tracked, None).is_none() && log_softmax(&tracked, &[], 1.0).is_none());
        let view = Tensor::<2>::ones([2, 3], &Device::flex()).transpose();
        assert!(row_facts(&view, None).is_none(), "burn reads views");
    }
}
