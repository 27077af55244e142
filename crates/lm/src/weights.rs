//! Reads and writes the weights of a model as safetensors: one file, or shards with an index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::{FloatFormat, LmError};

const FILE: &str = "model.safetensors";
/// The tensor of the output head, in all families.
pub(crate) const HEAD: &str = "lm_head.weight";
const INDEX: &str = "model.safetensors.index.json";

/// The largest size of one file of weights, bytes. Larger models are saved in shards, as Hugging Face's library does.
const MAX_SHARD: usize = 5_000_000_000;

/// The maximum length of a header, bytes. The safetensors library has the same limit.
const MAX_HEADER: u64 = 100_000_000;

/// The size of the blocks in which a file is read, bytes. It is a multiple of the size of every number.
const BLOCK: usize = 1 << 22;

/// Translates the path of a parameter in a module to its names in a file. A name that is not in the file is followed by
/// the next one, and the first one is the name in saved files.
pub(crate) type Names = fn(&str) -> Vec<String>;

/// The tensors of a checkpoint. Only the headers are in memory.
pub(crate) struct Tensors<'a> {
    origin: String,
    entries: BTreeMap<String, Entry>,
    parts: Vec<Part<'a>>,
}

struct Entry {
    part: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// The place of the numbers in the part, bytes.
    range: Range<usize>,
}

