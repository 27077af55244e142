//! Diagnostics: how well a student's log-odds of asking follow its divergence from the teacher.

use burn::module::Module;
use burn::tensor::Tensor;
use wheels_lm::LanguageModel;
use wheels_student::{LagrangeMultiplier, Prices, Student};

use crate::config::default_positions;
use crate::objective::all_action_consistency::words_loss;
use crate::objective::distributions::Distributions;
use crate::read_batch::BatchModels;
use crate::{Rollout, RolloutSampler};

/// The lowest reward in a divergence, nats, as in the objectives. Lower log-probs of the teacher count as this one.
const REWARD_FLOOR: f64 = -10.0;

/// A student's log-odds of asking and its divergence from the teacher, at one token of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AskSample {
    /// z, the log-odds of asking, nats. Minus infinity for a student without a help token.
    pub log_odds: f64,
    /// D, the divergence of the student's distribution from the teacher's, nats.
    pub divergence: f64,
}

/// One sample for each token of a rollout: row after row, without padding.
///
/// # Panics
/// If the teacher has not read the rollout.
pub fn ask_samples<M, T>(sampler: &RolloutSampler<'_, T>, student: &Student<M>, rollout: &Rollout) -> Vec<AskSample>
where
    M: Module + LanguageModel,
    T: LanguageModel + Sync,
{
    // Neither number depends on the prices, so any prices will do.
    let free = [0.0, 1.0].map(|budget| LagrangeMultiplier { budget, price: 0.0 });
    let prices = Prices::new(free.into()).expect("the levels are 0 and 1");
    let batch = sampler.batch(rollout, &prices);
    let models = BatchModels { student, target_network: None, teacher: Some(sampler) };
    let read = |values: Tensor<2>| values.into_data().iter::<f64>().collect::<Vec<f64>>();
    let (mut log_odds, mut divergences) = (Vec::new(), Vec::new());
    for chunk in models.read(&batch).positions_in_chunks(default_positions(student.spec().vocab_size)) {
        let distributions = Distributions::new(&models.score(&chunk));
        let divergence = read(words_loss(&distributions, REWARD_FLOOR).1);
        log_odds.extend(match distributions.help {
            Some(help) => read(help.log_odds),
            None => vec![f64::NEG_INFINITY; divergence.len()],
        });
        divergences.extend(divergence);
    }
    let samples = log_odds.into_iter().zip(divergences);
    samples.map(|(log_odds, divergence)| AskSample { log_odds, divergence }).collect()
}
