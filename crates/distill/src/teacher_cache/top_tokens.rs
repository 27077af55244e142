//! The most likely tokens of a teacher, from its log-probs.

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};

use crate::rollout::MIN_LOG_PROB;

/// The most likely tokens at some positions, and the mass of all others.
pub(super) struct TopTokens {
    /// `[positions, k]`.
    pub(super) ids: TensorData,
    /// Nats, `[positions, k]`.
    pub(super) log_probs: TensorData,
    /// The log of the mass of all other tokens, nats, `[positions, 1]`.
    pub(super) tail: TensorData,
}

impl TopTokens {
    /// The k most likely tokens of each row of log-probs, `[positions, vocab]`. They are chosen on the host if the device
    /// is the CPU, whose tensors are read in place, and else on the device.
    pub(super) fn of(log_probs: Tensor<2>, k: usize) -> Self {
        // A backend with a memory of its own reports the state of its allocator.
        match log_probs.device().memory_pool_usage() {
            Some(_) => Self::on_device(log_probs, k),
            None => Self::on_host(log_probs, k),
        }
    }

    fn on_device(all: Tensor<2>, k: usize) -> Self {
        let probs = all.clone().exp();
        let (log_probs, ids) = all.topk_with_indices(k, 1);
        // The mass of the others is added up. One minus the mass of the top k would lose the digits of a small rest.
        let top = probs.clone().gather(1, ids.clone());
        let others = probs.scatter(1, ids.clone(), top.neg(), IndexingUpdateOp::Add);
        let tail = others.sum_dim(1).log().clamp_min(MIN_LOG_PROB);
        let log_probs = log_probs.clamp_min(MIN_LOG_PROB);
        Self { ids: ids.into_data(), log_probs: log_probs.into_data(), tail: tail.into_data() }
    }

    fn on_host(all: Tensor<2>, k: usize) -> Self {
        let [positions, vocab_size] = all.dims();
        let all = all.into_data().convert::<f32>();
        let all = all.as_slice::<f32>().expect("the log-probs were converted to f32");
        let (mut ids, mut log_probs) = (Vec::with_capacity(positions * k), Vec::with_capacity(positions * k));
        let mut tail = Vec::with_capacity(positions);
        let mut order: Vec<u32> = Vec::with_capacity(vocab_size);
        for row in all.chunks_exact(vocab_size) {
            order.clear();
            order.extend(0..vocab_size as u32);
            let log_prob = |id: u32| row[id as usize];
            // Of equal log-probs, the smaller id comes first, so that the choice is the same on every machine.
            order.select_nth_unstable_by(k - 1, |&a, &b| log_prob(b).total_cmp(&log_prob(a)).then(a.cmp(&b)));
            let (top, others) = order.split_at_mut(k);
            top.sort_unstable();
            let mass: f64 = others.iter().map(|&id| f64::from(log_prob(id)).exp()).sum();
            tail.push(mass.ln().max(MIN_LOG_PROB) as f32);
            log_probs.extend(top.iter().map(|&id| log_prob(id).max(MIN_LOG_PROB as f32)));
            ids.extend_from_slice(top);
        }
        Self {
            ids: TensorData::new(ids, [positions, k]),
            log_probs: TensorData::new(log_probs, [positions, k]),
            tail: TensorData::new(tail, [positions, 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::activation::log_softmax;

    use super::*;

    #[test]
    fn the_host_and_a_device_choose_the_same_tokens() {
        let logits: Vec<f32> = (0..6 * 50).map(|i| ((i * 7919) % 997) as f32 / 30.0).collect();
        let logits = Tensor::<2>::from_data(TensorData::new(logits, [6, 50]), &Device::flex());
        let log_probs = log_softmax(logits, 1);
        for k in [1, 5, 49] {
            let [host, device] = [TopTokens::on_host, TopTokens::on_device].map(|choose| choose(log_probs.clone(), k));
            let read = |data: &TensorData| data.iter::<f64>().collect::<Vec<f64>>();
            for row in 0..6 {
                let sorted = |top: &TopTokens| {
                    let rows = row * k..(row + 1) * k;
                    let (ids, log_probs) = (read(&top.ids), read(&top.log_probs));
                    let mut pairs: Vec<_> = rows.map(|at| (ids[at] as u32, log_probs[at])).collect();
                    pairs.sort_by_key(|pair| pair.0);
                    pairs
                };
                assert_eq!(sorted(&host), sorted(&device), "k = {k}, row {row}");
                // The host adds in double precision.
                let [host, device] = [&host, &device].map(|top| read(&top.tail)[row]);
                assert!((host - device).abs() < 1e-5, "k = {k}, row {row}: {host} and {device}");
            }
        }
    }
}
