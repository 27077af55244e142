//! Decoding what is not decoded yet: each outcome is a file, so that a killed evaluation goes on.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use training_wheels::eval::{Evaluation, Outcome};
use training_wheels::prelude::*;
use training_wheels::text::write_atomically;

use crate::systems::{System, Terms};

/// What must be the same for outcomes to be of one evaluation.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) student: String,
    pub(crate) teacher: String,
    pub(crate) data: String,
    pub(crate) texts: usize,
    pub(crate) valid: Option<PathBuf>,
    pub(crate) valid_texts: usize,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
}

/// What a system made of the data.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) threshold: Option<f64>,
    pub(crate) outcome: Outcome,
}

/// A system under a budget in percent.
pub(crate) type Key = (String, u8);

/// The outcomes of one device.
pub(crate) type Outcomes = BTreeMap<Key, Measured>;

/// An evaluation on one device.
pub(crate) struct Run<'a> {
    pub(crate) models: &'a Models,
    pub(crate) evaluation: &'a Evaluation<'a>,
    /// Texts to find thresholds on.
    pub(crate) valid: Option<&'a Evaluation<'a>>,
    pub(crate) settings: &'a Settings,
    /// The folder of the outcomes.
    pub(crate) folder: PathBuf,
    /// What another device has found, whose thresholds and rates hold here, too.
    pub(crate) first: Option<&'a Outcomes>,
}

impl Run<'_> {
    /// The outcomes of all systems of a plan, those that are in the folder not decoded again.
    pub(crate) fn measure(&self, plan: &[(System, u8)], bar: &ProgressBar) -> Result<Outcomes, Box<dyn Error>> {
        let mut outcomes = Outcomes::new();
        for &(system, percent) in plan {
            let path = self.folder.join(format!("{system}-{percent}.json").replace(':', "-"));
            let measured = kept(&path, || {
                bar.set_message(format!("{system} at {percent}%"));
                self.decode(system, percent, &outcomes)
            })?;
            outcomes.insert((system.to_string(), percent), measured);
            bar.inc(1);
        }
        Ok(outcomes)
    }

    fn decode(&self, system: System, percent: u8, outcomes: &Outcomes) -> Result<Measured, Box<dyn Error>> {
        let key = (system.to_string(), percent);
        let known = self.first.unwrap_or(outcomes);
        let learned = known.get(&(System::Learned.to_string(), percent));
        let random_rate = learned.map_or(f64::from(percent) / 100.0, |learned| learned.outcome.stats.help_rate());
        let threshold = match self.first.and_then(|first| first.get(&key)) {
            Some(measured) => measured.threshold,
            None => self.threshold(system, percent)?,
        };
        let budget = HelpBudget::percent(percent);
        let prompts = self.evaluation.prompts(budget)?;
        let (batch, seed) = (self.settings.batch, Seed(self.settings.seed));
        let terms = Terms { budget, prompts: &prompts, threshold: threshold.unwrap_or(0.0), random_rate, batch };
        let decoder = system.decoder(self.models, terms);
        let outcome = match system {
            System::Teacher => self.evaluation.run_teacher(&decoder, &prompts, seed)?,
            _ => self.evaluation.run(&decoder, &prompts, seed)?,
        };
        Ok(Measured { threshold, outcome })
    }

    /// The threshold at which a system uses its budget on the validation texts.
    fn threshold(&self, system: System, percent: u8) -> Result<Option<f64>, Box<dyn Error>> {
        let Some(search) = system.search(self.models.student.model.spec().vocab_size) else { return Ok(None) };
        let valid =
            self.valid.ok_or_else(|| format!("{system} needs a threshold: give texts to find it on, --valid FILE"))?;
        let budget = HelpBudget::percent(percent);
        let prompts = valid.prompts(budget)?;
        let (batch, seed) = (self.settings.batch, Seed(self.settings.seed));
        let (threshold, ()) = search.search(f64::from(percent) / 100.0, |threshold| {
            let terms = Terms { budget, prompts: &prompts, threshold, random_rate: 0.0, batch };
            let outcome = valid.run(&system.decoder(self.models, terms), &prompts, seed)?;
            Ok::<_, training_wheels::Error>((outcome.stats.help_rate(), ()))
        })?;
        Ok(Some(threshold))
    }
}

/// Starts an evaluation in a folder, or goes on with the one that is there.
pub(crate) fn start(folder: &Path, settings: &Settings) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let path = folder.join("settings.json");
    match read::<Settings>(&path)? {
        Some(found) if found != *settings => Err(format!(
            "{} holds an evaluation with other settings ({found:?}, not {settings:?}): choose another --out, or remove it",
            folder.display()
        )
        .into()),
        Some(_) => Ok(()),
        None => Ok(write_atomically(&path, serde_json::to_string(settings)?)?),
    }
}

/// What a file holds, or else what `make` gives, which the file then keeps.
pub(crate) fn kept<T: Serialize + DeserializeOwned>(
    path: &Path,
    make: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    match read(path)? {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            write_atomically(path, serde_json::to_string(&value)?)?;
            Ok(value)
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Box<dyn Error>> {
    match fs::read(path) {
        Ok(json) => {
            let damaged = |error| format!("{}: {error}; remove it, and it is made again", path.display());
            Ok(Some(serde_json::from_slice(&json).map_err(damaged)?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}
