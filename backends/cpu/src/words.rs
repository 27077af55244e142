//! A student's and its teacher's distributions over the same words on the CPU, and the gradients of losses.
//!
//! Each function returns None under the conditions of `softmax.rs`.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use crate::exp::exp;
use crate::matrix::{Matrix, column, largest, sums, without};

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
        let (rows, device, floor) = (self.rows()?, self.logits.device(), floor as f32);
        let [mean, variance] = rows.logits.clone().columns(
            6.0,
            #[inline(always)]
            move |_, row| {
                let (student, teacher, normaliser) = rows.at(row);
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
        let (rows, device, floor) = (self.rows()?, self.logits.device(), floor as f32);
        let [divergence] = rows.logits.clone().columns(
            4.0,
            #[inline(always)]
            move |_, row| {
                let (student, teacher, normaliser) = rows.at(row);
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
        let (beta, floor) = (beta as f32, floor as f32);
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
                let (student, teacher, normaliser) = own.at(row);
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
                if let Some(skipped) = rows.skipped {
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
                if let Some(skipped) = rows.skipped {
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
        Some(WordRows { logits, teacher, normaliser, skipped: self.skipped })
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
    skipped: Option<usize>,
}

impl WordRows {
    /// The student's logits and the teacher's log-probs without the skipped column, in two parts each, and the normaliser.
    #[inline(always)]
    fn at(&self, row: usize) -> ([&[f32]; 2], [&[f32]; 2], f32) {
        let (student, teacher) = (self.logits.row(row), self.teacher.row(row));
        (without(student, self.skipped), without(teacher, self.skipped), self.normaliser[row])
    }
}
