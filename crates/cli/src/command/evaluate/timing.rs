//! The time of each case beside that of the teacher alone.

use std::error::Error;

use serde::{Deserialize, Serialize};
use training_wheels::decode::{DecodeStats, Decoder};
use training_wheels::prelude::*;

use super::cache;
use super::progress::Progress;
use super::suite::{Run, Suite, TEACHER};
use super::systems::Tuning;

/// The largest number of rounds.
const ROUNDS: usize = 5;
/// Fewer rounds are not worth it.
const MIN_ROUNDS: usize = 3;
/// A round takes this part of the texts, or a batch if that is more.
const PART: usize = 20;

/// Times of the cases of a plan, as they are kept in a file.
#[derive(Serialize, Deserialize)]
struct Timing {
    /// The names of the cases.
    cases: Vec<String>,
    latencies: Vec<f64>,
}

impl Suite<'_> {
    /// The time per token of each case, divided by that of the teacher alone.
    ///
    /// The speed of a machine can change within minutes. So the cases decode some texts again, all in turn in each of a few
    /// rounds, and the median of the ratios within a round counts. If there are too few texts for that, the times are those
    /// in which all texts were decoded.
    pub(crate) fn latencies(&self, runs: &[Run], progress: &Progress) -> Result<Vec<f64>, Box<dyn Error>> {
        let texts = self.settings.texts;
        let block = self.settings.batch.max(texts / PART);
        let rounds = ROUNDS.min(texts / block);
        if rounds < MIN_ROUNDS {
            let seconds: Vec<f64> = runs.iter().map(|run| seconds_per_token(&run.output.stats)).collect();
            return Ok(relative_to_teacher(&seconds));
        }
        let path = self.folder.join("latencies.json");
        let cases: Vec<String> = self.plan.iter().map(|case| case.name()).collect();
        if let Some(kept) = cache::read::<Timing>(&path)?.filter(|kept| kept.cases == cases) {
            return Ok(kept.latencies);
        }
        let mut decoders = Vec::with_capacity(runs.len());
        for (&case, run) in self.plan.iter().zip(runs) {
            let decoder = self.decoder(case.system, Tuning::new(run.threshold, run.random_rate));
            decoders.push((decoder, self.prompts(&self.evaluation, case.system, case.budget())?));
        }
        let mut ratios = vec![Vec::with_capacity(rounds); runs.len()];
        for round in 0..rounds {
            progress.say(format!("time, round {} of {rounds}", round + 1));
            let mut seconds = Vec::with_capacity(runs.len());
            for (decoder, prompts) in &decoders {
                // From all over the data: neighbours can be alike.
                let prompts: Vec<Prompt> =
                    prompts.iter().skip(round).step_by(texts / block).take(block).cloned().collect();
                let decoded = decoder.decode(&prompts, Seed(self.settings.seed))?;
                seconds.push(seconds_per_token(&decoded.stats));
            }
            for (ratios, ratio) in ratios.iter_mut().zip(relative_to_teacher(&seconds)) {
                ratios.push(ratio);
            }
        }
        let latencies: Vec<f64> = ratios.into_iter().map(median).collect();
        cache::write(&path, &Timing { cases, latencies: latencies.clone() })?;
        Ok(latencies)
    }
}

fn relative_to_teacher(seconds: &[f64]) -> Vec<f64> {
    seconds.iter().map(|case| case / seconds[TEACHER]).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn seconds_per_token(stats: &DecodeStats) -> f64 {
    stats.elapsed.as_secs_f64() / stats.tokens.max(1) as f64
}
