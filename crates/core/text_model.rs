//! A model with everything that it needs to read and write text.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wheels_decode::{BudgetedDecoder, Calibration, Decoder, Experts, HelpRule, Policy, PromptSide, Sampler};
use wheels_lm::{Checkpoint, FloatFormat, LanguageModel, LoadOptions, LoraConfig, Pretrained};
use wheels_student::{Prices, Student};
use wheels_text::{
    Dataset, Example, GenerationConfig, HelpBudget, PromptTemplate, Seed, TextError, Tokenizer, write_atomically,
};

use crate::{Answer, Error};

/// A language model with its tokenizer and settings: everything that a model folder holds.
#[derive(Clone, Debug)]
pub struct TextModel {
    /// config.json and model.safetensors, or the base model of an adapter_config.json with the adapters; and a student's
    /// heads from heads.safetensors if the folder has them.
    pub model: Student<Pretrained>,
    /// tokenizer.json.
    pub tokenizer: Tokenizer,
    /// prompt.json, or the default if the folder has none.
    pub template: PromptTemplate,
    /// generation_config.json, or the default if the folder has none.
    pub generation: GenerationConfig,
    /// calibration.json: a threshold for each rate of help. Without it, the student asks when its log-odds exceed 0.
    pub calibration: Option<Calibration>,
    /// prices.json: the price of help at each budget, found in training.
    pub prices: Option<Prices>,
}

/// The name and the content of a model's file, in memory.
pub type ModelFile<'a> = (&'a str, &'a [u8]);

const CALIBRATION: &str = "calibration.json";
/// The name of [`CALIBRATION`] in folders of earlier versions.
const OLD_CALIBRATION: &str = "asking.json";
const PRICES: &str = "prices.json";
const HEADS: &str = "heads.safetensors";

