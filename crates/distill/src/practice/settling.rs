//! Prices that a student's own texts ask for.

use wheels_decode::{Asking, Bisection, DecodeStats, Decoder, Measure, Sampler};
use wheels_lm::{LanguageModel, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed};

use super::{Practice, room};
use crate::{Batches, DistillError, Learner, Prices, Workers};

/// Where prices are looked for, nats around what the student reads in the words of a budget.
const REACH: f64 = 4.0;

/// How near to a budget is near enough, as a share of the tokens.
const TOLERANCE: f64 = 0.003;

/// The most prices that are tried at each level.
const GUESSES: usize = 12;

/// Texts of like lengths that are to be written.
struct Writing {
    prompts: Vec<Prompt>,
    max_tokens: usize,
}

impl<T: LanguageModel + Sync> Practice<'_, T> {
    /// The prices at which a student as it is uses its budgets, each found by bisection: complementary slackness solved
    /// for one multiplier after the other, on texts that it writes under the deployed rule, in all wordings.
    ///
    /// Dual ascent moves prices by what a few texts used, so that the last ones are as noisy as these texts; here each
    /// price rests on all `settled_on` of them.
    pub(super) fn settled_prices<M: Learner + Sync>(
        &self,
        model: &M,
        workers: &Workers,
    ) -> Result<Prices, DistillError> {
        let seed = Seed(self.config.seed).stream("settling");
        let mut batches = Batches::new(self.pairs, self.config.batch_tokens, self.teacher.spec().pad, seed)?;
        let (mut plans, mut texts) = (Vec::new(), 0);
        while texts < self.config.constraint.settled_on {
            let plan = batches.next_indices();
            texts += plan.len();
            plans.push(plan);
        }
        let mut prices = Prices::from_distances(&self.config.constraint, vec![]);
        for multiplier in prices.inner_mut() {
            let budget = multiplier.budget;
            let writings = self.writings(&plans, HelpBudget::percent((100.0 * budget).round() as u8))?;
            let read = read_price(model, &writings, self.teacher.spec().pad);
            let search = Bisection { seldom: REACH, often: -REACH, tolerance: TOLERANCE, guesses: GUESSES };
            let (beyond, used) = search.search(budget, |beyond| {
                let used = self.used(model, &writings, beyond, workers)?;
                Ok::<_, DistillError>((used, used))
            })?;
            multiplier.price = (read + beyond).clamp(0.0, self.config.constraint.max_price);
            let level = if (used - budget).abs() > 10.0 * TOLERANCE { log::Level::Warn } else { log::Level::Info };
            let [budget, used] = [budget, used].map(|share| 100.0 * share);
            log::log!(
                level,
                "budget {budget:.0}%: {used:.1}% of the tokens used at a price of {:.2} nats",
                multiplier.price
            );
        }
        Ok(prices)
    }

    /// The prompts of each plan under a budget, in one wording after the other.
    fn writings(&self, plans: &[Vec<u32>], budget: HelpBudget) -> Result<Vec<Writing>, DistillError> {
        let mut wordings = self.config.wordings.iter().cycle();
        let mut writing = |plan: &Vec<u32>| {
            let plan = || plan.iter().map(|&index| index as usize);
            let longest = plan().map(|index| self.pairs[index].target.len()).max().unwrap_or(0);
            let wording = || *wordings.next().expect("practice has wordings");
            let prompts = plan().zip(std::iter::repeat_with(wording));
            let prompts = prompts.map(|(index, wording)| self.make_prompt(index, budget, wording));
            Ok(Writing { prompts: prompts.collect::<Result<_, _>>()?, max_tokens: room(longest) })
        };
        plans.iter().map(&mut writing).collect()
    }

    /// The share of the tokens that are helped where the student asks past so many nats of its own log-odds.
    fn used<M: Learner + Sync>(
        &self,
        model: &M,
        writings: &[Writing],
        beyond: f64,
        workers: &Workers,
    ) -> Result<f64, DistillError> {
        let asking = Asking::Confidence { measure: Measure::HelpLogOdds, threshold: beyond };
        let shares = workers.share(writings, |writings| {
            let write = |Writing { prompts, max_tokens }: &Writing| {
                let decoder = self.decoder(model, Sampler::Greedy, asking);
                let decoder = decoder.max_tokens(*max_tokens).batch_size(prompts.len());
                Ok(decoder.decode(prompts, Seed(self.config.seed))?.stats)
            };
            writings.iter().map(write).collect::<Result<Vec<_>, DistillError>>()
        });
        let stats = shares.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(stats.into_iter().flatten().sum::<DecodeStats>().help_rate())
    }
}

/// The mean price that a student reads in prompts, nats; 0 for one that reads none.
fn read_price<M: Learner>(model: &M, writings: &[Writing], pad: u32) -> f64 {
    let prompts = writings.iter().flat_map(|writing| &writing.prompts);
    let prompts: Vec<&[u32]> = prompts.map(|prompt| prompt.student.as_slice()).collect();
    let prices = model.prices(&TokenBatch::new(&prompts, pad));
    prices.map_or(0.0, |prices| prices.into_data().iter::<f64>().sum::<f64>() / prompts.len() as f64)
}
