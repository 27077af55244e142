//! From a teacher's logits to its distribution.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

/// Added to the logits of tokens that are excluded from the teacher's distribution.
const CLOSED: f32 = -1e9;

/// A teacher's log-probs from its logits, nats, without the excluded tokens and at a temperature.
///
/// # Shapes
/// `[positions, vocab]` to `[positions, vocab]`.
pub(crate) fn teacher_log_probs(logits: Tensor<2>, excluded: &[u32], temperature: f64) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if wheels_cpu::computes(&logits) {
        return wheels_cpu::log_softmax(logits, excluded, temperature);
    }
    let [_, vocab_size] = logits.dims();
    let mut closed = vec![0.0_f32; vocab_size];
    for &id in excluded {
        if let Some(logit) = closed.get_mut(id as usize) {
            *logit = CLOSED;
        }
    }
    let closed = Tensor::<2>::from_data(TensorData::new(closed, [1, vocab_size]), &logits.device());
    log_softmax((logits + closed) / temperature, 1)
}
