//! A model with everything that it needs to read and write text.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::decode::{Asking, Calibration, Measure};
use crate::distill::Prices;
use crate::lm::{Checkpoint, LanguageModel, Pretrained, Student};
use crate::text::{HelpBudget, Prompt, PromptFormat, Tokenizer, write_atomically};

/// What a model folder holds: weights, tokenizer, the form of its prompts, and how it asks for help.
#[derive(Debug)]
pub struct Bundle {
    /// The weights: config.json and model.safetensors; and a student's heads, heads.safetensors, where it has them.
    pub model: Student<Pretrained>,
    /// tokenizer.json.
    pub tokenizer: Tokenizer,
    /// prompt.json; the default where the folder has none.
    pub format: PromptFormat,
    /// asking.json: thresholds by which the student asks. A student without asks by its help token.
    pub calibration: Option<Calibration>,
    /// prices.json: what help costs this student at each budget, as it learned it.
    pub prices: Option<Prices>,
}

/// The files of a [`Bundle`] in memory.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The model.
    pub checkpoint: Checkpoint<'a>,
    /// heads.safetensors.
    pub heads: Option<&'a [u8]>,
    /// tokenizer.json.
    pub tokenizer: &'a [u8],
    /// prompt.json; the default where there is none.
    pub format: Option<&'a str>,
    /// asking.json.
    pub asking: Option<&'a str>,
    /// prices.json.
    pub prices: Option<&'a str>,
}

const ASKING: &str = "asking.json";
const PRICES: &str = "prices.json";

impl Bundle {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`Error`] where a file is missing or torn, or model and tokenizer are not of one vocabulary.
    pub fn from_dir(folder: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let read = |file| {
            let path = folder.join(file);
            match fs::read_to_string(&path) {
                Ok(json) => Ok(Some(json)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(Error::Read { path, source }),
            }
        };
        let calibration = read(ASKING)?.map(|json| calibration(&json, &folder.join(ASKING))).transpose()?;
        let prices = read(PRICES)?.map(|json| prices(&json, &folder.join(PRICES))).transpose()?;
        let mut model = Student::new(Pretrained::load(folder, device)?);
        let tokenizer = Tokenizer::from_dir(folder)?;
        if let Some(help) = help(&tokenizer) {
            model = model.with_heads_in(folder, help)?;
        }
        Self { model, tokenizer, format: PromptFormat::from_dir(folder)?, calibration, prices }
            .checked(&folder.display().to_string())
    }

    /// Opens files in memory, such as the ones in [`embedded`](crate::embedded).
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn from_files(files: &Files<'_>, device: &Device) -> Result<Self, Error> {
        let origin = files.checkpoint.origin;
        let tokenizer = Tokenizer::from_bytes(files.tokenizer)?;
        let mut model = Student::new(Pretrained::from_checkpoint(files.checkpoint, device)?);
        if let (Some(heads), Some(help)) = (files.heads, help(&tokenizer)) {
            model = model.with_heads_from(help, heads, origin)?;
        }
        Self {
            model,
            tokenizer,
            format: files.format.map(PromptFormat::from_json).transpose()?.unwrap_or_default(),
            calibration: files.asking.map(|json| calibration(json, Path::new(origin))).transpose()?,
            prices: files.prices.map(|json| prices(json, Path::new(origin))).transpose()?,
        }
        .checked(origin)
    }

    fn checked(self, origin: &str) -> Result<Self, Error> {
        let (spec, tokenizer) = (self.model.spec(), &self.tokenizer);
        if tokenizer.vocab_size() > spec.vocab_size || tokenizer.eos() != spec.eos || tokenizer.pad() != spec.pad {
            return Err(Error::Tokenizer {
                origin: origin.into(),
                tokens: tokenizer.vocab_size(),
                rows: spec.vocab_size,
                ids: (tokenizer.pad(), tokenizer.eos()),
                model_ids: (spec.pad, spec.eos),
            });
        }
        Ok(self)
    }

    /// Checks that a teacher writes the same words under the same ids.
    ///
    /// # Errors
    /// [`Error::Vocabularies`] with the first id that differs.
    pub fn check_teacher(&self, teacher: &Self) -> Result<(), Error> {
        let help: Vec<u32> = self.tokenizer.help_tokens().into_iter().map(|(_, id)| id).collect();
        let words = (0..self.tokenizer.vocab_size() as u32).filter(|id| !help.contains(id));
        for id in words {
            let (student, teacher) = (self.tokenizer.token(id), teacher.tokenizer.token(id));
            if student != teacher {
                return Err(Error::Vocabularies { id, student, teacher });
            }
        }
        Ok(())
    }

    /// The rule by which this student asks under a budget: its calibrated thresholds, or its help token; never at 0
    /// and always at 100%.
    ///
    /// A budget in tokens counts as its share of a text as long as the longest of the prompts.
    pub fn asking(&self, budget: HelpBudget, prompts: &[Prompt]) -> Asking {
        let rate = share(budget, prompts);
        match &self.calibration {
            Some(calibration) => calibration.asking(rate),
            None if rate <= 0.0 => Asking::Never,
            None if rate >= 1.0 => Asking::Always,
            None => Asking::Learned,
        }
    }

    /// The rule by which this student asks under a budget while its prompts say another: the help token's log-odds,
    /// past the [`offset`](Prices::offset) of the two budgets' prices and, where its help token is calibrated, the
    /// threshold of the budget that is wanted. It never asks at 0 and always at 100%.
    ///
    /// # Errors
    /// [`Error::Prices`] for a student without prices.
    pub fn asking_by_price(&self, budget: HelpBudget, told: HelpBudget, prompts: &[Prompt]) -> Result<Asking, Error> {
        let prices = self.prices.as_ref().ok_or(Error::Prices)?;
        let rate = share(budget, prompts);
        let offset = prices.offset(rate, share(told, prompts));
        let threshold = match self.asking(budget, prompts) {
            Asking::Confidence { measure: Measure::HelpLogOdds, threshold } => threshold,
            Asking::Learned | Asking::Confidence { .. } => 0.0,
            always_or_never => return Ok(always_or_never),
        };
        Ok(Asking::Confidence { measure: Measure::HelpLogOdds, threshold: threshold + offset })
    }

    /// Writes asking.json into a folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn save_calibration(calibration: &Calibration, folder: impl AsRef<Path>) -> Result<(), Error> {
        save(calibration, folder.as_ref().join(ASKING))
    }

    /// Writes prices.json into a folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn save_prices(prices: &Prices, folder: impl AsRef<Path>) -> Result<(), Error> {
        save(prices, folder.as_ref().join(PRICES))
    }
}

