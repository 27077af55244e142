//! Generalized knowledge distillation (GKD).

use burn::config::Config;

use super::all_action_consistency::words_loss;
use super::distributions::Distributions;
use super::forward_kl::forward_kl;
use super::loss_term::LossTerm;
use super::{Loss, LossScope, Objective, Requirements};
use crate::Scored;

/// The generalized Jensen-Shannon divergence of GKD (Agarwal et al. 2024, arXiv 2306.13649, equation 1).
///
/// With the mixture `m = beta p_T + (1 - beta) p`,
///
/// ```text
/// L = sum_t [ beta KL(p_T || m) + (1 - beta) KL(p || m) ]
/// ```
///
/// Its gradient in the logits is `(1 - beta) p (log(p / m) - sum_a p log(p / m))`.
///
/// With `beta` 0 the loss is the forward KL, and with `beta` 1 the reverse KL. These are the limits of the divergence
/// divided by `beta`, and divided by `1 - beta`.
///
/// GKD also sets the fraction of texts that the student writes. Here the [`Mixture`](crate::Mixture) sets it.
#[derive(Config, Debug, Copy)]
pub struct GeneralizedJsd {
    /// The weight of the teacher in the mixture, a fraction from 0 to 1.
    #[config(default = 0.5)]
    pub beta: f64,
}

impl Objective for GeneralizedJsd {
    fn requirements(&self) -> Requirements {
        Requirements { teacher: true, ..Requirements::default() }
    }

    fn scope(&self) -> LossScope {
        LossScope::Position
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let distributions = Distributions::new(scored);
        let beta = self.beta;
        let term = if beta <= 0.0 {
            forward_kl(&distributions)
        } else if beta >= 1.0 {
            // The reverse KL has the gradient of `L_words`.
            let (words, divergence) = words_loss(&distributions, f64::NEG_INFINITY);
            LossTerm { value: distributions.masked_sum(divergence), ..words }
        } else {
            let [divergence, gradient] = distributions.words.generalized_jsd(beta);
            distributions.dense_term(divergence, gradient)
        };
        distributions.into_loss(scored, term, vec![])
    }
}