enum Part<'a> {
    File(PathBuf, File),
    Bytes(&'a [u8]),
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl<'a> Tensors<'a> {
    /// Opens the weights of a model folder: model.safetensors, or else the shards of model.safetensors.index.json.
    ///
    /// # Errors
    /// [`LmError::Read`] if a file is missing, [`LmError::Safetensors`] if one is damaged, and [`LmError::Index`] if the
    /// index cannot be parsed or does not describe the shards.
    pub(crate) fn open(folder: &Path) -> Result<Self, LmError> {
        let whole = folder.join(FILE);
        let index = folder.join(INDEX);
        let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"].map(|name| folder.join(name));
        if !whole.exists() && !index.exists() && pickled.iter().any(|path| path.exists()) {
            return Err(LmError::Pickled { folder: folder.into() });
        }
        if whole.exists() || !index.exists() {
            let mut tensors = Self { origin: whole.display().to_string(), entries: BTreeMap::new(), parts: vec![] };
            tensors.add_file(whole)?;
            return Ok(tensors);
        }
        let json = fs::read(&index).map_err(|source| LmError::Read { path: index.clone(), source })?;
        let invalid = |reason: String| LmError::Index { path: index.clone(), reason };
        let Index { weight_map } = serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        let shards: BTreeSet<&String> = weight_map.values().collect();
        let mut tensors = Self { origin: index.display().to_string(), entries: BTreeMap::new(), parts: vec![] };
        for shard in shards {
            let is_name = Path::new(shard).file_name().is_some_and(|name| name == shard.as_str());
            if !is_name {
                return Err(invalid(format!("{shard:?} is not the name of a file in the same folder")));
            }
            let path = folder.join(shard);
            if !path.exists() {
                return Err(LmError::MissingShard { path, index });
            }
            tensors.add_file(path)?;
        }
        for (name, shard) in &weight_map {
            let part = tensors.entries.get(name).map(|entry| &tensors.parts[entry.part]);
            if !matches!(part, Some(Part::File(path, _)) if path.ends_with(shard)) {
                return Err(invalid(format!("{shard} has no tensor {name}")));
            }
        }
        Ok(tensors)
    }

    /// Opens the content of a safetensors file. `origin` is its name in error messages.
    ///
    /// # Errors
    /// [`LmError::Safetensors`] if it is damaged.
    pub(crate) fn from_bytes(origin: &str, bytes: &'a [u8]) -> Result<Self, LmError> {
        let mut tensors = Self { origin: origin.into(), entries: BTreeMap::new(), parts: vec![] };
        tensors.add(Part::Bytes(bytes), bytes.len() as u64)?;
        Ok(tensors)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The number of layers in a stack of blocks: one more than the largest number in a name `{prefix}N.`.
    pub(crate) fn layers(&self, prefix: &str) -> usize {
        let numbers =
            self.names().filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok());
        numbers.max().map_or(0, |last| last + 1)
    }

    /// The number formats, without repetition.
    pub(crate) fn formats(&self) -> Vec<String> {
        let formats: BTreeSet<String> = self.entries.values().map(|entry| format!("{:?}", entry.dtype)).collect();
        formats.into_iter().collect()
    }

    /// The number of files.
    pub(crate) fn files(&self) -> usize {
        self.parts.len()
    }

    fn add_file(&mut self, path: PathBuf) -> Result<(), LmError> {
        let read = |source| LmError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        self.add(Part::File(path, file), length)
    }

    /// Reads the header of a part of `length` bytes and adds its tensors.
    fn add(&mut self, part: Part<'a>, length: u64) -> Result<(), LmError> {
        let origin = part.origin().unwrap_or_else(|| self.origin.clone());
        let torn = |reason: String| LmError::Safetensors { origin: origin.clone(), reason };
        let too_short = || torn("the length of its header is missing or too large".into());
        let mut size = [0; 8];
        if length < 8 {
            return Err(too_short());
        }
        part.read(0, &mut size)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER || size > length - 8 {
            return Err(too_short());
        }
        let mut header = vec![0; size as usize];
        part.read(8, &mut header)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| torn(error.to_string()))?;
        let start = 8 + header.len();
        let expected = (start + metadata.data_len()) as u64;
        if length != expected {
            return Err(torn(format!("it has {length} bytes and should have {expected}")));
        }
        for (name, info) in metadata.tensors() {
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            let entry = Entry { part: self.parts.len(), dtype: info.dtype, shape: info.shape.clone(), range };
            self.entries.insert(name, entry);
        }
        self.parts.push(part);
        Ok(())
    }

    /// Whether a tensor has the same numbers as the first of `others` that exists.
    ///
    /// # Errors
    /// [`LmError::Read`] if a file cannot be read.
    pub(crate) fn are_equal(&self, name: &str, others: &[String]) -> Result<bool, LmError> {
        let Some(other) = others.iter().find_map(|other| self.entries.get(other)) else { return Ok(false) };
        let this = &self.entries[name];
        if this.dtype != other.dtype || this.shape != other.shape {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
        for start in (0..this.range.len()).step_by(BLOCK) {
            let size = BLOCK.min(this.range.len() - start);
            for (entry, block) in [(this, &mut left), (other, &mut right)] {
                self.parts[entry.part].read((entry.range.start + start) as u64, &mut block[..size])?;
            }
            if left[..size] != right[..size] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the output head `lm_head.weight` has weights of its own beside the embedding table, whose possible names are
    /// `tables`. The file decides: a head that differs from the table is used, whatever the config says about sharing
    /// (`tied`).
    ///
    /// # Errors
    /// [`LmError::Weights`] if there is no such head and the config does not share the table, and [`LmError::Read`].
    pub(crate) fn has_own_head(&self, tables: &[String], tied: bool) -> Result<bool, LmError> {
        let table = tables.iter().find(|name| self.entries.contains_key(*name));
        let has_head = self.entries.contains_key(HEAD) && table.is_some_and(|table| table != HEAD);
        if !has_head && !tied {
            let problems = vec![format!("{HEAD} is missing, and tie_word_embeddings is false")];
            return Err(LmError::Weights { origin: self.origin.clone(), problems });
        }
        Ok(has_head && !(tied && self.are_equal(HEAD, tables)?))
    }

    /// Reads a tensor and converts it to `dtype`, block by block.
    fn read(&self, name: &str, dtype: DType) -> Result<TensorData, LmError> {
        let entry = &self.entries[name];
        let data = match dtype {
            DType::F16 => TensorData::new(self.numbers(entry, f16::from_f32)?, entry.shape.clone()),
            DType::BF16 => TensorData::new(self.numbers(entry, bf16::from_f32)?, entry.shape.clone()),
            _ => TensorData::new(self.numbers(entry, |number| number)?, entry.shape.clone()),
        };
        // An infinite half is a number that is too large for this format, or was infinite in the file.
        if dtype == DType::F16
            && data.as_slice::<f16>().is_ok_and(|halves| halves.iter().any(|half| half.is_infinite()))
        {
            return Err(LmError::Range { origin: self.origin.clone(), tensor: name.into() });
        }
        Ok(data)
    }

    fn numbers<T>(&self, entry: &Entry, convert: impl Fn(f32) -> T) -> Result<Vec<T>, LmError> {
        let mut numbers = Vec::with_capacity(entry.shape.iter().product());
        let mut block = vec![0; BLOCK.min(entry.range.len())];
        for start in entry.range.clone().step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(entry.range.end - start)];
            self.parts[entry.part].read(start as u64, block)?;
            match entry.dtype {
                Dtype::F16 => numbers.extend(chunks(block).map(|bytes| convert(f16::from_le_bytes(bytes).to_f32()))),
                Dtype::BF16 => numbers.extend(chunks(block).map(|bytes| convert(bf16::from_le_bytes(bytes).to_f32()))),
                Dtype::F64 => numbers.extend(chunks(block).map(|bytes| convert(f64::from_le_bytes(bytes) as f32))),
                _ => numbers.extend(chunks(block).map(|bytes| convert(f32::from_le_bytes(bytes)))),
            }
        }
        Ok(numbers)
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

impl Part<'_> {
    fn origin(&self) -> Option<String> {
        match self {
            Self::File(path, _) => Some(path.display().to_string()),
            Self::Bytes(_) => None,
        }
    }

    /// Fills `buffer` from byte `start` on.
    fn read(&self, start: u64, buffer: &mut [u8]) -> Result<(), LmError> {
        match self {
            Self::File(path, file) => {
                let mut file = file;
                let filled = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(buffer));
                filled.map_err(|source| LmError::Read { path: path.clone(), source })
            }
            Self::Bytes(bytes) => {
                let start = start as usize;
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
                Ok(())
            }
        }
    }
}

/// The path of the current parameter in a module.
#[derive(Default)]
struct ModulePath(Vec<String>);

impl ModulePath {
    fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn names(&self, names: Names) -> Vec<String> {
        names(&self.0.join("."))
    }
}

/// Loads every parameter of `module`, tensor by tensor, from the file to the device of the parameter.
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
) -> Result<M, LmError> {
    let used = used(&module, tensors, names)?;
    let unused = unused_names(&used, tensors, is_copy);
    if !unused.is_empty() {
        log::warn!("{} has tensors that the model does not use: {}", tensors.origin, unused.join(", "));
    }
    let mut loader = Loader { tensors, used: &used, path: ModulePath::default(), error: None };
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
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
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
        let entry = &self.tensors.entries[name];
        let expected = param.lazy_shape().to_vec();
        if entry.shape != expected {
            self.problems.push(format!("{name} has the shape {:?} and should have {expected:?}", entry.shape));
        }
        if !matches!(entry.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            self.problems.push(format!("{name} has numbers of the format {:?}, which is not supported", entry.dtype));
        }
        self.used.insert(self.path.0.join("."), name.clone());
    }
}

