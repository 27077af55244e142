//! Exact solutions of small tabular problems, with which tests compare objectives and trainers.
//!
//! A [`TabularProblem`] is the entropy-regularised problem of distillation with help. Its language models are small
//! tables ([`TabularDistribution`]). Dynamic programming over every state, from the last position to the first, gives
//! the optimal values, the optimal policy and the log-odds of asking ([`TabularSolution`]). A pass from the first
//! position to the last gives the expected length of a text and its expected help ([`ExpectedUse`]). All numbers are
//! `f64` on the host.
//!
//! The reward of a word is `r(a) = log p_T(a | s)`, and that of help is `-price`. If the problem is
//! [normalised](TabularProblem::normalised), each step is charged `k = alpha log(1 + exp(-price / alpha))`. Otherwise
//! `k = 0`. The values are (our derivation, after Nachum et al. 2017, arXiv 1702.08892, section 3):
//! 0. The values are (our derivation, after Nachum et al. 2017, arXiv 1702.08892, section 3):
//!
//! ```text
//! Q(s, a)    = r(a) - k + V(s a)                     for a word a of the student
//! Q(s, help) = -price - k + E_y[V(s y)]              for an answer y of the teacher
//! V(s)       = alpha log( sum_a exp(Q(s, a) / alpha) + exp(Q(s, help) / alpha) )
//! ```
//!
//! If the student's words are [fixed](WordPolicy::Fixed) to a distribution `p_S`, the sum over words becomes one term:
//! `exp(E_S[Q(s, a) - alpha log p_S(a)] / alpha)`. With an alpha of 1, the log-odds of asking are then
//! `D(s) - price + E_y[V(s y)] - E_S[V(s a)]`. D is the reverse KL from the student to the teacher.

mod tabular_distribution;
mod tabular_problem;
mod tabular_solution;

pub use crate::price::ascent::{Usage, ascend};
pub use tabular_distribution::TabularDistribution;
pub use tabular_problem::{AnswerRule, TabularAction, TabularProblem, WordPolicy};
pub use tabular_solution::{ExpectedUse, TabularSolution};

/// `log sum_i exp(values_i)`; minus infinity for no values.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY { max } else { max + values.map(|value| (value - max).exp()).sum::<f64>().ln() }
}
