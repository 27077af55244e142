//! Decoding with all systems on one device. Each output is kept in a file, so that a killed evaluation goes on.

use std::error::Error;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use training_wheels::prelude::*;
use wheels_eval::SystemOutput;

use super::cache::{self, Settings};
use super::progress::Progress;
use super::systems::{System, Tuning};
use crate::flags::BatchingFlags;

/// A system under a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) system: System,
    /// The budget, percent of the tokens.
    pub(crate) percent: u8,
}

/// The texts of a case, and how its help rule was tuned.
#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    /// The threshold that was found on validation texts.
    pub(crate) threshold: Option<f64>,
    /// The probability of asking, for random help.
    pub(crate) random_rate: Option<f64>,
    pub(crate) output: SystemOutput,
}

/// The student alone, the first case of every plan.
pub(crate) const STUDENT: usize = 0;
/// The teacher alone, the second case of every plan.
pub(crate) const TEACHER: usize = 1;

/// All cases, in the order of the tables: the student and the teacher alone, and then each system under each budget.
pub(crate) fn plan(systems: &[System], budgets: &[u8]) -> Vec<Case> {
    let mut systems = [&[System::Student, System::Teacher], systems].concat();
    let place = |wanted: System| systems.iter().position(|&system| system == wanted);
    // Random help takes the rate that the calibrated student used, and so comes after it.
    if let (Some(random), Some(calibrated)) = (place(System::Random), place(System::Calibrated))
        && random < calibrated
    {
        systems[random..=calibrated].rotate_right(1);
    }
    let mut cases: Vec<Case> = Vec::new();
    for system in systems {
        for &percent in system.budgets(budgets) {
            let case = Case { system, percent };
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    cases
}

impl Case {
    /// The name for people.
    pub(crate) fn name(self) -> String {
        let Self { system, percent } = self;
        if system.has_budget() { format!("{system} at {percent}%") } else { system.to_string() }
    }

    pub(crate) fn budget(self) -> HelpBudget {
        HelpBudget::percent(self.percent)
    }

    fn file_name(self) -> String {
        format!("{}-{}.json", self.system, self.percent).replace(':', "-")
    }
}

/// All cases of a plan on one device.
pub(crate) struct Suite<'a> {
    pub(crate) plan: &'a [Case],
    pub(crate) pair: &'a Pair,
    /// The calibrated policy of the student.
    pub(crate) policy: Policy<'a>,
    pub(crate) evaluation: Evaluation<'a>,
    /// Texts to find thresholds on, and their number.
    pub(crate) valid: Option<(Evaluation<'a>, usize)>,
    pub(crate) settings: &'a Settings,
    pub(crate) batching: &'a BatchingFlags,
    /// The folder of the outputs.
    pub(crate) folder: PathBuf,
    /// The runs of the first device, whose thresholds and rates hold on the other devices too.
    pub(crate) first: Option<&'a [Run]>,
}

impl Suite<'_> {
    /// The runs of all cases, in the order of the plan. Outputs in the folder are not decoded again.
    pub(crate) fn run(&self, progress: &Progress) -> Result<Vec<Run>, Box<dyn Error>> {
        let mut runs: Vec<Run> = Vec::with_capacity(self.plan.len());
        for (index, &case) in self.plan.iter().enumerate() {
            let path = self.folder.join(case.file_name());
            let random_rate = self.random_rate(case, self.first.unwrap_or(&runs));
            let kept = cache::read::<Run>(&path)?.filter(|kept| kept.random_rate == random_rate);
            let run = match kept {
                Some(run) => {
                    progress.skip(self.settings.texts + self.search_texts(case));
                    run
                }
                None => {
                    let run = self.decode(index, random_rate, progress)?;
                    cache::write(&path, &run)?;
                    run
                }
            };
            runs.push(run);
        }
        Ok(runs)
    }

    /// The largest number of validation texts that are decoded in the search for the threshold of a case.
    fn search_texts(&self, case: Case) -> usize {
        match (self.first, &self.valid) {
            (None, Some((_, texts))) => case.system.max_trials() * texts,
            _ => 0,
        }
    }

    fn decode(&self, index: usize, random_rate: Option<f64>, progress: &Progress) -> Result<Run, Box<dyn Error>> {
        let case = self.plan[index];
        let threshold = match self.first {
            Some(first) => first[index].threshold,
            None => self.find_threshold(case, progress)?,
        };
        progress.say(case.name());
        let run = self.run_tuned(case, Tuning::new(threshold, random_rate), progress)?;
        Ok(Run { threshold, random_rate, ..run })
    }

    /// Decodes all texts with a system whose help rule is tuned.
    pub(crate) fn run_tuned(&self, case: Case, tuning: Tuning, progress: &Progress) -> Result<Run, Box<dyn Error>> {
        let prompts = self.prompts(&self.evaluation, case.system, case.budget())?;
        let output = self.output(&self.evaluation, case.system, &prompts, tuning, progress)?;
        Ok(Run { threshold: Some(tuning.threshold), random_rate: Some(tuning.random_rate), output })
    }

    /// The rate at which random help asks: that of the calibrated student under the same budget, or else the budget.
    fn random_rate(&self, case: Case, known: &[Run]) -> Option<f64> {
        if case.system != System::Random {
            return None;
        }
        let calibrated = Case { system: System::Calibrated, ..case };
        let calibrated = self.plan.iter().position(|&other| other == calibrated).map(|index| &known[index]);
        Some(calibrated.map_or(f64::from(case.percent) / 100.0, |run| run.output.stats.help_rate()))
    }

    /// The threshold at which a system uses its budget on the validation texts. None for a system without one.
    fn find_threshold(&self, case: Case, progress: &Progress) -> Result<Option<f64>, Box<dyn Error>> {
        let Some(search) = case.system.search(self.vocab_size()) else { return Ok(None) };
        let (valid, valid_texts) = self.valid.as_ref().ok_or_else(|| needs_validation(case.system))?;
        let prompts = self.prompts(valid, case.system, case.budget())?;
        let mut trials = 0;
        let found = search.find(f64::from(case.percent) / 100.0, |threshold| {
            trials += 1;
            progress.say(format!("threshold of {}, trial {trials}", case.name()));
            let tuning = Tuning { threshold, random_rate: 0.0 };
            let output = self.output(valid, case.system, &prompts, tuning, progress)?;
            Ok::<_, training_wheels::Error>((output.stats.help_rate(), ()))
        })?;
        progress.skip(self.search_texts(case) - trials * valid_texts);
        Ok(Some(found.threshold))
    }

    /// The prompts of a system under a budget. They have this budget, and state it or the one of `--stated-budget`.
    pub(super) fn prompts(
        &self,
        evaluation: &Evaluation<'_>,
        system: System,
        budget: HelpBudget,
    ) -> Result<Vec<Prompt>, training_wheels::Error> {
        let stated = self.settings.stated_budget.filter(|_| system.has_budget()).unwrap_or(budget);
        let mut prompts = evaluation.prompts(stated)?;
        for prompt in &mut prompts {
            prompt.budget = budget;
        }
        Ok(prompts)
    }

    /// The texts that a system writes for these prompts.
    pub(super) fn output(
        &self,
        evaluation: &Evaluation<'_>,
        system: System,
        prompts: &[Prompt],
        tuning: Tuning,
        progress: &Progress,
    ) -> Result<SystemOutput, training_wheels::Error> {
        let decoder = self.decoder(system, tuning);
        let mut texts_done = progress.watch(prompts.len(), &self.pair.student.model.spec().eos);
        let decoded = decoder.decode_with(prompts, Seed(self.settings.seed), &mut texts_done)?;
        texts_done.finish();
        Ok(evaluation.output(decoded)?)
    }

    pub(super) fn decoder(&self, system: System, tuning: Tuning) -> BudgetedDecoder<'_> {
        self.batching.set(system.decoder(self.pair, self.policy, tuning).with_batch_size(self.settings.batch))
    }

    fn vocab_size(&self) -> usize {
        self.pair.student.model.spec().vocab_size
    }
}

/// What to do about a system whose threshold cannot be found.
pub(crate) fn needs_validation(system: System) -> String {
    format!("{system} needs a threshold: give texts to find it on with --valid FILE")
}
