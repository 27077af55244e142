//! Saves the parameters of a module.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;
use serde_json::{Map, json};

use super::{FILE, INDEX, ModulePath, Names};
use crate::{FloatFormat, LmError};

/// The largest size of one file of weights, bytes. Larger models are saved in shards, as Hugging Face's library does.
const MAX_SHARD: usize = 5_000_000_000;

/// Saves the weights of a model in a folder, as one file or, if they are large, as shards with an index. If writing
/// fails, the old files are unchanged.
///
/// # Errors
/// [`LmError::Write`] if a file cannot be written.
pub(crate) fn save<M: Module>(module: &M, folder: &Path, names: Names, format: FloatFormat) -> Result<(), LmError> {
    save_in_shards(module, folder, names, format, MAX_SHARD)
}

pub(super) fn save_in_shards<M: Module>(
    module: &M,
    folder: &Path,
    names: Names,
    format: FloatFormat,
    max_shard: usize,
) -> Result<(), LmError> {
    let name = |path: &str| Some(names(path).swap_remove(0));
    let mut collect = Collect { name: &name, format, path: ModulePath::default(), tensors: vec![] };
    module.visit(&mut collect);
    let mut shards: Vec<Vec<(String, Weight)>> = vec![vec![]];
    let mut filled = 0;
    for (name, weight) in collect.tensors {
        let size = weight.size();
        if filled > 0 && filled + size > max_shard {
            shards.push(vec![]);
            filled = 0;
        }
        filled += size;
        shards.last_mut().expect("at least one shard").push((name, weight));
    }
    let count = shards.len();
    let file_name = |shard: usize| match count {
        1 => FILE.to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", shard + 1),
    };
    let mut index = SavedIndex::default();
    let mut partials = Vec::new();
    for (shard, weights) in shards.into_iter().enumerate() {
        for (name, weight) in &weights {
            index.metadata.total_size += weight.size();
            index.weight_map.insert(name.clone(), file_name(shard));
        }
        partials.push(Partial::create(folder.join(file_name(shard)), |file| write_tensors(file, &weights))?);
    }
    for partial in partials {
        partial.replace()?;
    }
    if count > 1 {
        let path = folder.join(INDEX);
        let json = serde_json::to_string_pretty(&index).expect("names and numbers are JSON");
        write_atomically(&path, (json + "\n").as_bytes())?;
        // A whole file wins over the index, so an old one would be opened instead of these shards.
        remove(&folder.join(FILE))?;
    } else {
        remove(&folder.join(INDEX))?;
    }
    Ok(())
}

#[derive(Default, Serialize)]
struct SavedIndex {
    metadata: IndexMetadata,
    weight_map: BTreeMap<String, String>,
}

#[derive(Default, Serialize)]
struct IndexMetadata {
    /// Bytes.
    total_size: usize,
}

/// A weight that is read from its device when it is written.
pub(super) struct Weight {
    read: Box<dyn Fn() -> TensorData>,
    shape: Vec<usize>,
    format: FloatFormat,
}

impl Weight {
    /// Bytes.
    fn size(&self) -> usize {
        let width = if self.format == FloatFormat::F32 { 4 } else { 2 };
        self.shape.iter().product::<usize>() * width
    }

    fn bytes(&self) -> Vec<u8> {
        (self.read)().convert_dtype(self.format.into()).as_bytes().to_vec()
    }
}

/// Collects the parameters of a module to save.
pub(super) struct Collect<'a> {
    /// The name in the file of a parameter, by its path. None if it is not saved.
    pub(super) name: &'a dyn Fn(&str) -> Option<String>,
    pub(super) format: FloatFormat,
    pub(super) path: ModulePath,
    pub(super) tensors: Vec<(String, Weight)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = (self.name)(&self.path.text()) else { return };
        let tensor = param.val().dequantize();
        let shape = tensor.dims().to_vec();
        let weight = Weight { read: Box::new(move || tensor.to_data()), shape, format: self.format };
        self.tensors.push((name, weight));
    }
}

/// A file that is complete but does not have its name yet.
pub(super) struct Partial {
    path: PathBuf,
    partial: PathBuf,
}

impl Partial {
    fn new(path: PathBuf) -> Self {
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        Self { path, partial: partial.into() }
    }

    pub(super) fn create(path: PathBuf, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Self, LmError> {
        let this = Self::new(path);
        match File::create(&this.partial).and_then(|mut file| fill(&mut file)) {
            Ok(()) => Ok(this),
            Err(source) => this.fail(source),
        }
    }

    /// Gives the file its name.
    pub(super) fn replace(self) -> Result<(), LmError> {
        // Without this, a crash after the rename could leave an empty file.
        let renamed = File::open(&self.partial).and_then(|file| file.sync_all());
        match renamed.and_then(|()| fs::rename(&self.partial, &self.path)) {
            Ok(()) => Ok(()),
            Err(source) => self.fail(source),
        }
    }

    fn fail<T>(self, source: io::Error) -> Result<T, LmError> {
        self.clean();
        Err(LmError::Write { path: self.path, source })
    }

    fn clean(&self) {
        // A second error is ignored: the file may not exist, and the first error says what went wrong.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes a temporary file and renames it to `path`, so that an error leaves the old content unchanged.
///
/// # Errors
/// [`LmError::Write`] if the file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LmError> {
    Partial::create(path.to_owned(), |file| file.write_all(bytes))?.replace()
}

/// Writes a safetensors file, one tensor after the other.
pub(super) fn write_tensors(file: &mut File, weights: &[(String, Weight)]) -> io::Result<()> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
    let mut end = 0;
    for (name, weight) in weights {
        let start = end;
        end += weight.size();
        let dtype = match weight.format {
            FloatFormat::F32 => "F32",
            FloatFormat::F16 => "F16",
            FloatFormat::BF16 => "BF16",
        };
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": weight.shape, "data_offsets": [start, end] }));
    }
    let mut header = serde_json::to_vec(&header).expect("names and numbers are JSON");
    // The numbers begin at a multiple of 8, so that other libraries can map the file into memory.
    header.resize(header.len().next_multiple_of(8), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (_, weight) in weights {
        file.write_all(&weight.bytes())?;
    }
    Ok(())
}

/// Removes a file if it exists.
///
/// # Errors
/// [`LmError::Write`] if it cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), LmError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(LmError::Write { path: path.into(), source }),
        _ => Ok(()),
    }
}
