//! What an output folder holds already.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::DistillError;

/// What an output folder holds already, so that a program replaces nothing, and mixes its files with no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FolderContent {
    /// Nothing that a program would replace. The folder may be missing.
    Free,
    /// The path is that of a file.
    File,
    /// A run of a [`Trainer`](crate::Trainer) that is no distillation.
    Training,
    /// A run with a distillation.json.
    Distillation,
    /// A [`TeacherCache`](crate::TeacherCache).
    TeacherCache,
    /// The outputs of an evaluation.
    Evaluation,
    /// A model that no run has left there, or whose run has lost its checkpoints.
    Model,
}

/// The start of the name of a checkpoint, before its step.
pub(crate) const CHECKPOINT: &str = "checkpoint-";

const MODEL_FILES: [&str; 3] = ["config.json", "adapter_config.json", "pytorch_model.bin"];

impl FolderContent {
    /// What a folder holds.
    ///
    /// # Errors
    /// [`DistillError::Io`] if the folder cannot be read.
    pub fn of(folder: impl AsRef<Path>) -> Result<Self, DistillError> {
        let folder = folder.as_ref();
        let failed = |source| DistillError::Io { action: "read", path: folder.into(), source };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Free),
            Err(_) if folder.is_file() => return Ok(Self::File),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        let has = |file: &str| names.iter().any(|name| name == file);
        let is_weights = |name: &String| name.ends_with(".safetensors");
        Ok(match () {
            () if names.iter().any(|name| is_checkpoint(name)) && has("distillation.json") => Self::Distillation,
            () if names.iter().any(|name| is_checkpoint(name)) => Self::Training,
            () if has("cache.json") => Self::TeacherCache,
            () if has("settings.json") && (has("outputs") || has("results.json")) => Self::Evaluation,
            () if names.iter().any(is_weights) || MODEL_FILES.into_iter().any(has) => Self::Model,
            () if has("distillation.json") => Self::Distillation,
            () if has("train.json") => Self::Training,
            () => Self::Free,
        })
    }
}

fn is_checkpoint(name: &str) -> bool {
    name.strip_prefix(CHECKPOINT).is_some_and(|step| step.parse::<usize>().is_ok())
}

impl fmt::Display for FolderContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "nothing",
            Self::File => "a file",
            Self::Training => "a run of `train`",
            Self::Distillation => "a run of `distill`",
            Self::TeacherCache => "the cache of a teacher (`cache-teacher`)",
            Self::Evaluation => "an evaluation (`evaluate`)",
            Self::Model => "a model",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_files() {
        for (names, expected) in [
            (&[][..], FolderContent::Free),
            (&["notes.txt", "settings.json", "tokenizer.json"], FolderContent::Free),
            (&["train.json", "metrics.jsonl"], FolderContent::Training),
            (&["checkpoint-00000004", "model.safetensors", "config.json"], FolderContent::Training),
            (&["checkpoint-00000004", "distillation.json", "model.safetensors"], FolderContent::Distillation),
            (&["distillation.json", "tokenizer.json"], FolderContent::Distillation),
            (&["distillation.json", "model.safetensors"], FolderContent::Model),
            (&["model-00001-of-00002.safetensors"], FolderContent::Model),
            (&["adapter_config.json"], FolderContent::Model),
            (&["cache.json", "shard-00000.safetensors"], FolderContent::TeacherCache),
            (&["settings.json", "outputs"], FolderContent::Evaluation),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            for name in names {
                fs::write(folder.path().join(name), "").expect("room");
            }
            assert_eq!(FolderContent::of(folder.path()).expect("it can be read"), expected, "{names:?}");
            assert_eq!(FolderContent::of(folder.path().join("none")).expect("no folder"), FolderContent::Free);
            let file = folder.path().join("file");
            fs::write(&file, "").expect("room");
            assert_eq!(FolderContent::of(file).expect("a file"), FolderContent::File);
        }
    }
}
