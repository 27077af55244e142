//! Diagnostics: how well a student's log-odds of asking follow its divergence and its regret.

use burn::module::Module;
use burn::tensor::Tensor;
use wheels_lm::{Hidden, LanguageModel};
use wheels_student::{LagrangeMultiplier, Prices, Student};

use crate::config::default_positions;
use crate::objective::all_action_consistency::{regret, words_loss};
use crate::objective::distributions::Distributions;
use crate::read_batch::BatchModels;
use crate::{Rollout, RolloutSampler};

/// The lowest reward in a divergence, nats, as in the objectives. Lower log-probs of the teacher count as this one.
const REWARD_FLOOR: f64 = -10.0;

/// What a student and its teacher say about one token of a text, before it is written. All numbers are in nats, and the
/// teacher's log-probs are those at the sampler's `teacher_temperature`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AskSample {
    /// z, the log-odds of asking. Minus infinity for a student without a help token.
    pub log_odds: f64,
    /// D, the divergence of the student's distribution from the teacher's.
    pub divergence: f64,
    /// What the student's choice loses: the teacher's log-prob of its own most likely token, minus its log-prob of the
    /// student's most likely token. It is 0 if the two tokens are the same.
    pub regret: f64,
    /// The log-prob of the student's most likely token.
    pub max_log_prob: f64,
    /// The entropy of the student's distribution.
    pub entropy: f64,
}

/// The samples of each row of a rollout, one for each token that is a choice: all but a forced first one
/// (`forced_bos_token_id`). Blocked n-grams count as choices.
///
/// # Panics
/// If the teacher has not read the rollout.
pub fn ask_samples<M, T>(
    sampler: &RolloutSampler<'_, T>,
    student: &Student<M>,
    rollout: &Rollout,
) -> Vec<Vec<AskSample>>
where
    M: Module + LanguageModel,
    T: LanguageModel + Sync,
{
    each_position(sampler, student, rollout, |distributions, _, _| {
        let [max_log_prob, entropy] = distributions.words.confidence();
        let columns = [words_loss(distributions, REWARD_FLOOR).1, regret(distributions), max_log_prob, entropy];
        let log_odds = distributions.help.as_ref().map(|help| numbers(help.log_odds.clone()));
        let positions = numbers(Tensor::cat(columns.to_vec(), 1));
        let positions = positions.chunks_exact(columns.len()).enumerate().map(|(index, position)| {
            let &[divergence, regret, max_log_prob, entropy] = position else { unreachable!("four columns") };
            let log_odds = log_odds.as_ref().map_or(f64::NEG_INFINITY, |log_odds| log_odds[index]);
            AskSample { log_odds, divergence, regret, max_log_prob, entropy }
        });
        positions.collect()
    })
}

/// The divergence at each choice in a rollout, nats.
pub(crate) fn divergences<M, T>(sampler: &RolloutSampler<'_, T>, student: &Student<M>, rollout: &Rollout) -> Vec<f64>
where
    M: Module + LanguageModel,
    T: LanguageModel + Sync,
{
    let of =
        |distributions: &Distributions, _: &Hidden, _: Tensor<2>| numbers(words_loss(distributions, REWARD_FLOOR).1);
    each_position(sampler, student, rollout, of).concat()
}

/// What `read` makes of the positions of a rollout, row by row, without forced first tokens. It gets some positions at a
/// time, with their hidden states and the student's logits `[positions, vocab]`, and returns one value for each.
pub(crate) fn each_position<M, T, R>(
    sampler: &RolloutSampler<'_, T>,
    student: &Student<M>,
    rollout: &Rollout,
    read: impl Fn(&Distributions, &Hidden, Tensor<2>) -> Vec<R>,
) -> Vec<Vec<R>>
where
    M: Module + LanguageModel,
    T: LanguageModel + Sync,
{
    // What is read does not depend on the prices, so any prices will do.
    let free = [0.0, 1.0].map(|budget| LagrangeMultiplier { budget, price: 0.0 });
    let prices = Prices::new(free.into()).expect("the levels are 0 and 1");
    let batch = sampler.batch(rollout, &prices);
    let models = BatchModels { student, target_network: None, teacher: Some(sampler) };
    let vocab_size = student.spec().vocab_size;
    let mut values = Vec::new();
    for chunk in models.read(&batch).positions_in_chunks(default_positions(vocab_size)) {
        let scored = models.score(&chunk);
        let logits = scored.logits.clone().reshape([chunk.positions.len(), vocab_size]);
        values.extend(read(&Distributions::new(&scored), &chunk.hidden, logits));
    }
    let mut values = values.into_iter();
    let forced = usize::from(sampler.config().forced_bos_token_id.is_some());
    rollout.rows.iter().map(|row| values.by_ref().take(row.tokens.len()).skip(forced).collect()).collect()
}

fn numbers(values: Tensor<2>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}
