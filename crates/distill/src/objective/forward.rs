//! Word-level knowledge distillation.

use super::laws::{Laws, Term};
use super::{Loss, Objective};
use crate::Scored;

/// The forward KL from teacher to student over words (word-level knowledge distillation; Kim and Rush 2016, arXiv
/// 1606.07947, section 3.1):
///
/// ```text
/// sum_t sum_a p_T(a) [ log p_T(a) - log p(a) ]
/// ```
///
/// Its gradient in the logits is `p - p_T`. A help column takes no part.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardKl;

pub(super) fn term(laws: &Laws) -> Term {
    let teacher = laws.teacher.clone().exp();
    let value = (teacher.clone() * (laws.teacher.clone() - laws.log_probs.clone())).sum_dim(1);
    laws.term(value, laws.probs.clone() - teacher)
}

impl Objective for ForwardKl {
    fn loss(&self, scored: &Scored) -> Loss {
        let laws = Laws::new(scored);
        laws.loss(scored, term(&laws), vec![])
    }
}
