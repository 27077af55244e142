//! Word-level knowledge distillation.

use super::distributions::Distributions;
use super::loss_term::LossTerm;
use super::{Loss, LossScope, Objective, Requirements};
use crate::Scored;

/// The forward KL from the teacher to the student over words: word-level knowledge distillation (Kim and Rush 2016,
/// arXiv 1606.07947, section 3.1).
///
/// ```text
/// L = sum_t sum_a p_T(a) [ log p_T(a) - log p(a) ]
/// ```
///
/// Its gradient in the logits is `p - p_T`. The help column is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardKl;

impl Objective for ForwardKl {
    fn requirements(&self) -> Requirements {
        Requirements { teacher: true, ..Requirements::default() }
    }

    fn scope(&self) -> LossScope {
        LossScope::Position
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let distributions = Distributions::new(scored);
        let term = forward_kl(&distributions);
        distributions.into_loss(scored, term, vec![])
    }
}

/// The forward KL with its gradient.
pub(super) fn forward_kl(distributions: &Distributions) -> LossTerm {
    let divergence = distributions.words.forward_kl();
    let one = divergence.ones_like();
    LossTerm {
        teacher: Some(one.clone().neg()),
        policy: Some(one),
        ..LossTerm::new(distributions.masked_sum(divergence))
    }
}
