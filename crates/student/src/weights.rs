//! Loads and saves the weights of the heads as safetensors, with the layout of PyTorch.

use std::path::Path;

use burn::store::{
    BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore,
};
use burn::tensor::{DType, Device};
use wheels_lm::{FloatFormat, LmError};

/// Loads every parameter of `module` from the content of a safetensors file. `origin` is its name in error messages.
/// `optional` are parameters that keep their values if the file does not have them.
///
/// # Errors
/// [`LmError::Safetensors`] if the file is damaged, and [`LmError::Weights`] if tensors are missing or have another
/// shape.
pub(crate) fn load<M: ModuleSnapshot>(
    module: &mut M,
    origin: &str,
    bytes: &[u8],
    optional: &[&str],
    device: &Device,
) -> Result<(), LmError> {
    let dtype = match device.settings().float_dtype.into() {
        DType::Flex32 => DType::F32,
        stored => stored,
    };
    let mut store = SafetensorsStore::from_bytes(Some(bytes.to_vec()))
        .with_from_adapter(PyTorchToBurnAdapter.chain(FloatCastAdapter::to(dtype)))
        .validate(false)
        .allow_partial(true);
    let result = module
        .load_from(&mut store)
        .map_err(|error| LmError::Safetensors { origin: origin.into(), reason: error.to_string() })?;
    let mut problems: Vec<String> = result.errors.iter().map(ToString::to_string).collect();
    let missing = result.missing.iter().filter(|(path, _)| !optional.contains(&path.as_str()));
    problems.extend(missing.map(|(path, _)| format!("{path} is missing")));
    if problems.is_empty() { Ok(()) } else { Err(LmError::Weights { origin: origin.into(), problems }) }
}

/// Saves the weights of `module` as a safetensors file. If writing fails, the old content is unchanged.
///
/// # Errors
/// [`LmError::Save`] if the file cannot be written.
pub(crate) fn save<M: ModuleSnapshot>(module: &M, path: &Path, format: FloatFormat) -> Result<(), LmError> {
    let mut store = SafetensorsStore::from_file(path)
        .overwrite(true)
        .with_to_adapter(BurnToPyTorchAdapter.chain(FloatCastAdapter::to(format.into())))
        .clear_metadata()
        .metadata("format", "pt");
    module.save_into(&mut store).map_err(|error| LmError::Save { path: path.into(), reason: error.to_string() })
}