impl TextModel {
    /// Opens a model folder, or a model of the hub: `owner/name` or `owner/name@revision`, which is downloaded into the
    /// cache that Hugging Face's libraries use. [`hub::fetch`](crate::hub::fetch) does the same with a progress report.
    ///
    /// If the folder has adapters as PEFT saves them, the base model that they name is opened in the same way, and gets the
    /// adapters.
    ///
    /// The weights are loaded to a device in f32, or in the format of `(&device, format)`: see [`LoadOptions`].
    ///
    /// # Errors
    /// [`Error`] if a file is missing or damaged, if the tokenizer does not fit the model, if an adapter does not fit its
    /// base model or names none, or if a download fails.
    pub fn open<'a>(folder: impl AsRef<Path>, options: impl Into<LoadOptions<'a>>) -> Result<Self, Error> {
        let folder = &crate::hub::fetch(folder, |_| ())?;
        match LoraConfig::from_dir(folder)? {
            None => Self::from_folders(folder, folder, Pretrained::load(folder, options)?),
            Some(LoraConfig { base_model: Some(base), .. }) => Self::open_adapter(folder, base, options),
            Some(_) => Err(Error::NoBaseModel { folder: folder.clone() }),
        }
    }

    /// Opens adapters as PEFT saves them, with a base model other than the one that they name. Both are folders or models
    /// of the hub. The tokenizer, the prompt template and the generation config are those of the base model if the folder
    /// of the adapters has none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_adapter<'a>(
        folder: impl AsRef<Path>,
        base: impl AsRef<Path>,
        options: impl Into<LoadOptions<'a>>,
    ) -> Result<Self, Error> {
        let [folder, base] = [crate::hub::fetch(folder, |_| ())?, crate::hub::fetch(base, |_| ())?];
        Self::from_folders(&folder, &base, Pretrained::load(&base, options)?)
    }

    /// A model with the other files of its folder, or of the folder of its adapters and that of their base model.
    fn from_folders(folder: &Path, base: &Path, mut model: Pretrained) -> Result<Self, Error> {
        let with = |file: &str| if folder.join(file).exists() { folder } else { base };
        let tokenizer = Tokenizer::from_dir(with("tokenizer.json"))?;
        let generation = GenerationConfig::from_dir(with("generation_config.json"))?;
        if folder != base {
            // The rows of help tokens are not saved with adapters: they are frozen, as `with_help_token` has made them.
            let last = tokenizer.help_tokens().iter().map(|(_, id)| *id as usize + 1).max().unwrap_or(0);
            let rows = model.spec().vocab_size.max(last);
            model = model.with_vocab_size(rows).with_adapter_in(folder)?;
        }
        let mut model = fitted(model, &tokenizer, &generation, &folder.display().to_string())?;
        if let Some(help_token) = trained_help_token(&tokenizer) {
            model = model.with_heads_in(folder, help_token)?;
        }
        let template = PromptTemplate::from_dir(with("prompt.json"))?;
        let text = |name: &str| read_if_there(&folder.join(name));
        Self { model, tokenizer, template, generation, calibration: None, prices: None }.with_help_files(folder, text)
    }

    /// Opens the files of a model folder from memory. Error messages use `origin` as the name of the folder.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_files<'a>(
        origin: &str,
        files: &[ModelFile<'_>],
        options: impl Into<LoadOptions<'a>>,
    ) -> Result<Self, Error> {
        let find = |name: &str| files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes);
        let required = |file| find(file).ok_or_else(|| Error::MissingFile { origin: origin.into(), file });
        let text = |name: &str| find(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());

        let config = String::from_utf8_lossy(required("config.json")?).into_owned();
        let checkpoint = Checkpoint { origin, config: &config, weights: required("model.safetensors")? };
        required("tokenizer.json")?;
        let tokenizer = Tokenizer::from_files(origin, files)?;
        let generation = GenerationConfig::from_files(origin, files)?;
        let mut model = fitted(Pretrained::from_checkpoint(checkpoint, options)?, &tokenizer, &generation, origin)?;
        if let (Some(bytes), Some(help_token)) = (find(HEADS), trained_help_token(&tokenizer)) {
            model = model.with_stored_heads(text("student_config.json").as_deref(), origin, bytes, help_token)?;
        }
        let template = PromptTemplate::from_files(origin, files)?;
        Self { model, tokenizer, template, generation, calibration: None, prices: None }
            .with_help_files(Path::new(origin), |name| Ok(text(name)))
    }

    /// The same model with a help token for the expert `name`, such as "teacher". If the tokenizer has the token,
    /// nothing changes.
    ///
    /// A new token takes the first id that the tokenizer does not use. If the model has no row for this id, it gets
    /// one. Its heads, calibration and prices, which belong to another help token, are lost.
    ///
    /// # Errors
    /// [`Error::Text`] if the name is invalid or the tokenizer cannot take the token.
    pub fn with_help_token(mut self, name: &str) -> Result<Self, Error> {
        let help_token = self.tokenizer.add_help_token(name)?;
        let rows = help_token as usize + 1;
        if rows > self.model.spec().vocab_size {
            self.model = Student::new(self.model.model.with_vocab_size(rows));
            (self.calibration, self.prices) = (None, None);
        }
        Ok(self)
    }

    /// The same model with new adapters ([`Pretrained::with_lora`]). Training changes only them, and a student's heads.
    ///
    /// # Errors
    /// [`Error::Lm`] if the model has adapters, if a setting is invalid, or if it names a layer that there is not.
    pub fn with_lora(mut self, config: &LoraConfig) -> Result<Self, Error> {
        self.model.model = self.model.model.with_lora(config)?;
        Ok(self)
    }

    /// The same model with its adapters added to its weights, which decodes faster. A model without adapters is returned as
    /// it is.
    #[must_use]
    pub fn merged(mut self) -> Self {
        self.model.model = self.model.model.merged();
        self
    }

    /// A decoder in which the model writes without help.
    pub fn decoder(&self) -> BudgetedDecoder<'_> {
        self.decoder_for(PromptSide::Expert)
    }

    /// A decoder in which the model writes without help, for prompts of this side.
    pub(crate) fn decoder_for(&self, side: PromptSide) -> BudgetedDecoder<'_> {
        let policy = Policy::new(&self.model, Sampler::from(&self.generation)).with_help_rule(HelpRule::Never);
        let experts = self.without_suppressed(Experts::new(), None);
        BudgetedDecoder::new(policy.with_prompt_side(side), experts).with_generation(&self.generation)
    }

    /// The texts that the model writes for the sources of a dataset, with those sources: the data of sequence-level
    /// distillation (Kim and Rush 2016, arXiv 1606.07947). A student with another tokenizer can be trained on them.
    ///
    /// A source for which the model writes nothing is left out.
    ///
    /// # Errors
    /// [`Error::Prompt`] if a source is empty or too long, and any error of decoding.
    pub fn write_texts(&self, dataset: &[Example], seed: Seed) -> Result<Dataset, Error> {
        let mut prompts = Vec::with_capacity(dataset.len());
        for (index, example) in dataset.iter().enumerate() {
            let prompt = self.template.prompt_of(&self.tokenizer, example, HelpBudget::percent(0));
            prompts.push(prompt.map_err(|source| Error::Prompt { index: index + 1, source })?);
        }
        let decoded = self.decoder().decode(&prompts, seed)?;
        let mut examples = Vec::with_capacity(dataset.len());
        for (example, text) in dataset.iter().zip(&decoded.trajectories) {
            let target = Answer::new(&self.tokenizer, text)?.text;
            if !target.trim().is_empty() {
                examples.push(Example { target, ..example.clone() });
            }
        }
        Ok(examples.into_iter().collect())
    }

    /// The same model, which also ends a text at these tokens.
    pub(crate) fn ending_at(self, ids: &[u32]) -> Self {
        let mut ends = self.model.spec().eos.clone();
        ends.extend(ids.iter().filter(|id| !self.model.spec().ends(**id)));
        self.with_eos_token_ids(ends)
    }

    /// The same model with other tokens that end a text.
    pub(crate) fn with_eos_token_ids(mut self, ids: Vec<u32>) -> Self {
        self.model.model = self.model.model.with_eos_token_ids(ids);
        self
    }

    /// Writes all files of the model into a folder, which is created if it is missing. The folder opens in Python's
    /// transformers, or in its PEFT if the model has adapters whose settings name a base model: then only the adapters are
    /// written instead of all weights ([`merged`](Self::merged) adds them to the weights).
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, format: FloatFormat) -> Result<(), Error> {
        let folder = folder.as_ref();
        self.model.save(folder, format)?;
        self.tokenizer.save(folder)?;
        self.template.save(folder)?;
        self.generation.save(folder)?;
        save_or_remove(&self.calibration, folder.join(CALIBRATION))?;
        save_or_remove(&self.prices, folder.join(PRICES))
    }

    /// Writes calibration.json into a folder, and returns its path.
    ///
    /// # Errors
    /// [`Error::Text`] if it cannot be written.
    pub fn save_calibration(calibration: &Calibration, folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let path = folder.as_ref().join(CALIBRATION);
        save_json(calibration, path.clone())?;
        Ok(path)
    }

    /// The calibration and the prices in a model folder, which are read without its model. None for a file that the folder
    /// does not have.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Json`] if a file is damaged.
    pub fn help_files(folder: impl AsRef<Path>) -> Result<(Option<Calibration>, Option<Prices>), Error> {
        let folder = folder.as_ref();
        read_help_files(folder, |name| read_if_there(&folder.join(name)))
    }

    /// The student and its teacher with the same end tokens: a text of one model ends where the other one would end it.
    ///
    /// # Errors
    /// As [`check_teacher`](Self::check_teacher).
    pub(crate) fn paired_with(self, teacher: Self) -> Result<(Self, Self), Error> {
        self.check_teacher(&teacher)?;
        let student = self.ending_at(&teacher.model.spec().eos);
        let ends = student.model.spec().eos.clone();
        Ok((student, teacher.with_eos_token_ids(ends)))
    }

    /// Checks that each id means the same token to this student and to the teacher, except for help tokens.
    ///
    /// # Errors
    /// [`Error::Vocabularies`] with the first id that differs.
    pub(crate) fn check_teacher(&self, teacher: &Self) -> Result<(), Error> {
        match self.tokenizer.first_difference(&teacher.tokenizer) {
            Some(id) => {
                let [student, teacher] = [self, teacher].map(|model| model.tokenizer.token(id));
                Err(Error::Vocabularies { id, student, teacher })
            }
            None => Ok(()),
        }
    }

    /// The ids that must not be generated: special tokens that neither end a text nor begin it.
    pub(crate) fn suppressed_ids(&self) -> Vec<u32> {
        let mut ids = self.tokenizer.suppressed_ids();
        ids.retain(|id| Some(*id) != self.generation.forced_bos_token_id() && !self.model.spec().ends(*id));
        ids
    }

    /// `experts` with all suppressed ids closed, but the help token `open`.
    pub(crate) fn without_suppressed<'a>(&self, experts: Experts<'a>, open: Option<u32>) -> Experts<'a> {
        let ids = self.suppressed_ids().into_iter().filter(|id| Some(*id) != open);
        ids.fold(experts, Experts::with_closed_token)
    }

    /// Lowers the limits of prompts and outputs to the number of positions that the model can tell apart.
    fn within_positions(mut self) -> Self {
        if let Some(positions) = self.model.spec().max_positions {
            if self.template.max_tokens > positions || self.generation.max_new_tokens >= positions {
                log::info!("prompts and outputs are limited to the {positions} positions of the model");
            }
            self.template.max_tokens = self.text_limit(self.template.max_tokens);
            // The start token has a position too.
            self.generation.max_new_tokens = self.generation.max_new_tokens.min(positions - 1);
        }
        self
    }

    /// The largest number of tokens of a text that both this model and `max_tokens` allow.
    pub fn text_limit(&self, max_tokens: usize) -> usize {
        self.model.spec().max_positions.map_or(max_tokens, |positions| positions.min(max_tokens))
    }

    /// Adds calibration.json and prices.json if the folder has them. `text` reads a file of the folder.
    fn with_help_files(
        mut self,
        folder: &Path,
        text: impl Fn(&str) -> Result<Option<String>, Error>,
    ) -> Result<Self, Error> {
        (self.calibration, self.prices) = read_help_files(folder, text)?;
        Ok(self.within_positions())
    }
}

