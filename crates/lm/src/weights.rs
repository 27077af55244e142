//! Weights between burn modules and safetensors files, through burn-store.

use burn::store::{
    ApplyResult, BurnToPyTorchAdapter, FloatCastAdapter, KeyRemapper, ModuleAdapter, ModuleSnapshot,
    PyTorchToBurnAdapter, SafetensorsStore,
};
use burn::tensor::{DType, Device};
use std::fs;
use std::path::Path;

use crate::LmError;

/// How the names of a family's tensors here and in Hugging Face's files turn into each other: (pattern, replacement).
pub(crate) struct Names {
    pub(crate) load: &'static [(&'static str, &'static str)],
    pub(crate) save: &'static [(&'static str, &'static str)],
}

/// What loading a checkpoint found beside the weights that it needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors of the file that the model has no place for, by the names that they would have here.
    pub unused: Vec<String>,
}

/// Fills `module` from a store; every parameter must be there and fit.
///
/// # Errors
/// [`LmError::Safetensors`] for a torn file, [`LmError::Weights`] for tensors that are missing or of another shape.
pub(crate) fn load<M: ModuleSnapshot>(
    module: &mut M,
    store: SafetensorsStore,
    names: &Names,
    device: &Device,
    origin: &str,
) -> Result<LoadReport, LmError> {
    let theirs = KeyRemapper::from_pattern_iter(names.load.iter().copied());
    let mut store = store
        .remap(theirs.expect("the patterns of a family are valid"))
        .with_from_adapter(PyTorchToBurnAdapter.chain(FloatCastAdapter::to(float_dtype(device))))
        .skip_enum_variants(true)
        .validate(false)
        .allow_partial(true);
    let result = module
        .load_from(&mut store)
        .map_err(|error| LmError::Safetensors { origin: origin.into(), reason: error.to_string() })?;
    report(result, origin)
}

fn report(result: ApplyResult, origin: &str) -> Result<LoadReport, LmError> {
    let missing = result.missing.iter().map(|(path, _)| format!("{path} is missing"));
    let problems: Vec<String> = result.errors.iter().map(ToString::to_string).chain(missing).collect();
    if problems.is_empty() {
        Ok(LoadReport { unused: result.unused })
    } else {
        Err(LmError::Weights { origin: origin.into(), problems })
    }
}

/// Writes `module` to `path`, whole or not at all.
///
/// # Errors
/// [`LmError::Save`] where the weights cannot be serialised, [`LmError::Write`] where the file cannot be written.
pub(crate) fn save<M: ModuleSnapshot>(module: &M, path: &Path, names: &Names, format: DType) -> Result<(), LmError> {
    let ours = KeyRemapper::from_pattern_iter(names.save.iter().copied());
    let mut store = SafetensorsStore::from_bytes(None)
        .remap(ours.expect("the patterns of a family are valid"))
        .with_to_adapter(BurnToPyTorchAdapter.chain(FloatCastAdapter::to(format)))
        .skip_enum_variants(true)
        .clear_metadata()
        .metadata("format", "pt");
    let saved = module.save_into(&mut store).and_then(|()| store.get_bytes());
    let bytes = saved.map_err(|error| LmError::Save { path: path.into(), reason: error.to_string() })?;
    write(path, &bytes)
}

/// Writes a file under another name and renames it when it is whole.
///
/// # Errors
/// [`LmError::Write`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), LmError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|source| LmError::Write { path: path.into(), source })
}

/// The format in which weights reach a device: flex32 is a way to compute with numbers that are stored as f32.
fn float_dtype(device: &Device) -> DType {
    match device.settings().float_dtype.into() {
        DType::Flex32 => DType::F32,
        stored => stored,
    }
}
