//! Reads and writes the factors of adapters, with the names that Hugging Face's library PEFT gives them.

use std::collections::HashSet;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, TensorData};

use super::save::{Collect, Partial, write_tensors};
use super::{ModulePath, Names, Tensors};
use crate::lora::{Layer, factor_names};
use crate::{FloatFormat, LmError};

/// Checks that a file has the factors of these layers, with this rank, and nothing else.
///
/// # Errors
/// [`LmError::Adapter`] with each tensor that is missing, does not fit, or belongs to no layer.
pub(crate) fn check_adapter(layers: &[Layer], rank: usize, tensors: &Tensors<'_>) -> Result<(), LmError> {
    let (mut problems, mut used) = (Vec::new(), HashSet::new());
    for (names, expected) in layers.iter().flat_map(|layer| layer.factors(rank)) {
        let Some(name) = names.iter().find(|name| tensors.shape(name).is_some()) else {
            problems.push(format!("{} is missing", names[0]));
            continue;
        };
        problems.extend(tensors.misfit(name, &expected));
        used.insert(name.clone());
    }
    let unused = tensors.names().filter(|name| !used.contains(*name));
    problems.extend(unused.map(|name| format!("{name} belongs to no layer with an adapter")));
    if problems.is_empty() {
        return Ok(());
    }
    Err(LmError::Adapter { origin: tensors.origin.clone(), problems })
}

/// The numbers of the first tensor in `names` that a checked file has.
pub(crate) fn read_factor(names: &[String], tensors: &Tensors<'_>, dtype: DType) -> Result<TensorData, LmError> {
    let name = names.iter().find(|name| tensors.shape(name).is_some()).expect("the file was checked");
    tensors.read(name, dtype)
}

/// Writes the factors of all adapters of a module. If writing fails, the old file is unchanged.
///
/// # Errors
/// [`LmError::Write`] if the file cannot be written.
pub(crate) fn save_adapter<M: Module>(
    module: &M,
    path: &Path,
    names: Names,
    format: FloatFormat,
) -> Result<(), LmError> {
    let name = |path: &str| factor_names(path, names).map(|mut names| names.swap_remove(0));
    let mut collect = Collect { name: &name, format, path: ModulePath::default(), tensors: vec![] };
    module.visit(&mut collect);
    Partial::create(path.to_owned(), |file| write_tensors(file, &collect.tensors))?.replace()
}
