//! Cross-entropy with label smoothing.

use burn::config::Config;
use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Tensor};

use super::{Loss, Objective};
use crate::Scored;

/// Cross-entropy against the targets, smoothed over the vocabulary (Szegedy et al. 2016, arXiv 1512.00567, section 7):
///
/// ```text
/// sum_t [ -(1 - e) log p(y_t) - e/V sum_v log p(v) ]
/// ```
///
/// Its gradient in the logits is `p - (1 - e) onehot(y) - e/V`. That closed form is computed once and handed to the
/// graph as a constant factor, instead of letting every step of the log-softmax be tracked: the vocabulary is the
/// widest dimension of training, and each pass over it counts.
#[derive(Config, Debug)]
pub struct CrossEntropy {
    /// The share `e` of the probability that is spread over the vocabulary.
    #[config(default = 0.1)]
    pub label_smoothing: f64,
}

impl Objective for CrossEntropy {
    fn loss(&self, scored: &Scored) -> Loss {
        let [batch, time, vocab] = scored.logits.dims();
        let logits = scored.logits.clone().without_autodiff().reshape([batch * time, vocab]);
        let targets = scored.targets.clone().reshape([batch * time, 1]);
        let mask = scored.mask.clone().reshape([batch * time, 1]);
        let (smooth, even) = (self.label_smoothing, self.label_smoothing / vocab as f64);

        let probabilities = softmax(logits.clone(), 1);
        // A target of probability 0 in f32 would be infinitely surprising; e^-87 is the smallest that f32 holds.
        let log_likelihood = probabilities.clone().gather(1, targets.clone()).clamp_min(1.2e-38).log();
        let nll = (log_likelihood.clone() * mask.clone()).sum().neg();
        let value = if smooth == 0.0 {
            nll.clone()
        } else {
            // log p(v) = logit(v) - Z and log p(y) = logit(y) - Z share their Z.
            let normaliser = logits.clone().gather(1, targets.clone()) - log_likelihood;
            let mean_log = logits.mean_dim(1) - normaliser;
            nll.clone() * (1.0 - smooth) - (mean_log * mask.clone()).sum() * smooth
        };

        let at_target = Tensor::full([batch * time, 1], smooth - 1.0, &mask.device());
        let gradient = (probabilities.sub_scalar(even)).scatter(1, targets, at_target, IndexingUpdateOp::Add) * mask;
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
    fn value_and_gradient_equal_those_of_the_tracked_log_softmax() {
        let device = Device::flex().autodiff();
        let plain = Device::flex();
        let logits = Tensor::<3>::random([2, 3, 7], Distribution::Normal(0.0, 2.0), &device).require_grad();
        let targets = Tensor::<2, Int>::from_ints([[1, 2, 3], [6, 0, 0]], &plain);
        let mask = Tensor::<2>::from_floats([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], &plain);
        let (values, guided) = (None, None);
        let hidden = logits.clone();
        let scored = Scored {
            logits: logits.clone(),
            hidden,
            values,
            priced: None,
            targets: targets.clone(),
            mask: mask.clone(),
            guided,
            target: None,
        };
        let loss = CrossEntropy::new().loss(&scored);

        let logs = log_softmax(logits.clone(), 2);
        let (targets, mask) = (Tensor::<2, Int>::from_inner(targets), Tensor::<2>::from_inner(mask));
        let picked = logs.clone().gather(2, targets.unsqueeze_dim(2)).squeeze_dim::<2>(2);
        let smoothed = picked * -0.9 - logs.mean_dim(2).squeeze_dim::<2>(2) * 0.1;
        let expected = (smoothed * mask).sum();

        loss.value.to_data().assert_approx_eq::<f32>(&expected.to_data(), Tolerance::default());
        let gradient = logits.grad(&loss.total.backward()).expect("tracked");
        let reference = logits.grad(&expected.backward()).expect("tracked");
        gradient.to_data().assert_approx_eq::<f32>(&reference.to_data(), Tolerance::absolute(1e-5));
    }
}
