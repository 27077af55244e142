//! Loads the parameters of a module.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{ModulePath, Names, Tensors};
use crate::load_options::int8;
use crate::{LmError, WeightFormat};

/// Loads every parameter of `module`, tensor by tensor, from the file to the device of the parameter.
///
/// The matrices of linear layers and embedding tables are stored in `format`, except those of T5's `wo`, whose inputs can
/// exceed the range of f16. In int8 are the linear layers but the output head, whose rows can grow.
///
/// All names, shapes and number formats are checked before anything is allocated. A tensor that is not used is reported
/// in the log, except those that `is_copy` accepts.
///
/// # Errors
/// [`LmError::Weights`] with each tensor that is missing or does not fit, [`LmError::Range`] if a number is too large for
/// the device's float format, and [`LmError::Read`] if a file cannot be read.
pub(crate) fn load<M: Module>(
    module: M,
    tensors: &Tensors<'_>,
    names: Names,
    is_copy: fn(&str) -> bool,
    format: WeightFormat,
) -> Result<M, LmError> {
    let used = used(&module, tensors, names)?;
    let unused = unused_names(&used, tensors, is_copy);
    if !unused.is_empty() {
        log::warn!("{} has tensors that the model does not use: {}", tensors.origin, unused.join(", "));
    }
    let mut loader = Loader { tensors, used: &used, format, path: ModulePath::default(), error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// The tensors of a checkpoint that a module does not use, except those that `is_copy` accepts.
///
/// # Errors
/// [`LmError::Weights`] with each tensor that is missing or does not fit.
pub(crate) fn unused<M: Module>(
    module: &M,
    tensors: &Tensors<'_>,
    names: Names,
    is_copy: fn(&str) -> bool,
) -> Result<Vec<String>, LmError> {
    Ok(unused_names(&used(module, tensors, names)?, tensors, is_copy))
}

fn unused_names(used: &HashMap<String, String>, tensors: &Tensors<'_>, is_copy: fn(&str) -> bool) -> Vec<String> {
    let loaded: HashSet<&str> = used.values().map(String::as_str).collect();
    tensors.names().filter(|name| !loaded.contains(name) && !is_copy(name)).map(str::to_owned).collect()
}

/// The name in the file of each parameter of a module, by its path in the module.
fn used<M: Module>(module: &M, tensors: &Tensors<'_>, names: Names) -> Result<HashMap<String, String>, LmError> {
    let mut check = Check { tensors, names, path: ModulePath::default(), used: HashMap::new(), problems: vec![] };
    module.visit(&mut check);
    let Check { used, problems, .. } = check;
    if problems.is_empty() { Ok(used) } else { Err(LmError::Weights { origin: tensors.origin.clone(), problems }) }
}

/// Compares the parameters of a module with the header of a checkpoint.
struct Check<'a> {
    tensors: &'a Tensors<'a>,
    names: Names,
    path: ModulePath,
    /// The name in the file of each parameter, by its path in the module.
    used: HashMap<String, String>,
    problems: Vec<String>,
}

impl ModuleVisitor for Check<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let names = self.path.names(self.names);
        let Some(name) = names.iter().find(|name| self.tensors.entries.contains_key(*name)) else {
            self.problems.push(format!("{} is missing", names[0]));
            return;
        };
        self.problems.extend(self.tensors.misfit(name, param.lazy_shape().as_slice()));
        self.used.insert(self.path.text(), name.clone());
    }
}

/// Reads the parameters of a module.
struct Loader<'a> {
    tensors: &'a Tensors<'a>,
    used: &'a HashMap<String, String>,
    format: WeightFormat,
    path: ModulePath,
    error: Option<LmError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Self { tensors, used, format, path, error } = self;
        let device = param.lazy_device();
        let is_layer = D == 2 && path.is_in("Linear");
        let is_table = D == 2 && path.is_in("Embedding");
        let mut read = |param, dtype| fill(param, dtype, error, || tensors.read(&used[&path.text()], dtype));
        let mut param = param;
        if *format == WeightFormat::Int8 && is_layer && !path.contains("lm_head") {
            param = read(param, float_dtype(&device));
            if let Some(weight) = int8(&param.val()) {
                return param.map(|_| weight);
            }
        }
        let is_wide = *format == WeightFormat::F32 || !(is_layer || is_table) || path.contains("wo");
        read(param, if is_wide { float_dtype(&device) } else { format.floats().into() })
    }
}

/// Gives a parameter the numbers that `read` returns. After an error nothing more is read, and parameters stay as they are.
pub(crate) fn fill<const D: usize>(
    param: Param<Tensor<D>>,
    dtype: DType,
    error: &mut Option<LmError>,
    read: impl FnOnce() -> Result<TensorData, LmError>,
) -> Param<Tensor<D>> {
    if error.is_some() {
        return param;
    }
    match read() {
        Ok(data) => {
            let (device, id) = (param.lazy_device(), param.id);
            param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
        }
        Err(failed) => {
            *error = Some(failed);
            param
        }
    }
}

/// The float format in which weights and activations are stored on a device. Flex32 is only a format for computation,
/// stored as f32.
pub(crate) fn float_dtype(device: &Device) -> DType {
    match device.settings().float_dtype.into() {
        DType::Flex32 => DType::F32,
        stored => stored,
    }
}
