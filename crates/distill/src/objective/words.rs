//! The student's and the teacher's distributions over the words, and what objectives need of them.
//!
//! All tensors with one number for each position and word are made here. On the CPU, kernels compute sums over the words
//! and gradients without them.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::loss_term::LossTerm;
use crate::rollout::MIN_LOG_PROB;

/// Added to the help logit, so that the softmax over the words gives the help token the probability 0.
const EXCLUDED: f64 = -1e9;

/// The distributions at n positions; no tensor tracks gradients.
pub(crate) struct Words {
    /// The student's logits, `[n, vocab]`.
    logits: Tensor<2>,
    /// The log-sum-exp of the student's logits of the words, `[n, 1]`.
    pub(super) normaliser: Tensor<2>,
    /// The teacher's log-probs, nats, `[n, vocab]`.
    teacher: Tensor<2>,
    /// The help column, which is no word.
    help_token: Option<usize>,
}

impl Words {
    pub(super) fn new(logits: Tensor<2>, teacher: Tensor<2>, help_token: Option<usize>) -> Self {
        let normaliser = normaliser(&logits, help_token);
        Self { logits, normaliser, teacher, help_token }
    }

    /// z, the log-odds of asking: the logit of the help column minus the normaliser, nats, `[n, 1]`.
    pub(super) fn log_odds(&self, help_token: usize) -> Tensor<2> {
        self.logits.clone().narrow(1, help_token, 1) - self.normaliser.clone()
    }

    /// The student's log-probs of some words, one at each position, nats, `[n, 1]`.
    pub(super) fn log_probs_of(&self, words: Tensor<2, Int>) -> Tensor<2> {
        self.logits.clone().gather(1, words) - self.normaliser.clone()
    }

    /// The teacher's log-probs of some words, one at each position, nats, `[n, 1]`.
    pub(super) fn teacher_log_probs_of(&self, words: Tensor<2, Int>) -> Tensor<2> {
        self.teacher.clone().gather(1, words).clamp_min(MIN_LOG_PROB)
    }

    /// The student's log-probs, nats, `[n, vocab]`; 0 in the help column, so that products with [`probs`](Self::probs) are
    /// 0 there.
    pub(super) fn log_probs(&self) -> Tensor<2> {
        let log_probs = self.logits.clone() - self.normaliser.clone();
        match self.help_token {
            Some(token) => log_probs * (one_hot(token, &self.logits).neg() + 1.0),
            None => log_probs,
        }
    }

    /// The student's probabilities, `[n, vocab]`; 0 in the help column.
    pub(super) fn probs(&self) -> Tensor<2> {
        (without_help(&self.logits, self.help_token) - self.normaliser.clone()).exp()
    }

    /// The teacher's log-probs, nats, `[n, vocab]`; at least [`MIN_LOG_PROB`], because a probability of 0 times an infinite
    /// log-prob is not a number.
    pub(super) fn teacher_log_probs(&self) -> Tensor<2> {
        self.teacher.clone().clamp_min(MIN_LOG_PROB)
    }

    /// The most likely word of the student at each position, `[n, 1]`.
    pub(super) fn best(&self) -> Tensor<2, Int> {
        without_help(&self.logits, self.help_token).argmax(1)
    }

    /// The largest log-prob of the student and its entropy, nats, `[n, 1]` each.
    pub(crate) fn confidence(&self) -> [Tensor<2>; 2] {
        #[cfg(feature = "cpu")]
        if let Some(wheels_cpu::RowFacts { best, normaliser, entropy, .. }) =
            wheels_cpu::row_facts(&self.logits, self.help_token)
        {
            return [best - normaliser, entropy];
        }
        let log_probs = self.log_probs();
        let entropy = (self.probs() * log_probs.clone()).sum_dim(1).neg();
        let best = log_probs.gather(1, self.best());
        [best, entropy]
    }

    /// With `excess(a) = log p(a) - max(log p_T(a), reward_floor)`: its mean and its variance under p, nats, `[n, 1]`.
    pub(super) fn reverse_kl(&self, reward_floor: f64) -> [Tensor<2>; 2] {
        #[cfg(feature = "cpu")]
        if let Some(found) = self.on_cpu().reverse_kl(reward_floor.max(MIN_LOG_PROB)) {
            return found;
        }
        let (probs, excess) = (self.probs(), self.excess(reward_floor));
        let mean = (probs.clone() * excess.clone()).sum_dim(1);
        let variance = (probs * (excess - mean.clone()).square()).sum_dim(1);
        [mean, variance]
    }

