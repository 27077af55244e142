//! Reads and writes the weights of a model as safetensors: one file, or shards with an index.

mod adapter;
mod load;
mod save;
mod tensors;

pub(crate) use adapter::{check_adapter, read_factor, save_adapter};
pub(crate) use load::{fill, float_dtype, load, unused};
pub use save::write_atomically;
pub(crate) use save::{remove, save};
pub(crate) use tensors::Tensors;

/// The tensor of the output head, in all families.
pub(crate) const HEAD: &str = "lm_head.weight";
const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Translates the path of a parameter in a module to its names in a file. A name that is not in the file is followed by
/// the next one, and the first one is the name in saved files.
pub(crate) type Names = fn(&str) -> Vec<String>;

/// The path of the current parameter in a module: its parts, each with the container that it is in, such as
/// "Struct:Linear".
#[derive(Default)]
pub(crate) struct ModulePath(Vec<(String, String)>);

impl ModulePath {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.to_owned(), container.to_owned()));
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    /// The parts of the path with dots between them.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// Whether a part of the path has this name.
    fn contains(&self, part: &str) -> bool {
        self.0.iter().any(|(name, _)| name == part)
    }

    /// Whether the parameter is in a container of this type itself, and not deeper.
    pub(crate) fn is_in(&self, container: &str) -> bool {
        self.0.last().and_then(|(_, last)| last.strip_prefix("Struct:")) == Some(container)
    }

    fn names(&self, names: Names) -> Vec<String> {
        names(&self.text())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::Path;

    use burn::tensor::Device;
    use serde_json::json;

    use super::save::save_in_shards;
    use super::*;
    use crate::{FloatFormat, LanguageModel, LlamaConfig, LmError, Pretrained, TokenBatch};

    fn model() -> Pretrained {
        let config: LlamaConfig = serde_json::from_value(json!({
            "model_type": "llama", "vocab_size": 20, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "eos_token_id": 1, "initializer_range": 1.0,
        }))
        .unwrap();
        Pretrained::Llama(config.init(&Device::flex()).unwrap())
    }

    fn logits(model: &Pretrained) -> Vec<f32> {
        let mut context = model.prefill(&TokenBatch::new(&[vec![3, 4, 5]], 0), 0);
        let logits = model.forward(&TokenBatch::column(&context.starts()), &mut context).logits;
        logits.into_data().iter::<f32>().collect()
    }

    fn files(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "config.json").collect();
        names.sort();
        names
    }

    #[test]
    fn a_model_in_shards_opens_again_and_replaces_a_whole_file() {
        let (scratch, model) = (tempfile::tempdir().unwrap(), model());
        let Pretrained::Llama(llama) = &model else { panic!("another family") };
        let names = crate::family::llama::names;
        self::model().save(scratch.path(), FloatFormat::F32).unwrap();
        assert_eq!(files(scratch.path()), [FILE]);
        save_in_shards(llama, scratch.path(), names, FloatFormat::F32, 2000).unwrap();
        let saved = files(scratch.path());
        assert!(saved.len() > 2 && saved.contains(&INDEX.to_owned()) && !saved.contains(&FILE.to_owned()), "{saved:?}");
        let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        assert_eq!(logits(&again), logits(&model));
        assert_eq!(Pretrained::inspect(scratch.path()).unwrap().files, saved.len() - 1);

        fs::remove_file(scratch.path().join(&saved[1])).unwrap();
        let error = Pretrained::load(scratch.path(), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(&saved[1]), "{error}");

        model.save(scratch.path(), FloatFormat::F32).unwrap();
        let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        assert_eq!(logits(&again), logits(&model), "a whole file wins over shards that are left");
        assert!(!scratch.path().join(INDEX).exists());
    }

    #[test]
    fn an_index_that_points_outside_its_folder_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(INDEX), r#"{"weight_map": {"a": "../model.safetensors"}}"#).unwrap();
        assert!(matches!(Tensors::open(scratch.path()), Err(LmError::Index { .. })));
    }
}
