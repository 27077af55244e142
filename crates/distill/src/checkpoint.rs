//! Checkpoints, each of which is a folder that is complete or absent.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::folder_content::CHECKPOINT;
use crate::teacher_cache::hexadecimal;
use crate::{DistillError, TrainerConfig};

/// The part of a checkpoint that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) config: TrainerConfig,
    pub(crate) step: usize,
    /// The number of parameters of the student. None in checkpoints of earlier versions.
    pub(crate) parameters: Option<usize>,
    /// [`TrainedPart::frozen`]. None in checkpoints of earlier versions, which hold all weights.
    #[serde(default)]
    pub(crate) frozen: Option<String>,
    /// The state of the [`BatchSource`](crate::BatchSource).
    pub(crate) source: serde_json::Value,
    pub(crate) best: Option<Best>,
    pub(crate) stale_validations: usize,
}

/// The best validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: usize,
    pub(crate) score: f64,
}

/// The parameters that a run trains. Its checkpoints hold only these. All others, such as the base model of adapters, come
/// from the student that is given.
#[derive(Clone, Debug)]
pub(crate) struct TrainedPart {
    /// Loading a checkpoint replaces them by those of its file.
    ids: Vec<ParamId>,
    /// A digest of the other parameters, empty if there are none.
    pub(crate) frozen: String,
}

/// The number of values at the start and at the end of each frozen tensor that are hashed.
const HASHED_VALUES: usize = 256;

impl TrainedPart {
    /// The trained parameters of a model on an autodiff device.
    pub(crate) fn of<M: Module>(model: &M) -> Self {
        struct Part {
            ids: Vec<ParamId>,
            frozen: Option<Sha256>,
        }
        impl ModuleVisitor for Part {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let weights = param.base();
                if weights.is_require_grad() {
                    return self.ids.push(param.id);
                }
                let hash = self.frozen.get_or_insert_default();
                for size in weights.dims() {
                    hash.update((size as u64).to_le_bytes());
                }
                let count = weights.shape().num_elements();
                let hashed = count.min(HASHED_VALUES);
                if hashed > 0 {
                    let values = weights.without_autodiff().reshape([count]);
                    for start in [0, count - hashed] {
                        let values = values.clone().narrow(0, start, hashed).into_data();
                        hash.update(values.convert_dtype(DType::F32).as_bytes());
                    }
                }
            }
        }
        let mut part = Part { ids: vec![], frozen: None };
        model.visit(&mut part);
        Self { ids: part.ids, frozen: part.frozen.map_or(String::new(), hexadecimal) }
    }

    /// Whether all parameters are trained.
    fn is_whole(&self) -> bool {
        self.frozen.is_empty()
    }

    fn record<M: Module>(&self, model: &M) -> ModuleRecord {
        let model = model.clone();
        match self.is_whole() {
            true => model.into_record(),
            false => model.into_record_group(ParamGroup::from_ids(self.ids.clone())),
        }
    }
}

/// The folder of a run: its checkpoints, the best weights so far, and its metrics.
///
/// A checkpoint is written under another name and renamed when it is complete. A killed run or a full disk therefore
/// leaves the checkpoint before it untouched. The last two are kept.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
}

const STATE: &str = "state.json";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const TARGET: &str = "target.bpk";

/// The largest number of characters of a reason in an error.
const MAX_REASON: usize = 300;

/// The number of checkpoints that are kept.
const KEPT: usize = 2;

