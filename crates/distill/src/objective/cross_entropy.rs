//! Cross-entropy with label smoothing.

use burn::config::Config;
use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::{Loss, LossScope, Objective, Requirements, with_gradient};
use crate::Scored;

/// Cross-entropy against the targets, smoothed over the vocabulary (Szegedy et al. 2016, arXiv 1512.00567, section 7).
///
/// With the smoothing e and a vocabulary of v tokens,
///
/// ```text
/// L = sum_t [ -(1 - e) log p(y_t) - e/v sum_a log p(a) ]
/// ```
///
/// `p` is the distribution over the whole vocabulary, help token included. The gradient in the logits is
/// `p - (1 - e) onehot(y) - e/v`.
#[derive(Config, Debug)]
pub struct CrossEntropy {
    /// The fraction of the probability that is spread evenly over the vocabulary; e in the equation.
    #[config(default = 0.1)]
    pub label_smoothing: f64,
}

impl Objective for CrossEntropy {
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }

    fn scope(&self) -> LossScope {
        LossScope::Position
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let [batch, time, vocab] = scored.logits.dims();
        let logits = scored.logits.clone().without_autodiff().reshape([batch * time, vocab]);
        let targets = scored.targets.clone().reshape([batch * time, 1]);
        let mask = scored.mask.clone().reshape([batch * time, 1]);
        let smoothing = self.label_smoothing;
        let Parts { log_likelihood, mean_log_prob, gradient } = parts(logits, targets, mask.clone(), smoothing);
        let nll = (log_likelihood * mask.clone()).sum().neg();
        let value = match mean_log_prob {
            Some(mean) if smoothing != 0.0 => nll.clone() * (1.0 - smoothing) - (mean * mask).sum() * smoothing,
            _ => nll.clone(),
        };
        let total = with_gradient(&scored.logits, gradient.reshape([batch, time, vocab]));
        Loss { total, value, nll, parts: vec![] }
    }
}

/// Cross-entropy at each of n positions.
struct Parts {
    /// The log-probs of the targets, nats, `[n, 1]`.
    log_likelihood: Tensor<2>,
    /// The means of the log-probs of all tokens, nats, `[n, 1]`. Without label smoothing, None if they take another pass.
    mean_log_prob: Option<Tensor<2>>,
    /// The gradient in the logits, `[n, vocab]`; 0 where the mask is 0.
    gradient: Tensor<2>,
}

/// `logits`: `[n, vocab]`; `targets` and `mask`: `[n, 1]`.
fn parts(logits: Tensor<2>, targets: Tensor<2, Int>, mask: Tensor<2>, smoothing: f64) -> Parts {
    #[cfg(feature = "cpu")]
    if wheels_cpu::computes(&logits) {
        let goals = targets.clone().into_data().iter::<u32>().collect();
        let weights = mask.clone().into_data().iter::<f32>().collect();
        if let Some(found) = wheels_cpu::cross_entropy(&logits, goals, weights, smoothing) {
            let wheels_cpu::CrossEntropy { log_likelihood, mean_log_prob, gradient } = found;
            return Parts { log_likelihood, mean_log_prob: Some(mean_log_prob), gradient };
        }
    }
    let [_, vocab] = logits.dims();
    let probs = softmax(logits.clone(), 1);
    // A target whose probability underflows to 0 in f32 would have an infinite loss. 1.2e-38 (e^-87) is the smallest normal
    // number of f32.
    let log_likelihood = probs.clone().gather(1, targets.clone()).clamp_min(1.2e-38).log();
    let mean_log_prob = (smoothing != 0.0).then(|| {
        // log p(a) = logit(a) - normaliser, with one normaliser for all tokens of a position.
        let normaliser = logits.clone().gather(1, targets.clone()) - log_likelihood.clone();
        logits.mean_dim(1) - normaliser
    });
    let at_target = mask.ones_like() * (smoothing - 1.0);
    let even = smoothing / vocab as f64;
    let gradient = probs.sub_scalar(even).scatter(1, targets, at_target, IndexingUpdateOp::Add) * mask;
    Parts { log_likelihood, mean_log_prob, gradient }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{DType, Device, Distribution, Tolerance};

    #[test]
    fn value_and_gradient_match_autodiff_through_log_softmax() {
        let device = Device::flex().autodiff();
        let plain = Device::flex();
        let logits = Tensor::<3>::random([2, 3, 7], Distribution::Normal(0.0, 2.0), &device).require_grad();
        let targets = Tensor::<2, Int>::from_ints([[1, 2, 3], [6, 0, 0]], &plain);
        let mask = Tensor::<2>::from_floats([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], &plain);
        let scored = Scored {
            logits: logits.clone(),
            values: None,
            price_targets: None,
            targets: targets.clone(),
            mask: mask.clone(),
            teacher: None,
            target_network: None,
            batch_sums: None,
        };
        let loss = CrossEntropy::new().loss(&scored);

        let log_probs = log_softmax(logits.clone(), 2);
        let (targets, mask) = (Tensor::<2, Int>::from_inner(targets), Tensor::<2>::from_inner(mask));
        let at_targets = log_probs.clone().gather(2, targets.unsqueeze_dim(2)).squeeze_dim::<2>(2);
        let smoothed = at_targets * -0.9 - log_probs.mean_dim(2).squeeze_dim::<2>(2) * 0.1;
        let expected = (smoothed * mask).sum();

        loss.value.to_data().assert_approx_eq::<f32>(&expected.to_data(), Tolerance::default());
        let gradient = logits.grad(&loss.total.backward()).expect("the logits track gradients");
        let reference = logits.grad(&expected.backward()).expect("the logits track gradients");
        gradient.to_data().assert_approx_eq::<f32>(&reference.to_data(), Tolerance::absolute(1e-5));
    }

    /// The kernels of the CPU do not compute in double precision, so burn does.
    #[test]
    fn kernels_equal_the_formulas_in_double_precision() {
        let device = Device::flex();
        let logits = Tensor::<2>::random([9, 37], Distribution::Normal(0.0, 3.0), &device);
        let targets = Tensor::<1, Int>::arange(0..9, &device).reshape([9, 1]);
        let mask = Tensor::<2>::random([9, 1], Distribution::Bernoulli(0.7), &device);
        for smoothing in [0.0, 0.1] {
            let found = parts(logits.clone(), targets.clone(), mask.clone(), smoothing);
            let logits = logits.clone().cast(DType::F64);
            let mean = log_softmax(logits.clone(), 1).mean_dim(1);
            let exact = parts(logits, targets.clone(), mask.clone().cast(DType::F64), smoothing);
            let mut pairs = vec![(found.log_likelihood, exact.log_likelihood), (found.gradient, exact.gradient)];
            for computed in [found.mean_log_prob, exact.mean_log_prob].into_iter().flatten() {
                pairs.push((computed, mean.clone()));
            }
            for (found, exact) in pairs {
                let difference = (found.cast(DType::F64) - exact).abs().max().into_scalar::<f64>();
                assert!(difference < 1e-5, "{difference}");
            }
        }
    }
}
