//! A part of a loss with its gradient in closed form.

use burn::tensor::Tensor;

/// A part of a loss with its gradient in the logits; no tensor tracks gradients.
///
/// At each position, the gradient in the logit of a is
///
/// ```text
/// dense(a) + p(a) [policy + excess (log p(a) - max(log p_T(a), reward_floor))] + teacher p_T(a) + target 1[a = y]
/// ```
///
/// and that in the help logit is `help`. `p` and `p_T` are the student's and the teacher's distributions over the words, and
/// y is the target. One number for each position takes far less memory and time than one for each word.
pub(crate) struct LossTerm {
    /// The value, summed over the target tokens, `[1]`.
    pub(super) value: Tensor<1>,
    /// The part with one number for each word, `[n, vocab]` with n = batch x time positions; None for 0. All parts can
    /// have any value at padding.
    pub(super) dense: Option<Tensor<2>>,
    /// The factors of the other parts, `[n, 1]`; None for 0.
    pub(super) policy: Option<Tensor<2>>,
    /// With the floor of the rewards.
    pub(super) excess: Option<(Tensor<2>, f64)>,
    pub(super) teacher: Option<Tensor<2>>,
    pub(super) target: Option<Tensor<2>>,
    pub(super) help: Option<Tensor<2>>,
}

impl LossTerm {
    /// A term without a gradient.
    pub(super) fn new(value: Tensor<1>) -> Self {
        Self { value, dense: None, policy: None, excess: None, teacher: None, target: None, help: None }
    }

    /// This term multiplied by `weight`.
    pub(super) fn times(self, weight: f64) -> Self {
        if weight == 1.0 {
            return self;
        }
        let times = |part: Tensor<2>| part * weight;
        Self {
            value: self.value * weight,
            dense: self.dense.map(times),
            policy: self.policy.map(times),
            excess: self.excess.map(|(factor, floor)| (times(factor), floor)),
            teacher: self.teacher.map(times),
            target: self.target.map(times),
            help: self.help.map(times),
        }
    }

    /// The sum of two terms.
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = |one: Option<Tensor<2>>, other: Option<Tensor<2>>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        Self {
            value: self.value + other.value,
            dense: sum(self.dense, other.dense),
            policy: sum(self.policy, other.policy),
            excess: match (self.excess, other.excess) {
                (Some((one, floor)), Some((other, other_floor))) => {
                    assert!(floor == other_floor, "the terms of an objective have one floor of rewards");
                    Some((one + other, floor))
                }
                (one, other) => one.or(other),
            },
            teacher: sum(self.teacher, other.teacher),
            target: sum(self.target, other.target),
            help: sum(self.help, other.help),
        }
    }
}

/// Huber's loss, summed over all residuals, and its gradient in each residual.
///
/// The loss of a residual r is `r^2 / 2` up to `threshold`, and `threshold (|r| - threshold / 2)` beyond it.
pub(super) fn huber(residual: Tensor<2>, threshold: f64) -> (Tensor<1>, Tensor<2>) {
    let gradient = residual.clone().clamp(-threshold, threshold);
    ((gradient.clone() * (residual - gradient.clone() * 0.5)).sum(), gradient)
}
