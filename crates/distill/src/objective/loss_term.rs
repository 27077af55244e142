//! A part of a loss with its gradient in closed form.

use burn::tensor::Tensor;

/// A part of a loss with its gradient in the logits; no tensor tracks gradients.
pub(crate) struct LossTerm {
    /// The value, summed over the target tokens, `[1]`.
    pub(super) value: Tensor<1>,
    /// The gradient in the logits, `[n, vocab]` with n = batch x time positions; 0 at padding.
    pub(super) gradient: Tensor<2>,
}

impl LossTerm {
    /// This term multiplied by `weight`.
    pub(super) fn times(self, weight: f64) -> Self {
        Self { value: self.value * weight, gradient: self.gradient * weight }
    }

    /// The sum of two terms.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, gradient: self.gradient + other.gradient }
    }
}

/// Huber's loss, summed over all residuals, and its gradient in each residual.
///
/// The loss of a residual r is `r^2 / 2` up to `threshold`, and `threshold (|r| - threshold / 2)` beyond it.
pub(super) fn huber(residual: Tensor<2>, threshold: f64) -> (Tensor<1>, Tensor<2>) {
    let gradient = residual.clone().clamp(-threshold, threshold);
    ((gradient.clone() * (residual - gradient.clone() * 0.5)).sum(), gradient)
}