    /// `KL(p_T || p)`, nats, `[n, 1]`.
    pub(super) fn forward_kl(&self) -> Tensor<2> {
        #[cfg(feature = "cpu")]
        if let Some(found) = self.on_cpu().forward_kl(MIN_LOG_PROB) {
            return found;
        }
        let teacher = self.teacher_log_probs();
        (teacher.clone().exp() * (teacher - self.log_probs())).sum_dim(1)
    }

    /// With the mixture `m = beta p_T + (1 - beta) p`: `beta KL(p_T || m) + (1 - beta) KL(p || m)`, nats, `[n, 1]`, and its
    /// gradient in the logits, `[n, vocab]`.
    pub(super) fn generalized_jsd(&self, beta: f64) -> [Tensor<2>; 2] {
        #[cfg(feature = "cpu")]
        if let Some(found) = self.on_cpu().generalized_jsd(beta, MIN_LOG_PROB) {
            return found;
        }
        let (log_probs, teacher_log_probs) = (self.log_probs(), self.teacher_log_probs());
        let (student, teacher) = (self.probs(), teacher_log_probs.clone().exp());
        // In the help column both probabilities can be 0.
        let log_mixture = (teacher.clone() * beta + student.clone() * (1.0 - beta)).clamp_min(1e-30).log();
        let student_terms = student.clone() * (log_probs - log_mixture.clone());
        let student_kl = student_terms.clone().sum_dim(1);
        let teacher_kl = (teacher * (teacher_log_probs - log_mixture)).sum_dim(1);
        let gradient = (student_terms - student * student_kl.clone()) * (1.0 - beta);
        [teacher_kl * beta + student_kl * (1.0 - beta), gradient]
    }

    /// The gradient of a term in the logits, `[n, vocab]`; 0 where `mask`, `[n, 1]`, is 0.
    pub(super) fn gradient(&self, term: LossTerm, targets: &Tensor<2, Int>, mask: &Tensor<2>) -> Tensor<2> {
        let LossTerm { dense, policy, excess, teacher, target, help, .. } = term;
        #[cfg(feature = "cpu")]
        if dense.is_none() && wheels_cpu::computes(&self.logits) {
            let numbers = |part: Option<&Tensor<2>>| match part {
                Some(part) => (part.clone() * mask.clone()).into_data().iter::<f32>().collect(),
                None => vec![0.0; mask.dims()[0]],
            };
            let coefficients = wheels_cpu::Coefficients {
                policy: numbers(policy.as_ref()),
                excess: numbers(excess.as_ref().map(|(weight, _)| weight)),
                teacher: numbers(teacher.as_ref()),
                target: numbers(target.as_ref()),
                help: numbers(help.as_ref()),
                targets: targets.clone().into_data().iter::<u32>().collect(),
                floor: MIN_LOG_PROB,
                reward_floor: excess.as_ref().map_or(MIN_LOG_PROB, |(_, floor)| floor.max(MIN_LOG_PROB)),
            };
            if let Some(gradient) = self.on_cpu().gradient(coefficients) {
                return gradient;
            }
        }
        let [n, _] = self.logits.dims();
        let factor = match (policy, excess) {
            (policy, Some((weight, floor))) => {
                let factor = self.excess(floor) * weight;
                Some(match policy {
                    Some(policy) => factor + policy,
                    None => factor,
                })
            }
            (policy, None) => policy,
        };
        let of_policy = factor.map(|factor| self.probs() * factor);
        let of_teacher = teacher.map(|weight| self.teacher_log_probs().exp() * weight);
        let sum = [of_policy, of_teacher, dense].into_iter().flatten().reduce(|sum, part| sum + part);
        let mut gradient = sum.unwrap_or_else(|| self.logits.zeros_like());
        if let Some((token, help)) = self.help_token.zip(help) {
            gradient = gradient.slice_assign([0..n, token..token + 1], help);
        }
        if let Some(target) = target {
            gradient = gradient.scatter(1, targets.clone(), target, IndexingUpdateOp::Add);
        }
        gradient * mask.clone()
    }