/// calibration.json and prices.json of a folder. `text` reads a file of the folder.
fn read_help_files(
    folder: &Path,
    text: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<(Option<Calibration>, Option<Prices>), Error> {
    let mut calibration = None;
    for name in [CALIBRATION, OLD_CALIBRATION] {
        if calibration.is_none()
            && let Some(json) = text(name)?
        {
            calibration = Some(parse(&json, &folder.join(name), "make it again with `wheels calibrate`")?);
        }
    }
    let remedy = "copy it again from the folder that `wheels distill` wrote";
    let prices = text(PRICES)?.map(|json| parse(&json, &folder.join(PRICES), remedy)).transpose()?;
    Ok((calibration, prices))
}

/// A model with the vocabulary and the end tokens of its tokenizer and generation config. Rows past the vocabulary have no
/// token, so no text contains them.
fn fitted(
    model: Pretrained,
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    origin: &str,
) -> Result<Student<Pretrained>, Error> {
    let (rows, tokens) = (model.spec().vocab_size, tokenizer.vocab_size());
    let mut ends = vec![tokenizer.eos()];
    for &id in tokenizer.ends().iter().chain(&generation.eos_token_id).chain(&model.spec().eos) {
        if !ends.contains(&id) && (id as usize) < tokens {
            ends.push(id);
        }
    }
    // Some models have no row for special tokens that were used only in pretraining, such as `<mask>`.
    if !(rows..tokens).all(|id| tokenizer.is_special(id as u32) && !ends.contains(&(id as u32))) {
        return Err(Error::Tokenizer { origin: origin.into(), tokens, rows });
    }
    if tokens > rows {
        log::warn!("{origin}: the model has no rows for the special tokens from id {rows} on, so no text has them");
    }
    Ok(Student::new(model.with_vocab_size(tokens.min(rows)).with_eos_token_ids(ends)))
}

/// The help token whose logit a student's heads compute: that of the teacher, or else the first one.
fn trained_help_token(tokenizer: &Tokenizer) -> Option<u32> {
    tokenizer.help_token("teacher").ok().or_else(|| tokenizer.help_tokens().first().map(|(_, id)| *id))
}

/// The value in a JSON file. None if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, remedy: &'static str) -> Result<Option<T>, Error> {
    read_if_there(path)?.map(|json| parse(&json, path, remedy)).transpose()
}

fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.into(), source }),
    }
}

fn parse<T: DeserializeOwned>(json: &str, path: &Path, remedy: &'static str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|source| Error::Json { path: path.into(), remedy, source })
}

pub(crate) fn save_json(value: &impl Serialize, path: PathBuf) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value).expect("numbers are JSON");
    Ok(write_atomically(path, json + "\n")?)
}

/// Writes a file, or removes one that belongs to an earlier model.
pub(crate) fn save_or_remove(value: &Option<impl Serialize>, path: PathBuf) -> Result<(), Error> {
    match value {
        Some(value) => save_json(value, path),
        None if path.exists() => {
            fs::remove_file(&path).map_err(|source| Error::Text(TextError::Write { path, source }))
        }
        None => Ok(()),
    }
}