/// The token that a student's heads serve.
fn help(tokenizer: &Tokenizer) -> Option<u32> {
    tokenizer.help_tokens().first().map(|(_, id)| *id)
}

/// A budget as a share of the tokens; one in tokens is that of a text as long as the longest of the prompts.
fn share(budget: HelpBudget, prompts: &[Prompt]) -> f64 {
    let longest = prompts.iter().map(|prompt| prompt.expert.len()).max().unwrap_or(1);
    budget.share(longest)
}

fn save(value: &impl Serialize, path: PathBuf) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value).expect("numbers serialise");
    Ok(write_atomically(path, json + "\n")?)
}

fn calibration(json: &str, path: &Path) -> Result<Calibration, Error> {
    parse(json, path, "calibrate")
}

fn prices(json: &str, path: &Path) -> Result<Prices, Error> {
    parse(json, path, "distill")
}

fn parse<T: DeserializeOwned>(json: &str, path: &Path, example: &'static str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|source| Error::Asking { example, path: path.into(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::embedded::TRANSLATION;

    #[test]
    fn a_student_told_another_budget_asks_past_the_offset_of_the_prices() {
        let mut student = Bundle::from_files(&TRANSLATION.student, &Device::flex()).unwrap();
        let [ten, twenty] = [10, 20].map(HelpBudget::percent);
        let threshold = |student: &Bundle, budget, told| match student.asking_by_price(budget, told, &[]).unwrap() {
            Asking::Confidence { measure: Measure::HelpLogOdds, threshold } => threshold,
            rule => panic!("{rule:?}"),
        };
        let offset = student.prices.as_ref().unwrap().offset(0.1, 0.2);
        let calibrated = threshold(&student, ten, ten);
        assert!(offset > 0.0 && (threshold(&student, ten, twenty) - calibrated - offset).abs() < 1e-12);
        assert_eq!(student.asking(ten, &[]), Measure::HelpLogOdds.beyond(calibrated));
        student.calibration = None;
        assert_eq!([threshold(&student, ten, ten), threshold(&student, ten, twenty)], [0.0, offset]);
        let free = student.asking_by_price(HelpBudget::percent(100), ten, &[]).unwrap();
        assert_eq!(
            (free, student.asking_by_price(HelpBudget::percent(0), ten, &[]).unwrap()),
            (Asking::Always, Asking::Never)
        );
        student.prices = None;
        assert!(matches!(student.asking_by_price(ten, twenty, &[]), Err(Error::Prices)));
    }
}