impl Checkpoints {
    /// Uses `folder`, and creates it if it is missing.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub(crate) fn new(folder: impl AsRef<Path>) -> Result<Self, DistillError> {
        let folder = folder.as_ref().to_path_buf();
        fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        Ok(Self { folder })
    }

    /// The file of the run's [`StepReport`](crate::StepReport)s.
    pub(crate) fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// The steps of the complete checkpoints, in order.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub(crate) fn steps(&self) -> Result<Vec<usize>, DistillError> {
        let mut steps = Vec::new();
        for name in self.names()? {
            let digits = name.strip_prefix(CHECKPOINT);
            steps.extend(digits.and_then(|digits| digits.parse::<usize>().ok()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// The names of all files and folders that are UTF-8.
    fn names(&self) -> Result<Vec<String>, DistillError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io("read", &self.folder))? {
            names.extend(entry.map_err(io("read", &self.folder))?.file_name().into_string());
        }
        Ok(names)
    }

    /// Writes the checkpoint of `state.step`, and removes the checkpoints of later steps. Those are left from an
    /// earlier run that this run replaces, and [`load`](Self::load) would take them for its own.
    ///
    /// # Errors
    /// [`DistillError::Io`] and [`DistillError::Save`].
    pub(crate) fn save<M: Module>(
        &self,
        state: &State,
        model: &M,
        optimizer: &ModuleOptimizer,
        target: Option<&M>,
        part: &TrainedPart,
    ) -> Result<(), DistillError> {
        let whole = self.path(state.step);
        let partial = self.folder.join("checkpoint.partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io("remove", &partial))?;
        }
        fs::create_dir(&partial).map_err(io("create", &partial))?;
        save_weights(&partial.join(MODEL), model, part)?;
        let path = partial.join(OPTIMIZER);
        optimizer.save(&path).map_err(|source| DistillError::Save { path, source })?;
        if let Some(target) = target {
            save_weights(&partial.join(TARGET), target, part)?;
        }
        let text = serde_json::to_string_pretty(state).expect("a state serialises");
        fs::write(partial.join(STATE), text).map_err(io("write", &partial))?;
        for step in self.steps()?.into_iter().filter(|&step| step >= state.step) {
            self.remove(step)?;
        }
        fs::rename(&partial, &whole).map_err(io("write", &whole))?;
        let mut old = self.steps()?;
        old.truncate(old.len().saturating_sub(KEPT));
        for step in old {
            self.remove(step)?;
        }
        Ok(())
    }

    fn remove(&self, step: usize) -> Result<(), DistillError> {
        let path = self.path(step);
        fs::remove_dir_all(&path).map_err(io("remove", &path))
    }

    /// The part of the last complete checkpoint that is not a tensor, if there is a checkpoint.
    ///
    /// # Errors
    /// [`DistillError::Io`] and [`DistillError::Checkpoint`] if it cannot be read.
    pub(crate) fn last_state(&self) -> Result<Option<State>, DistillError> {
        self.last()
    }

    /// The configuration in the last complete checkpoint, if there is a checkpoint. The rest of the state, which can be
    /// large, is skipped.
    ///
    /// # Errors
    /// As [`last_state`](Self::last_state).
    pub(crate) fn last_config(&self) -> Result<Option<TrainerConfig>, DistillError> {
        #[derive(Deserialize)]
        struct StateConfig {
            config: TrainerConfig,
        }
        Ok(self.last::<StateConfig>()?.map(|state| state.config))
    }

    fn last<S: DeserializeOwned>(&self) -> Result<Option<S>, DistillError> {
        let Some(step) = self.steps()?.pop() else { return Ok(None) };
        let path = self.path(step).join(STATE);
        let text = fs::read_to_string(&path).map_err(io("read", &path))?;
        serde_json::from_str(&text).map(Some).map_err(|error| unusable(&path, error))
    }

    /// Checks that a checkpoint belongs to a run with this configuration, a model of this size, and these frozen weights.
    ///
    /// # Errors
    /// [`DistillError::OtherConfig`], [`DistillError::OtherModel`] and [`DistillError::OtherBase`].
    pub(crate) fn check<M: Module>(
        &self,
        state: &State,
        config: &TrainerConfig,
        model: &M,
        part: &TrainedPart,
    ) -> Result<(), DistillError> {
        let folder = self.path(state.step);
        same_config(state, config, &folder.join(STATE))?;
        let here = model.num_params();
        if let Some(saved) = state.parameters.filter(|&saved| saved != here) {
            return Err(DistillError::OtherModel { path: folder, saved, here });
        }
        match &state.frozen {
            Some(frozen) if *frozen != part.frozen => Err(DistillError::OtherBase { path: folder }),
            _ => Ok(()),
        }
    }

    /// The weights and the optimizer of a checkpoint. `model` has the frozen weights, and gives the shapes of the others.
    ///
    /// # Errors
    /// [`DistillError::Checkpoint`] if it cannot be read.
    pub(crate) fn load<M: Module>(
        &self,
        step: usize,
        model: M,
        optimizer: ModuleOptimizer,
        part: &TrainedPart,
    ) -> Result<(M, ModuleOptimizer), DistillError> {
        let folder = self.path(step);
        let model = load_weights(&folder.join(MODEL), model, part)?;
        let path = folder.join(OPTIMIZER);
        let optimizer = optimizer.load(&path).map_err(|error| unusable(&path, error))?;
        Ok((model, optimizer))
    }

    /// The target network of a checkpoint.
    pub(crate) fn load_target<M: Module>(&self, step: usize, model: M, part: &TrainedPart) -> Result<M, DistillError> {
        load_weights(&self.path(step).join(TARGET), model, part)
    }

    pub(crate) fn save_best<M: Module>(&self, model: &M, part: &TrainedPart) -> Result<(), DistillError> {
        save_weights(&self.best(), model, part)
    }

    pub(crate) fn load_best<M: Module>(&self, model: M, part: &TrainedPart) -> Result<M, DistillError> {
        load_weights(&self.best(), model, part)
    }

    fn best(&self) -> PathBuf {
        self.folder.join("best.bpk")
    }

    fn path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("checkpoint-{step:08}"))
    }
}

