//! Checkpoints: folders that are whole or absent.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};

use crate::{DistillError, TrainerConfig};

/// Everything of a run that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) config: TrainerConfig,
    pub(crate) step: usize,
    pub(crate) lessons: serde_json::Value,
    pub(crate) best: Option<Best>,
    pub(crate) stale_validations: usize,
}

/// The best validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: usize,
    pub(crate) score: f64,
}

/// The folder of a run: its checkpoints, the best weights so far and its metrics.
///
/// A checkpoint is written under another name and renamed when it is whole, so a run that is killed at any moment, or
/// whose disk is full, leaves the one before it untouched. The last two are kept.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

const STATE: &str = "state.json";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const TARGET: &str = "target.bpk";
const KEPT: usize = 2;

impl Checkpoints {
    /// Uses `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub fn new(folder: impl AsRef<Path>) -> Result<Self, DistillError> {
        let folder = folder.as_ref().to_path_buf();
        fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        Ok(Self { folder })
    }

    /// The file of the run's [`StepReport`](crate::StepReport)s.
    pub fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// The steps at which there are whole checkpoints, in order.
    ///
    /// # Errors
    /// [`DistillError::Io`].
    pub fn steps(&self) -> Result<Vec<usize>, DistillError> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io("read", &self.folder))? {
            let name = entry.map_err(io("read", &self.folder))?.file_name();
            if let Some(step) = name.to_str().and_then(|name| name.strip_prefix("checkpoint-")?.parse().ok()) {
                steps.push(step);
            }
        }
        steps.sort_unstable();
        Ok(steps)
    }

    pub(crate) fn save<M: Module>(
        &self,
        state: &State,
        model: &M,
        optimizer: &ModuleOptimizer,
        target: Option<&M>,
    ) -> Result<(), DistillError> {
        let whole = self.path(state.step);
        let partial = self.folder.join("checkpoint.partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io("remove", &partial))?;
        }
        fs::create_dir(&partial).map_err(io("create", &partial))?;
        let record = |path: PathBuf| move |error: burn::store::RecordError| torn(&path, error);
        model.clone().save_file(partial.join(MODEL)).map_err(record(partial.join(MODEL)))?;
        optimizer.save(partial.join(OPTIMIZER)).map_err(record(partial.join(OPTIMIZER)))?;
        if let Some(target) = target {
            target.clone().save_file(partial.join(TARGET)).map_err(record(partial.join(TARGET)))?;
        }
        let text = serde_json::to_string_pretty(state).expect("a state serialises");
        fs::write(partial.join(STATE), text).map_err(io("write", &partial))?;
        if whole.exists() {
            fs::remove_dir_all(&whole).map_err(io("remove", &whole))?;
        }
        fs::rename(&partial, &whole).map_err(io("write", &whole))?;
        let steps = self.steps()?;
        for &old in &steps[..steps.len().saturating_sub(KEPT)] {
            fs::remove_dir_all(self.path(old)).map_err(io("remove", &self.folder))?;
        }
        Ok(())
    }

    /// The last whole checkpoint, if there is one; `model` and `optimizer` give the shapes.
    pub(crate) fn load<M: Module>(
        &self,
        config: &TrainerConfig,
        model: M,
        optimizer: ModuleOptimizer,
    ) -> Result<Option<(State, M, ModuleOptimizer)>, DistillError> {
        let Some(step) = self.steps()?.pop() else { return Ok(None) };
        let folder = self.path(step);
        let path = folder.join(STATE);
        let text = fs::read_to_string(&path).map_err(io("read", &path))?;
        let state: State = serde_json::from_str(&text).map_err(|error| torn(&path, error))?;
        same_config(&state.config, config, &path)?;
        let model = load_weights(&folder.join(MODEL), model)?;
        let optimizer = optimizer.load(folder.join(OPTIMIZER)).map_err(|error| torn(&folder.join(OPTIMIZER), error))?;
        Ok(Some((state, model, optimizer)))
    }

    /// The target network of a checkpoint.
    pub(crate) fn load_target<M: Module>(&self, step: usize, model: M) -> Result<M, DistillError> {
        load_weights(&self.path(step).join(TARGET), model)
    }

    pub(crate) fn save_best<M: Module>(&self, model: &M) -> Result<(), DistillError> {
        let path = self.best();
        model.clone().save_file(&path).map_err(|error| torn(&path, error))
    }

    pub(crate) fn load_best<M: Module>(&self, model: M) -> Result<M, DistillError> {
        load_weights(&self.best(), model)
    }

    /// The error of a checkpoint whose state is of no use.
    pub(crate) fn unusable(&self, step: usize, reason: String) -> DistillError {
        torn(&self.path(step).join(STATE), reason)
    }

    fn best(&self) -> PathBuf {
        self.folder.join("best.bpk")
    }

    fn path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("checkpoint-{step:08}"))
    }
}

fn load_weights<M: Module>(path: &Path, model: M) -> Result<M, DistillError> {
    model.try_load_file(path).map_err(|error| torn(path, error))
}

/// A run may be told to go on for longer, or to save and validate at other times; the rest decides its numbers.
fn same_config(saved: &TrainerConfig, asked: &TrainerConfig, path: &Path) -> Result<(), DistillError> {
    let value = |config: &TrainerConfig| serde_json::to_value(config).expect("a config serialises");
    let (saved, asked) = (value(saved), value(asked));
    let free = ["checkpoint_every", "validate_every", "patience"];
    for (field, value) in saved.as_object().into_iter().flatten() {
        if !free.contains(&field.as_str()) && *value != asked[field] {
            return Err(DistillError::OtherConfig {
                path: path.into(),
                field: field.clone(),
                saved: value.to_string(),
                asked: asked[field].to_string(),
            });
        }
    }
    Ok(())
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> DistillError + 'a {
    move |source| DistillError::Io { action, path: path.into(), source }
}

fn torn(path: &Path, error: impl std::fmt::Display) -> DistillError {
    DistillError::Checkpoint { path: path.into(), reason: error.to_string() }
}
