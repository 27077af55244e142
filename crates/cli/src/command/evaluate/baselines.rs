//! Random help at the rate of help of each system, with which the system is compared.
//!
//! A comparison under one budget would be unfair: a decoder that verifies or enforces uses more or less help than the
//! budget, and more help makes a text better at any position.

use std::collections::BTreeMap;
use std::error::Error;

use wheels_eval::RandomHelp;

use super::cache;
use super::progress::Progress;
use super::suite::{Case, Run, Suite};
use super::systems::{System, Tuning};

/// Two rates of help are the same if they differ by at most this fraction of the tokens.
const TOLERANCE: f64 = 0.005;

/// Random help at more rates than that of the decoder `random`.
#[derive(Default)]
pub(crate) struct Baselines {
    /// By the budget that prompts state and the probability of asking, both in whole percent.
    runs: BTreeMap<[u8; 2], Run>,
}

impl Baselines {
    /// The random help under the budget of a case, at the rate of its run. `runs` are those of the plan. None if the case
    /// has no budget or is random help itself.
    pub(crate) fn of<'r>(&'r self, plan: &[Case], runs: &'r [Run], index: usize) -> Option<(&'r Run, RandomHelp)> {
        let (case, rate) = (plan[index], runs[index].output.stats.help_rate());
        if !is_compared(case) {
            return None;
        }
        let run = match planned(plan, runs, case, rate) {
            Some(run) => run,
            None => self.runs.get(&[case.percent, rounded(rate)])?,
        };
        let stats = RandomHelp {
            rate: run.random_rate.unwrap_or(0.0),
            help_rate: run.output.stats.help_rate(),
            truncated: run.output.truncated(),
        };
        Some((run, stats))
    }
}

/// Whether a case is compared with random help.
pub(crate) fn is_compared(case: Case) -> bool {
    case.system.has_budget() && case.system != System::Random
}

/// The run of the decoder `random` under the budget of a case, if its rate is near enough.
fn planned<'r>(plan: &[Case], runs: &'r [Run], case: Case, rate: f64) -> Option<&'r Run> {
    let index = plan.iter().position(|other| *other == Case { system: System::Random, ..case })?;
    let run = &runs[index];
    run.random_rate.filter(|random| (random - rate).abs() <= TOLERANCE).map(|_| run)
}

/// A rate in whole percent.
fn rounded(rate: f64) -> u8 {
    (100.0 * rate).round() as u8
}

impl Suite<'_> {
    /// Decodes with random help at every rate that the runs need and the folder does not have. Nothing if random help is
    /// not in the plan.
    pub(crate) fn baselines(&self, runs: &[Run], progress: &Progress) -> Result<Baselines, Box<dyn Error>> {
        let mut baselines = Baselines::default();
        if !self.plan.iter().any(|case| case.system == System::Random) {
            return Ok(baselines);
        }
        for (&case, run) in self.plan.iter().zip(runs) {
            if !is_compared(case) {
                continue;
            }
            let rate = run.output.stats.help_rate();
            let key = [case.percent, rounded(rate)];
            if planned(self.plan, runs, case, rate).is_some() || baselines.runs.contains_key(&key) {
                progress.skip(self.settings.texts);
                continue;
            }
            let path = self.folder.join(format!("random-{}-at-{}.json", key[0], key[1]));
            let run = match cache::read::<Run>(&path)? {
                Some(run) => {
                    progress.skip(self.settings.texts);
                    run
                }
                None => {
                    progress.say(format!("random help at {}%, for {}", key[1], case.name()));
                    let tuning = Tuning { threshold: 0.0, random_rate: f64::from(key[1]) / 100.0 };
                    let run = self.run_tuned(Case { system: System::Random, ..case }, tuning, progress)?;
                    cache::write(&path, &run)?;
                    run
                }
            };
            baselines.runs.insert(key, run);
        }
        Ok(baselines)
    }
}