fn save_weights<M: Module>(path: &Path, model: &M, part: &TrainedPart) -> Result<(), DistillError> {
    part.record(model).save(path).map_err(|source| DistillError::Save { path: path.into(), source })
}

/// `model` with the weights of a file: all of them, or the trained ones.
fn load_weights<M: Module>(path: &Path, model: M, part: &TrainedPart) -> Result<M, DistillError> {
    let record = ModuleRecord::load(path).map_err(|error| unusable(path, error))?;
    let (found, trained) = (record.len(), part.ids.len());
    if found < trained {
        return Err(unusable(path, format!("it has {found} of {trained} trained tensors")));
    }
    model.try_load_record(record.allow_partial(!part.is_whole())).map_err(|error| unusable(path, error))
}

/// The fields of a configuration that may change in a run. Every other field decides the numbers of the run.
const FREE: [&str; 5] = ["steps", "checkpoint_every", "validate_every", "patience", "gradient_checkpointing"];

/// Checks that a run is resumed with its own configuration, apart from the fields that are [`FREE`].
fn same_config(state: &State, asked: &TrainerConfig, path: &Path) -> Result<(), DistillError> {
    let saved = &state.config;
    if saved.steps != asked.steps && asked.steps > state.step && asked.decay.depends_on_steps() {
        log::warn!(
            "the run was started for {} steps and goes on to {}: from here on its learning rate follows the new number",
            saved.steps,
            asked.steps
        );
    }
    match first_difference(saved, asked, &FREE) {
        Some([field, saved, asked]) => {
            Err(DistillError::OtherConfig { path: path.into(), config: "TrainerConfig", field, saved, asked })
        }
        None => Ok(()),
    }
}

/// The first field in which two configurations differ, and its value in each. Fields in `free` may differ.
pub(crate) fn first_difference<C: Serialize>(saved: &C, asked: &C, free: &[&str]) -> Option<[String; 3]> {
    let [saved, asked] = [saved, asked].map(|config| serde_json::to_value(config).expect("a config serialises"));
    let fields = saved.as_object().expect("a config has fields");
    for (field, there) in fields {
        let here = &asked[field];
        if !free.contains(&field.as_str()) && there != here {
            return Some([field.clone(), there.to_string(), here.to_string()]);
        }
    }
    None
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> DistillError + 'a {
    move |source| DistillError::Io { action, path: path.into(), source }
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> DistillError {
    // The errors of burn's stores list every tensor.
    let mut reason = error.to_string();
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
        reason.truncate(end);
        reason.push_str("...");
    }
    DistillError::Checkpoint { path: path.into(), reason }
}
