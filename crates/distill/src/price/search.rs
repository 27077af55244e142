//! The search for the prices of help.

use burn::module::Module;
use wheels_decode::{Confidence, DecodeStats, Decoder, Policy, ThresholdSearch};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_student::{Prices, Student};
use wheels_text::{HelpBudget, Prompt, Seed};

use super::quantile_prices;
use crate::{DistillError, RolloutSampler, WorkProgress, Workers};

/// Half the width of the interval that is searched, nats. Its centre is the mean price that the student reads in the
/// prompts.
const REACH: f64 = 4.0;

/// The search for a price ends when the help rate differs from the budget by no more than this.
const TOLERANCE: f64 = 0.003;

/// The number of texts that are decoded together.
const BATCH_SIZE: usize = 32;

/// The largest number of prices to try at each level.
const MAX_TRIALS: usize = 12;

/// Prompts of similar length, which are decoded together.
struct TextBatch {
    prompts: Vec<Prompt>,
    max_new_tokens: usize,
}

/// Finds the prices with which a student uses each budget exactly, without further training.
///
/// Each level is searched alone: at the optimum of a constraint with a positive multiplier, the help rate
/// equals the budget (complementary slackness). Dual ascent estimates help rates from a few rollouts, so its prices are
/// noisy. This search measures the help rate with each price on `texts` texts of the sampler, which the student writes
/// greedily. Their prompts state the budget in all wordings of the config. The progress is counted in prices that are
/// tried.
///
/// # Errors
/// [`DistillError::Levels`] if the budget levels are invalid, and any error of prompts and of decoding.
pub(crate) fn search<M, T>(
    sampler: &RolloutSampler<'_, T>,
    student: &Student<M>,
    texts: usize,
    workers: &Workers,
    on_progress: &mut dyn FnMut(WorkProgress),
) -> Result<Prices, DistillError>
where
    M: Module + LanguageModel + Sync,
    T: LanguageModel + Sync,
{
    let config = sampler.config();
    let drawn = draw(sampler, texts.max(1));
    let plans: Vec<&[usize]> = drawn.chunks(BATCH_SIZE).collect();
    let mut prices = quantile_prices(&config.constraint, vec![])?;
    let searched = prices.levels().len() - 2;
    let mut progress = WorkProgress { work: "price search", done: 0, total: searched * MAX_TRIALS };
    on_progress(progress);
    for level in 1..=searched {
        let budget = prices.levels()[level].budget;
        let texts = text_batches(sampler, &plans, HelpBudget::percent((100.0 * budget).round() as u8))?;
        let stated = mean_price(student, &texts, sampler.pad());
        let search = ThresholdSearch {
            lowest_rate: REACH,
            highest_rate: -REACH,
            start: 0.0,
            step: REACH / 2.0,
            tolerance: TOLERANCE,
            max_trials: MAX_TRIALS,
        };
        let found = search.find(budget, |threshold| {
            let rate = help_rate(sampler, student, &texts, threshold, workers)?;
            progress.done += 1;
            on_progress(progress);
            Ok::<_, DistillError>((rate, ()))
        })?;
        progress.done = level * MAX_TRIALS;
        on_progress(progress);
        let price = (stated + found.threshold).clamp(0.0, config.constraint.max_price);
        prices.set_price(level, price);
        let missed = (found.rate - budget).abs() > 10.0 * TOLERANCE;
        log::log!(
            if missed { log::Level::Warn } else { log::Level::Info },
            "budget {:.1}%: {:.1}% of tokens are helped at a price of {price:.2} nats",
            100.0 * budget,
            100.0 * found.rate,
        );
    }
    Ok(prices)
}

/// Some pairs, drawn at random, in the order of their lengths.
fn draw<T: LanguageModel + Sync>(sampler: &RolloutSampler<'_, T>, count: usize) -> Vec<usize> {
    let prompts = sampler.prompts();
    let mut rng = Seed(sampler.config().seed).stream("price-search").rng();
    let mut drawn = rand::seq::index::sample(&mut rng, prompts.count(), count.min(prompts.count())).into_vec();
    drawn.sort_by_key(|&index| prompts.lengths(index));
    drawn
}

/// The prompts of each plan under one budget. A plan is a list of pairs. The wordings take turns.
fn text_batches<T: LanguageModel + Sync>(
    sampler: &RolloutSampler<'_, T>,
    plans: &[&[usize]],
    budget: HelpBudget,
) -> Result<Vec<TextBatch>, DistillError> {
    let mut wordings = sampler.config().wordings.iter().cycle();
    let mut batches = Vec::with_capacity(plans.len());
    for plan in plans {
        let (mut prompts, mut longest) = (Vec::with_capacity(plan.len()), 0);
        for &index in *plan {
            let wording = *wordings.next().expect("the config has wordings");
            prompts.push(sampler.prompts().prompt(index, budget, wording)?);
            longest = longest.max(sampler.prompts().lengths(index).1);
        }
        batches.push(TextBatch { prompts, max_new_tokens: sampler.config().max_new_tokens(longest) });
    }
    Ok(batches)
}

/// The fraction of tokens that are helped if the student asks when its log-odds exceed a threshold.
fn help_rate<M, T>(
    sampler: &RolloutSampler<'_, T>,
    student: &Student<M>,
    texts: &[TextBatch],
    threshold: f64,
    workers: &Workers,
) -> Result<f64, DistillError>
where
    M: Module + LanguageModel + Sync,
    T: LanguageModel + Sync,
{
    let rule = Confidence::HelpLogOdds.below(threshold);
    let chunks = workers.map_chunks(texts, |chunk| {
        let mut stats = DecodeStats::default();
        for TextBatch { prompts, max_new_tokens } in chunk {
            let decoder = sampler.decoder(Policy::greedy(student).with_help_rule(rule))?;
            let decoder = decoder.with_max_new_tokens(*max_new_tokens).with_batch_size(prompts.len());
            stats += decoder.decode(prompts, Seed(sampler.config().seed))?.stats;
        }
        Ok::<_, DistillError>(stats)
    });
    let mut total = DecodeStats::default();
    for stats in chunks {
        total += stats?;
    }
    Ok(total.help_rate())
}

/// The mean price that a student reads in the prompts, nats; 0 for a student without heads.
fn mean_price<M: Module + LanguageModel>(student: &Student<M>, texts: &[TextBatch], pad: u32) -> f64 {
    let mut prompts: Vec<&[u32]> = Vec::new();
    for batch in texts {
        prompts.extend(batch.prompts.iter().map(|prompt| prompt.student.as_slice()));
    }
    match student.prices(&TokenBatch::new(&prompts, pad)) {
        Some(prices) => prices.into_data().iter::<f64>().sum::<f64>() / prompts.len() as f64,
        None => 0.0,
    }
}