/// Reads the parameters of a module.
struct Loader<'a> {
    tensors: &'a Tensors<'a>,
    used: &'a HashMap<String, String>,
    path: ModulePath,
    error: Option<LmError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let device = param.lazy_device();
        let dtype = float_dtype(&device);
        match self.tensors.read(&self.used[&self.path.0.join(".")], dtype) {
            Ok(data) => {
                let id = param.id;
                param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

/// Saves the weights of a model in a folder, as one file or, if they are large, as shards with an index. If writing
/// fails, the old files are unchanged.
///
/// # Errors
/// [`LmError::Write`] if a file cannot be written.
pub(crate) fn save<M: Module>(module: &M, folder: &Path, names: Names, format: FloatFormat) -> Result<(), LmError> {
    save_in_shards(module, folder, names, format, MAX_SHARD)
}

fn save_in_shards<M: Module>(
    module: &M,
    folder: &Path,
    names: Names,
    format: FloatFormat,
    max_shard: usize,
) -> Result<(), LmError> {
    let mut collect = Collect { names, format, path: ModulePath::default(), tensors: vec![] };
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
        write(&path, (json + "\n").as_bytes())?;
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
struct Weight {
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

struct Collect {
    names: Names,
    format: FloatFormat,
    path: ModulePath,
    tensors: Vec<(String, Weight)>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        let weight = Weight { read: Box::new(move || tensor.to_data()), shape, format: self.format };
        let name = self.path.names(self.names).swap_remove(0);
        self.tensors.push((name, weight));
    }
}

/// A file that is complete but does not have its name yet.
struct Partial {
    path: PathBuf,
    partial: PathBuf,
}

impl Partial {
    fn new(path: PathBuf) -> Self {
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        Self { path, partial: partial.into() }
    }

    fn create(path: PathBuf, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Self, LmError> {
        let this = Self::new(path);
        match File::create(&this.partial).and_then(|mut file| fill(&mut file)) {
            Ok(()) => Ok(this),
            Err(source) => this.fail(source),
        }
    }

    /// Gives the file its name.
    fn replace(self) -> Result<(), LmError> {
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
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), LmError> {
    Partial::create(path.to_owned(), |file| file.write_all(bytes))?.replace()
}

/// Writes a safetensors file, one tensor after the other.
fn write_tensors(file: &mut File, weights: &[(String, Weight)]) -> io::Result<()> {
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

fn remove(path: &Path) -> Result<(), LmError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(LmError::Write { path: path.into(), source }),
        _ => Ok(()),
    }
}

/// The float format in which weights are stored on a device. Flex32 is only a format for computation, stored as f32.
fn float_dtype(device: &Device) -> DType {
    match device.settings().float_dtype.into() {
        DType::Flex32 => DType::F32,
        stored => stored,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{LanguageModel, LlamaConfig, Pretrained, TokenBatch};

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
