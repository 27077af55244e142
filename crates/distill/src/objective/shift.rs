//! Shifts along the time axis.

use burn::tensor::Tensor;

/// Moves the values of each row `steps` positions towards the start: position t gets the value of position t + `steps`.
/// Positions without such a value get 0.
///
/// # Shapes
/// `[batch, time]` to `[batch, time]`.
pub(super) fn shift_left(values: &Tensor<2>, steps: usize) -> Tensor<2> {
    let [batch, time] = values.dims();
    let steps = steps.min(time);
    let gap = Tensor::zeros([batch, steps], &values.device());
    if steps == time { gap } else { Tensor::cat(vec![values.clone().narrow(1, steps, time - steps), gap], 1) }
}

/// Moves the values of each row `steps` positions towards the end: position t gets the value of position t - `steps`.
/// Positions without such a value get 0.
///
/// # Shapes
/// `[batch, time]` to `[batch, time]`.
pub(super) fn shift_right(values: &Tensor<2>, steps: usize) -> Tensor<2> {
    let [batch, time] = values.dims();
    let steps = steps.min(time);
    let gap = Tensor::zeros([batch, steps], &values.device());
    if steps == time { gap } else { Tensor::cat(vec![gap, values.clone().narrow(1, 0, time - steps)], 1) }
}
