//! Adds adapters to the layers of a module.

use std::collections::BTreeSet;

use burn::module::{Lora, Module, ModuleMapper, ModuleVisitor, Param, ParamGroup};
use burn::tensor::{DType, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::LoraConfig;
use super::config::ALL_LINEAR;
use crate::LmError;
use crate::weights::{self, HEAD, ModulePath, Names, Tensors, float_dtype};

/// Where the factors of adapters come from.
pub(super) enum Source<'a> {
    /// They are new: `A` is drawn, and `B` is 0.
    New(Box<ChaCha8Rng>),
    /// A file of PEFT.
    File(Tensors<'a>),
}

impl Source<'_> {
    /// The numbers of a factor with these names, the first of which is the one in saved files.
    fn read(&mut self, names: &[String], shape: [usize; 2], dtype: DType) -> Result<TensorData, LmError> {
        let rng = match self {
            Self::New(rng) => rng,
            Self::File(tensors) => return weights::read_factor(names, tensors, dtype),
        };
        let mut numbers = vec![0.0; shape[0] * shape[1]];
        if names[0].contains("lora_A") {
            let bound = 1.0 / (shape[1] as f32).sqrt();
            for number in &mut numbers {
                let uniform = (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
                *number = bound * (2.0 * uniform - 1.0);
            }
        }
        Ok(TensorData::new(numbers, shape).convert_dtype(dtype))
    }
}

/// A linear layer that can have an adapter.
pub(crate) struct Layer {
    /// The path of its weight in the module.
    path: String,
    /// Its possible names in Hugging Face's files.
    names: Vec<String>,
    /// `[outputs, inputs]`.
    shape: [usize; 2],
}

impl Layer {
    /// The names in PEFT's files and the shape of the factors `A` and `B`.
    pub(crate) fn factors(&self, rank: usize) -> [(Vec<String>, [usize; 2]); 2] {
        let [outputs, inputs] = self.shape;
        [(peft_names(&self.names, "lora_A"), [rank, inputs]), (peft_names(&self.names, "lora_B"), [outputs, rank])]
    }

    fn is_named(&self, target: &str) -> bool {
        let name = &self.names[0];
        name.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The last part of its name, such as `q_proj`.
    fn last_part(&self) -> &str {
        self.names[0].rsplit('.').next().unwrap_or_default()
    }
}

/// The names of a layer's factor in PEFT's files.
fn peft_names(layer: &[String], factor: &str) -> Vec<String> {
    layer.iter().map(|name| format!("base_model.model.{name}.{factor}.weight")).collect()
}

/// The names in PEFT's files of a factor at a path in a module. None if the path is not that of a factor.
pub(crate) fn factor_names(path: &str, names: Names) -> Option<Vec<String>> {
    // burn's `a` is PEFT's B, and its `b` is A: see the docs of the module.
    let (weight, factor) = match path.strip_suffix(".lora.a") {
        Some(weight) => (weight, "lora_B"),
        None => (path.strip_suffix(".lora.b")?, "lora_A"),
    };
    Some(peft_names(&layer_names(weight, names), factor))
}

/// The names of the layer with a weight.
fn layer_names(weight: &str, names: Names) -> Vec<String> {
    let names = names(weight);
    names.iter().map(|name| name.strip_suffix(".weight").unwrap_or(name).to_owned()).collect()
}

/// Adds adapters to the layers that the settings name, freezes everything else, and returns the settings with the names of
/// the layers. `defaults` are the names if there are none in the settings.
///
/// # Errors
/// [`LmError::LoraTarget`] if no layer has one of the names, and [`LmError::Adapter`] if a file does not fit.
pub(super) fn attach<M: Module>(
    module: M,
    names: Names,
    config: &LoraConfig,
    defaults: &[&str],
    source: &mut Source<'_>,
) -> Result<(M, LoraConfig), LmError> {
    let mut linear = LinearLayers { names, path: ModulePath::default(), found: vec![] };
    module.visit(&mut linear);
    let mut layers = linear.found;
    let mut targets: Vec<String> = match config.target_modules.is_empty() {
        true => defaults.iter().map(|&name| name.to_owned()).collect(),
        false => config.target_modules.clone(),
    };
    let all: BTreeSet<&str> = layers.iter().map(Layer::last_part).collect();
    if targets.iter().any(|target| target == ALL_LINEAR) {
        targets = all.iter().map(|&name| name.to_owned()).collect();
    }
    if let Some(target) = targets.iter().find(|target| !layers.iter().any(|layer| layer.is_named(target))) {
        let layers = all.into_iter().map(str::to_owned).collect();
        return Err(LmError::LoraTarget { target: target.clone(), layers });
    }
    layers.retain(|layer| targets.iter().any(|target| layer.is_named(target)));

    if let Source::File(tensors) = source {
        weights::check_adapter(&layers, config.rank, tensors)?;
    }
    let paths: Vec<String> = layers.iter().map(|layer| layer.path.clone()).collect();
    // burn divides by the rank.
    let alpha = config.scale() * config.rank as f64;
    let module = module.apply_lora(Lora::new(config.rank, alpha).set_param_group(ParamGroup::from_paths(paths)));
    let mut factors = Factors { names, path: ModulePath::default(), source, error: None };
    let module = module.map(&mut factors);
    match factors.error {
        Some(error) => Err(error),
        None => Ok((module, LoraConfig { target_modules: targets, ..config.clone() })),
    }
}

/// Finds the linear layers of a module, except its output head.
struct LinearLayers {
    names: Names,
    path: ModulePath,
    found: Vec<Layer>,
}

impl ModuleVisitor for LinearLayers {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.text();
        let is_layer = self.path.is_in("Linear") && path != HEAD;
        if let (true, &[outputs, inputs]) = (is_layer, param.lazy_shape().as_slice()) {
            let names = layer_names(&path, self.names);
            self.found.push(Layer { path, names, shape: [outputs, inputs] });
        }
    }
}

/// Replaces the factors of all adapters.
struct Factors<'a, 's> {
    names: Names,
    path: ModulePath,
    source: &'a mut Source<'s>,
    error: Option<LmError>,
}

impl ModuleMapper for Factors<'_, '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let names = factor_names(&self.path.text(), self.names);
        let (Some(names), &[rows, columns]) = (names, param.lazy_shape().as_slice()) else { return param };
        let dtype = float_dtype(&param.lazy_device());
        weights::fill(param, dtype, &mut self.error, || self.source.read(&names, [rows, columns], dtype))
    }
}