    /// `log p(a) - max(log p_T(a), reward_floor)`, nats, `[n, vocab]`.
    fn excess(&self, reward_floor: f64) -> Tensor<2> {
        self.log_probs() - self.teacher_log_probs().clamp_min(reward_floor)
    }

    #[cfg(feature = "cpu")]
    fn on_cpu(&self) -> wheels_cpu::Words {
        wheels_cpu::Words {
            logits: self.logits.clone(),
            normaliser: self.normaliser.clone(),
            teacher: self.teacher.clone(),
            skipped: self.help_token,
        }
    }
}

/// The log-sum-exp of the logits of the words, `[n, 1]`.
fn normaliser(logits: &Tensor<2>, help_token: Option<usize>) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if let Some(facts) = wheels_cpu::row_facts(logits, help_token) {
        return facts.normaliser;
    }
    let words = without_help(logits, help_token);
    let best = words.clone().max_dim(1);
    (words - best.clone()).exp().sum_dim(1).log() + best
}

/// The logits, with one so low in the help column that its probability is 0.
fn without_help(logits: &Tensor<2>, help_token: Option<usize>) -> Tensor<2> {
    match help_token {
        Some(token) => logits.clone() + one_hot(token, logits) * EXCLUDED,
        None => logits.clone(),
    }
}

/// 1 in a column and 0 in the others, `[1, vocab]`.
fn one_hot(column: usize, logits: &Tensor<2>) -> Tensor<2> {
    let [_, vocab] = logits.dims();
    Tensor::<1, Int>::from_ints([column as i32], &logits.device()).one_hot::<2>(vocab).float().cast(logits.dtype())
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{DType, Device, Distribution};

    use super::*;

    const N: usize = 20;
    const VOCAB: usize = 37;

    fn random(columns: usize) -> Tensor<2> {
        Tensor::random([N, columns], Distribution::Normal(0.0, 3.0), &Device::flex())
    }

    #[track_caller]
    fn assert_close(found: Tensor<2>, expected: Tensor<2>) {
        let expected = expected.cast(DType::F32);
        let scale = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
        let difference = (found - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5 * scale, "{difference} of {scale}");
    }

    /// The kernels of the CPU do not compute in double precision, so burn does.
    #[test]
    fn kernels_equal_the_formulas_in_double_precision() {
        let [policy, weight, of_teacher, target, of_help] = [(); 5].map(|()| random(1));
        let logits = random(VOCAB);
        let targets = Tensor::<1, Int>::arange(0..N as i64, &Device::flex()).reshape([N, 1]);
        let mask = random(1).greater_scalar(-2.0).float();
        for help_token in [None, Some(30)] {
            // The teacher never writes the help token.
            let teacher = log_softmax(without_help(&(random(VOCAB) * 4.0), help_token), 1);
            let double = |tensor: &Tensor<2>| tensor.clone().cast(DType::F64);
            let single = Words::new(logits.clone(), teacher.clone(), help_token);
            let exact = Words::new(double(&logits), double(&teacher), help_token);
            assert_eq!(exact.normaliser.dtype(), DType::F64);
            assert_close(single.normaliser.clone(), exact.normaliser.clone());
            for floor in [-10.0, f64::NEG_INFINITY] {
                let (found, expected) = (single.reverse_kl(floor), exact.reverse_kl(floor));
                for (found, expected) in found.into_iter().zip(expected) {
                    assert_close(found, expected);
                }
            }
            assert_close(single.forward_kl(), exact.forward_kl());
            let (found, expected) = (single.generalized_jsd(0.3), exact.generalized_jsd(0.3));
            for (found, expected) in found.into_iter().zip(expected) {
                assert_close(found, expected);
            }
            let term = |part: &dyn Fn(&Tensor<2>) -> Tensor<2>| LossTerm {
                policy: Some(part(&policy)),
                excess: Some((part(&weight), -10.0)),
                teacher: Some(part(&of_teacher)),
                target: Some(part(&target)),
                help: help_token.map(|_| part(&of_help)),
                ..LossTerm::new(Tensor::zeros([1], &Device::flex()))
            };
            let found = single.gradient(term(&Tensor::clone), &targets, &mask);
            assert_close(found, exact.gradient(term(&double), &targets, &double(&mask)));
        }
    }
}
