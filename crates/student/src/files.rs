//! Reads and writes the files of a student.

use std::fs;
use std::path::Path;

use wheels_lm::{FloatFormat, LanguageModel, LmError, LoraConfig, Pretrained, write_atomically};

use crate::heads::Heads;
use crate::price_head::PriceHead;
use crate::{Student, StudentConfig, StudentError, weights};

const HEADS: &str = "heads.safetensors";
const CONFIG: &str = "student_config.json";

impl Student<Pretrained> {
    /// The same model with the heads in a folder, for a help token. If the folder has no heads.safetensors, the student
    /// is returned as it is.
    ///
    /// # Errors
    /// If heads.safetensors or student_config.json is damaged, or if they do not fit the model.
    pub fn with_heads_in(self, folder: impl AsRef<Path>, help_token: u32) -> Result<Self, StudentError> {
        let path = folder.as_ref().join(HEADS);
        if !path.exists() {
            return Ok(self);
        }
        let config_path = folder.as_ref().join(CONFIG);
        let config = match fs::read_to_string(&config_path) {
            Ok(json) => Some(json),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(LmError::Read { path: config_path, source }.into()),
        };
        let bytes = fs::read(&path).map_err(|source| LmError::Read { path: path.clone(), source })?;
        self.with_stored_heads(config.as_deref(), &path.display().to_string(), &bytes, help_token)
    }

    /// The same model with heads from the content of a heads.safetensors, for a help token. `config` is the content of a
    /// student_config.json, or None for the defaults. `origin` is the name of the weights in error messages.
    ///
    /// # Errors
    /// For the reasons of [`with_heads_in`](Self::with_heads_in).
    pub fn with_stored_heads(
        self,
        config: Option<&str>,
        origin: &str,
        weights: &[u8],
        help_token: u32,
    ) -> Result<Self, StudentError> {
        let config = match config {
            Some(json) => parse_config(json, &origin.replace(HEADS, CONFIG))?,
            None => StudentConfig::new(),
        };
        let device = LanguageModel::device(&self.model);
        let mut heads = Heads::init(&config, self.model.spec(), help_token, &device);
        weights::load(&mut heads, origin, weights, &[PriceHead::LENGTH], &device)?;
        Ok(Self { heads: Some(heads), ..self })
    }

    /// Writes the model ([`Pretrained::save`]) and, if there are heads, heads.safetensors and student_config.json.
    /// Without heads, these two files are removed from the folder.
    ///
    /// If the model has adapters and their settings name a base model, only the adapters are written
    /// ([`Pretrained::save_adapter`]).
    ///
    /// # Errors
    /// For the reasons of [`Pretrained::save`] and [`Pretrained::save_adapter`], or if an old file cannot be removed.
    pub fn save(&self, folder: impl AsRef<Path>, format: FloatFormat) -> Result<(), StudentError> {
        let folder = folder.as_ref();
        match self.model.lora() {
            Some(LoraConfig { base_model: Some(_), .. }) => self.model.save_adapter(folder, format)?,
            _ => self.model.save(folder, format)?,
        }
        let (weights, config) = (folder.join(HEADS), folder.join(CONFIG));
        match &self.heads {
            Some(heads) => {
                let json = serde_json::to_string_pretty(heads.config()).expect("numbers are JSON");
                write_atomically(&config, (json + "\n").as_bytes())?;
                weights::save(heads, &weights, format)?;
            }
            None => {
                // Otherwise the heads of another model in this folder would be loaded with this model.
                for path in [weights, config] {
                    if path.exists() {
                        fs::remove_file(&path).map_err(|source| LmError::Write { path, source })?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The largest valid size in a student_config.json.
const MAX_SIZE: usize = 1 << 16;

fn parse_config(json: &str, origin: &str) -> Result<StudentConfig, StudentError> {
    let config: StudentConfig =
        serde_json::from_str(json).map_err(|source| StudentError::Config { origin: origin.into(), source })?;
    for (field, value) in [
        ("hidden_width", config.hidden_width),
        ("budget_tokens", config.budget_tokens),
        ("price_queries", config.price_queries),
        ("price_embedding", config.price_embedding),
        ("max_repetition", config.max_repetition),
    ] {
        if !(1..=MAX_SIZE).contains(&value) {
            return Err(StudentError::Size { origin: origin.into(), field, value, largest: MAX_SIZE });
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Device;
    use wheels_lm::TokenBatch;

    use super::*;
    use crate::student::tests::{HELP, STUDENT, logits};

    #[test]
    fn heads_of_earlier_versions_are_read_without_the_length_of_a_prompt() {
        let folder = tempfile::tempdir().unwrap();
        STUDENT.save(folder.path(), FloatFormat::F32).unwrap();
        let bytes = fs::read(folder.path().join(HEADS)).unwrap();
        let at = bytes.windows(PriceHead::LENGTH.len()).position(|name| name == PriceHead::LENGTH.as_bytes()).unwrap();
        let renamed = [&bytes[..at], b"unknown", &bytes[at + 7..]].concat();
        let earlier = Student::new(STUDENT.model.clone()).with_stored_heads(None, "memory", &renamed, HELP).unwrap();
        let prompts = TokenBatch::new(&[vec![3; 30], vec![3; 60]], 0);
        let prices: Vec<f32> = earlier.prices(&prompts).unwrap().into_data().iter().collect();
        assert_eq!(prices[0], prices[1]);
    }

    #[test]
    fn heads_are_saved_with_their_config_and_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        STUDENT.save(folder.path(), FloatFormat::F32).unwrap();
        let plain = || Student::new(Pretrained::load(folder.path(), &device).unwrap());
        let read = plain().with_heads_in(folder.path(), HELP).unwrap();
        assert_eq!(logits(&read), logits(&*STUDENT));
        let bytes = fs::read(folder.path().join(HEADS)).unwrap();
        assert_eq!(logits(&plain().with_stored_heads(None, "memory", &bytes, HELP).unwrap()), logits(&read));
        fs::remove_file(folder.path().join(CONFIG)).unwrap();
        assert_eq!(
            logits(&plain().with_heads_in(folder.path(), HELP).unwrap()),
            logits(&read),
            "without a config, the defaults apply"
        );

        let json = serde_json::to_string(&StudentConfig::new()).unwrap();
        for (json, part) in [("{", "student_config.json"), (&json.replace("64", "999999999"), "hidden_width")] {
            fs::write(folder.path().join(CONFIG), json).unwrap();
            let error = plain().with_heads_in(folder.path(), HELP).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        fs::write(folder.path().join(CONFIG), &json).unwrap();
        fs::write(folder.path().join(HEADS), &bytes[..bytes.len() / 2]).unwrap();
        let torn = plain().with_heads_in(folder.path(), HELP).unwrap_err();
        assert!(torn.to_string().contains(HEADS), "{torn}");
        Student::new(STUDENT.model.clone()).save(folder.path(), FloatFormat::F32).unwrap();
        assert!(!plain().with_heads_in(folder.path(), HELP).unwrap().has_heads(), "heads of another model are removed");
    }
}
