//! The optimizer.

#[cfg(feature = "cpu")]
use burn::optim::AdaptiveMomentumState;
use burn::optim::LearningRate;
use burn::optim::{AdamW, AdamWConfig, AdamWState, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::TrainerConfig;

/// burn's default.
const BETA_1: f32 = 0.9;

/// burn's AdamW. On the CPU, a step is one pass over memory, with the same numbers. The state is burn's on every device.
#[derive(Clone)]
#[cfg_attr(not(feature = "cpu"), expect(dead_code, reason = "only the step on the CPU reads all fields"))]
pub(crate) struct FastAdamW {
    burn: AdamW,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
}

impl FastAdamW {
    pub(crate) fn new(config: &TrainerConfig) -> Self {
        let TrainerConfig { beta_2, epsilon, weight_decay, .. } = *config;
        let burn = AdamWConfig::new()
            .with_beta_1(BETA_1)
            .with_beta_2(beta_2)
            .with_epsilon(epsilon)
            .with_weight_decay(weight_decay)
            .build();
        Self { burn, beta_2, epsilon, weight_decay }
    }
}

impl Optimizer for FastAdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        #[cfg(feature = "cpu")]
        if wheels_cpu::is_f32(&weight) && wheels_cpu::is_f32(&gradient) {
            let time = state.as_ref().map_or(0, |state| state.momentum.time) + 1;
            let moments = state.map(|AdamWState { momentum }| [momentum.moment_1, momentum.moment_2]);
            let Self { beta_2, epsilon, weight_decay, .. } = *self;
            let step = wheels_cpu::AdamWStep { beta_1: BETA_1, beta_2, epsilon, learning_rate, weight_decay, time };
            let [weight, moment_1, moment_2] = wheels_cpu::adamw(weight, gradient, moments, step);
            let momentum = AdaptiveMomentumState::new(time, moment_1, moment_2);
            return (weight, Some(AdamWState::new(momentum)));
        }
        self.burn.step(learning_rate, weight, gradient, state)
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamW::to_device(state, device)
    }
}
