//! Cross-entropy with label smoothing.

use burn::config::Config;
use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Tensor};

use super::{Loss, LossScope, Objective, Requirements};
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
        let (smoothing, per_token) = (self.label_smoothing, self.label_smoothing / vocab as f64);

        let probs = softmax(logits.clone(), 1);
        // A target whose probability underflows to 0 in f32 would have an infinite loss. 1.2e-38 (e^-87) is the
        // smallest normal number of f32.
        let log_likelihood = probs.clone().gather(1, targets.clone()).clamp_min(1.2e-38).log();
        let nll = (log_likelihood.clone() * mask.clone()).sum().neg();
        let value = if smoothing == 0.0 {
            nll.clone()
        } else {
            // log p(a) = logit(a) - normaliser, with one normaliser for all tokens of a position.
            let normaliser = logits.clone().gather(1, targets.clone()) - log_likelihood;
            let mean_log_prob = logits.mean_dim(1) - normaliser;
            nll.clone() * (1.0 - smoothing) - (mean_log_prob * mask.clone()).sum() * smoothing
        };

        let at_target = Tensor::full([batch * time, 1], smoothing - 1.0, &mask.device());
        let gradient = (probs.sub_scalar(per_token)).scatter(1, targets, at_target, IndexingUpdateOp::Add) * mask;
        let gradient = Tensor::from_inner(gradient.reshape([batch, time, vocab]));
        Loss { total: (scored.logits.clone() * gradient).sum(), value, nll, parts: vec![] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{Device, Distribution, Int, Tolerance};

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
}
