//! Loads and saves the weights of burn modules as safetensors, with burn-store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use burn::store::{
    BurnToPyTorchAdapter, FloatCastAdapter, KeyRemapper, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter,
    SafetensorsStore,
};
use burn::tensor::{DType, Device};
use safetensors::tensor::Metadata;

use crate::{FloatFormat, LmError};

/// A safetensors file on disk or in memory.
#[derive(Clone, Copy, Debug)]
pub enum WeightSource<'a> {
    /// The path of a safetensors file.
    File(&'a Path),
    /// The content of a safetensors file.
    Bytes {
        /// The name of the file in error messages.
        origin: &'a str,
        /// The content.
        bytes: &'a [u8],
    },
}

/// How tensor names are converted between Hugging Face's files and a module, as pairs of a regex and its replacement.
pub(crate) struct Names {
    /// From the file to the module.
    pub(crate) load: &'static [(&'static str, &'static str)],
    /// From the module to the file.
    pub(crate) save: &'static [(&'static str, &'static str)],
}

impl Names {
    /// The file and the module have the same names.
    pub(crate) const SAME: Self = Self { load: &[], save: &[] };
}

/// The names and shapes of the tensors in a file, read from its header only.
pub(crate) struct Shapes(BTreeMap<String, Vec<usize>>);

impl Shapes {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn size(&self, tensor: &str, dimension: usize) -> Option<usize> {
        self.0.get(tensor)?.get(dimension).copied()
    }
}

/// The maximum length of a header, bytes. The safetensors library has the same limit.
const MAX_HEADER: u64 = 100_000_000;

impl WeightSource<'_> {
    /// The name of the file in error messages.
    pub fn origin(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes { origin, .. } => (*origin).to_owned(),
        }
    }

    fn store(&self) -> SafetensorsStore {
        match self {
            Self::File(path) => SafetensorsStore::from_file(path),
            Self::Bytes { bytes, .. } => SafetensorsStore::from_bytes(Some(bytes.to_vec())),
        }
    }

    /// Reads the header and compares the length of the file with it.
    ///
    /// # Errors
    /// [`LmError::Safetensors`] if the header is invalid, or if the file is shorter or longer than its header says.
    pub(crate) fn shapes(&self) -> Result<Shapes, LmError> {
        let torn = |reason: String| LmError::Safetensors { origin: self.origin(), reason };
        let too_short = || torn("the length of its header is missing or too large".into());
        let (header, length) = match self {
            Self::File(path) => {
                let read = |source| LmError::Read { path: path.into(), source };
                let mut file = fs::File::open(path).map_err(read)?;
                let length = file.metadata().map_err(read)?.len();
                let mut size = [0; 8];
                file.read_exact(&mut size).map_err(|_| too_short())?;
                let size = u64::from_le_bytes(size);
                if size > MAX_HEADER || size + 8 > length {
                    return Err(too_short());
                }
                let mut header = vec![0; size as usize];
                file.read_exact(&mut header).map_err(read)?;
                (header, length as usize)
            }
            Self::Bytes { bytes, .. } => {
                let (size, rest) = bytes.split_first_chunk::<8>().ok_or_else(too_short)?;
                let header = rest.get(..u64::from_le_bytes(*size) as usize).ok_or_else(too_short)?;
                (header.to_vec(), bytes.len())
            }
        };
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| torn(error.to_string()))?;
        let expected = 8 + header.len() + metadata.data_len();
        if length != expected {
            return Err(torn(format!("it has {length} bytes and should have {expected}")));
        }
        let tensors = metadata.tensors();
        Ok(Shapes(tensors.into_iter().map(|(name, info)| (name, info.shape.clone())).collect()))
    }
}

/// Loads the weights of a burn module from a safetensors file that has the tensor names of the module.
///
/// # Errors
/// [`LmError::Safetensors`] if the file is damaged, and [`LmError::Weights`] if tensors are missing or have another
/// shape.
pub fn load_weights<M: ModuleSnapshot>(
    module: &mut M,
    source: WeightSource<'_>,
    device: &Device,
) -> Result<(), LmError> {
    load(module, source, &Names::SAME, device).map(drop)
}

/// Saves the weights of a burn module as a safetensors file. If writing fails, the old content is unchanged.
///
/// # Errors
/// [`LmError::Save`] if the weights cannot be serialised, and [`LmError::Write`] if the file cannot be written.
pub fn save_weights<M: ModuleSnapshot>(module: &M, path: &Path, format: FloatFormat) -> Result<(), LmError> {
    save(module, path, &Names::SAME, format)
}

/// Loads every parameter of `module`. Returns the names of the tensors in the file that are not used.
///
/// # Errors
/// For the reasons of [`load_weights`].
pub(crate) fn load<M: ModuleSnapshot>(
    module: &mut M,
    source: WeightSource<'_>,
    names: &Names,
    device: &Device,
) -> Result<Vec<String>, LmError> {
    let origin = source.origin();
    let remapper = KeyRemapper::from_pattern_iter(names.load.iter().copied());
    let mut store = source
        .store()
        .remap(remapper.expect("the patterns of a family are valid"))
        .with_from_adapter(PyTorchToBurnAdapter.chain(FloatCastAdapter::to(float_dtype(device))))
        .skip_enum_variants(true)
        .validate(false)
        .allow_partial(true);
    let result = module
        .load_from(&mut store)
        .map_err(|error| LmError::Safetensors { origin: origin.clone(), reason: error.to_string() })?;
    let mut problems: Vec<String> = result.errors.iter().map(ToString::to_string).collect();
    problems.extend(result.missing.iter().map(|(path, _)| format!("{path} is missing")));
    if problems.is_empty() { Ok(result.unused) } else { Err(LmError::Weights { origin, problems }) }
}

/// Saves the weights of `module` under the names of the file.
///
/// # Errors
/// For the reasons of [`save_weights`].
pub(crate) fn save<M: ModuleSnapshot>(
    module: &M,
    path: &Path,
    names: &Names,
    format: FloatFormat,
) -> Result<(), LmError> {
    let remapper = KeyRemapper::from_pattern_iter(names.save.iter().copied());
    let mut store = SafetensorsStore::from_bytes(None)
        .remap(remapper.expect("the patterns of a family are valid"))
        .with_to_adapter(BurnToPyTorchAdapter.chain(FloatCastAdapter::to(format.into())))
        .skip_enum_variants(true)
        .clear_metadata()
        .metadata("format", "pt");
    let saved = module.save_into(&mut store).and_then(|()| store.get_bytes());
    let bytes = saved.map_err(|error| LmError::Save { path: path.into(), reason: error.to_string() })?;
    write(path, &bytes)
}

/// Writes a temporary file and renames it to `path`, so that an error leaves the old content unchanged.
///
/// # Errors
/// [`LmError::Write`] if the file cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), LmError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let replace = || {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        // Without this, a crash after the rename could leave an empty file.
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    replace().map_err(|source| {
        // A second error is ignored: the file may not exist, and the first error says what went wrong.
        let _ = fs::remove_file(&partial);
        LmError::Write { path: path.into(), source }
    })
}

/// The float format in which weights are stored on a device. Flex32 is only a format for computation, stored as f32.
fn float_dtype(device: &Device) -> DType {
    match device.settings().float_dtype.into() {
        DType::Flex32 => DType::F32,
        stored => stored,
    }
}
