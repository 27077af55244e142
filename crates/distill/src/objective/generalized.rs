//! Generalized knowledge distillation.

use burn::config::Config;

use super::laws::{Laws, Term};
use super::{Loss, Objective, all_action, forward};
use crate::Scored;

/// The generalized Jensen-Shannon divergence of GKD (Agarwal et al. 2024, arXiv 2306.13649, equation 1): with the
/// mixture `m = beta p_T + (1 - beta) p`,
///
/// ```text
/// sum_t [ beta KL(p_T || m) + (1 - beta) KL(p || m) ]
/// ```
///
/// `beta` 0 stands for the forward KL and 1 for the reverse, its limits after division by beta or 1 - beta. Its
/// gradient in the logits is `(1 - beta) p (log(p / m) - sum_a p log(p / m))`. How many of the paths are the student's
/// own is the affair of the [`Mixture`](crate::Mixture).
#[derive(Config, Debug, Copy)]
pub struct GeneralizedJsd {
    /// The weight of the teacher in the mixture, 0 to 1.
    #[config(default = 0.5)]
    pub beta: f64,
}

impl Objective for GeneralizedJsd {
    fn loss(&self, scored: &Scored) -> Loss {
        let laws = Laws::new(scored);
        let beta = self.beta;
        let term = if beta <= 0.0 {
            forward::term(&laws)
        } else if beta >= 1.0 {
            // The reverse KL: its gradient is that of `L_words`.
            let (words, distance) = all_action::words(&laws, f64::NEG_INFINITY);
            Term { value: laws.sum(distance), ..words }
        } else {
            let (own, teacher) = (laws.probs.clone(), laws.teacher.clone().exp());
            let mixture = (teacher.clone() * beta + own.clone() * (1.0 - beta)).clamp_min(1e-30).log();
            let mine = own.clone() * (laws.log_probs.clone() - mixture.clone());
            let kl = mine.clone().sum_dim(1);
            let others = (teacher * (laws.teacher.clone() - mixture)).sum_dim(1);
            let slope = (mine - own * kl.clone()) * (1.0 - beta);
            laws.term(others * beta + kl * (1.0 - beta), slope)
        };
        laws.loss(scored, term, vec![])
    }
}
